"""Commands that execute a page which needs no fine-tuning run: a section, one notebook, the scoreboard."""

import argparse
from pathlib import Path

from synthlib.commands.options import absolute_or_empty, known_parameters
from synthlib.paths import NOTEBOOKS
from synthlib.study.contents import SCOREBOARD
from synthlib.study.pages import load_page
from synthlib.study.params import ParameterError


def make_page(name: str, options: argparse.Namespace) -> int:
    """Execute the notebook of a page that needs no fine-tuning run, and print what it says."""
    from synthlib.notebooks import cell_text, run_notebook

    if options.source != "own":
        raise ParameterError(f"{name} is made without fine-tuning runs, so it has no source of runs: leave it out")
    page = load_page(name)
    print(page.plan(options.preset))
    path, folder = NOTEBOOKS / page.notebook, page.folder(options.preset)
    executed = run_notebook(path, folder, known_parameters(path, options))
    print(cell_text(executed, page.shows))
    print(f"the page: {executed.with_suffix('.html')}")
    print(f"its figures and numbers as files: {folder}")
    return 0


def show_page(name: str, options: argparse.Namespace) -> int:
    """Print what a page says: made anew where nothing is trained for it, else as it was made last."""
    from synthlib.notebooks import cell_text

    page = load_page(name)
    if not page.trains:
        return make_page(name, options)
    time = page.settings(options.preset)["time"]
    executed = page.folder(options.preset) / page.notebook
    if not executed.exists():
        raise ParameterError(f"{name} has not been made in preset {options.preset}; make reproduce-{name} takes {time}")
    print(cell_text(executed, page.shows))
    print(f"the page: {executed.with_suffix('.html')}")
    return 0


def notebook(options: argparse.Namespace) -> int:
    """``notebook NAME``: execute one notebook. ParameterError for a name that no notebook has."""
    path = NOTEBOOKS / f"{options.notebook.removesuffix('.ipynb')}.ipynb"
    if not path.exists():
        there = ", ".join(sorted(known.stem for known in NOTEBOOKS.glob("*.ipynb")))
        raise ParameterError(f"no notebook called {path.stem!r}; there are: {there}")
    return execute(path, options)


def execute(path: Path, options: argparse.Namespace) -> int:
    """Execute one notebook with the options that it knows, into a folder that has its name."""
    from synthlib.notebooks import run_notebook
    from synthlib.report.data_page import page_folder

    folder = page_folder(path.stem, options.preset, options.data)
    page = run_notebook(path, folder, known_parameters(path, options)).with_suffix(".html")
    print(f"the page: {page}")
    return 0


def scoreboard(options: argparse.Namespace) -> int:
    """``scoreboard``: each claim of the paper beside what all finished runs say."""
    from synthlib.notebooks import run_notebook
    from synthlib.report.scoreboard import make_scoreboard, other_presets_with_runs, save_scoreboard

    board = make_scoreboard(options.preset, options.data, options.logs)
    folder = save_scoreboard(board, options.preset, options.data)
    # The board takes a minute to make: the page shows this one.
    parameters = {
        "preset": options.preset,
        "data": options.data,
        "logs": absolute_or_empty(options.logs),
        "saved": str(folder),
    }
    page = run_notebook(NOTEBOOKS / SCOREBOARD, folder, parameters).with_suffix(".html")
    print(board.text())
    if others := other_presets_with_runs(options.preset, options.data):
        print(others)
    print(f"the page: {page}")
    return 0
