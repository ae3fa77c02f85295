"""Commands on the runs of a table or figure: plan, run, reproduce, show."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from synthlib.commands.cluster import HERE, run_in_queue
from synthlib.commands.options import known_parameters, names, open_asked, run_options, selection
from synthlib.commands.pages import execute, make_page, scoreboard, show_page
from synthlib.machine.files import may_not_write
from synthlib.paths import NOTEBOOKS
from synthlib.study.contents import made_of, title_and_notebook
from synthlib.study.figures import find_artefact
from synthlib.study.pages import load_page, page_names, pages_of
from synthlib.study.params import ANY_TABLE, Artefact, ParameterError

_START, _DATA = "00_start_here.ipynb", "01_datasets.ipynb"

# What a command needs is imported when it runs: PyTorch alone takes seconds.


def for_each_part(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run the command for each table and figure of a section of the paper; every other name stands for itself."""
    status = 0
    for name in made_of(options.table):
        if name != "scoreboard":
            status = max(status, command(argparse.Namespace(**{**vars(options), "table": name})))
        elif options.command == "reproduce":
            status = max(status, scoreboard(options))
        else:
            print(f"{options.table}: {title_and_notebook(name)[0]}\n  make scoreboard shows it; it trains nothing")
    return status


def plan(options: argparse.Namespace) -> int:
    """``plan TABLE``: what a table needs and how long it takes; nothing is run."""
    from synthlib.machine.processors import usable_processors
    from synthlib.study.totals import paper_totals, totals_of_presets

    if options.table == "all":
        print(totals_of_presets(options.workers or usable_processors()).to_string())
        totals = paper_totals()
        counts = dict.fromkeys(["trainings", "updates", "core-hours"], "{:,.0f}".format)
        formats = counts | {"operations": "{:.2e}".format}
        print(f"\nThe paper's whole grid (preset paper):\n{totals.to_string(formatters=formats)}")
        if totals["core-hours"].isna().any():
            print("Hours of the plain versions need `make bench`, which measures how much slower they are here.")
        return 0
    if options.table in page_names():
        print(load_page(options.table).plan(options.preset))
    else:
        print(open_asked(options).plan(options.table))
    return 0


def run(options: argparse.Namespace) -> int:
    """``run TABLE``: train what is missing."""
    if options.table in page_names():
        print(load_page(options.table).plan(options.preset))
        print(f"  no run to train; make reproduce-{options.table} makes it all")
        return 0
    if options.engine != HERE:
        return run_in_queue(options)
    runs = open_asked(options)
    for name in names(options):
        runs.prepare(name)
        print(runs.plan(name))
        runs.train(name, options=run_options(options))
    return 0


def reproduce(options: argparse.Namespace) -> int:
    """``reproduce TABLE``: train what is missing, execute the notebook, print and save the table."""
    from synthlib.notebooks import run_notebook

    if options.table in page_names():
        return make_page(options.table, options)
    if selection(options).suffix:
        raise ParameterError("a page shows whole tables: ARMS, DATASETS and SEEDS are for make plan-, run- and show-")
    runs, executed = open_asked(options), set()
    for name in names(options):
        runs.prepare(name)
        artefact = find_artefact(name)
        notebook = artefact.notebook
        folder = runs.folder(name)
        print(runs.plan(name))
        runs.train(name, options=run_options(options))
        if notebook not in executed or notebook == ANY_TABLE:
            path, which = NOTEBOOKS / notebook, {"table": name} if notebook == ANY_TABLE else {}
            page = run_notebook(path, folder, known_parameters(path, options) | which).with_suffix(".html")
            executed.add(notebook)
        report = runs.report(name)
        report.save()
        print(report.text())
        _print_figures(artefact, folder)
        print(f"{'table, figures and verdict' if artefact.is_table else 'its page'}: {page}")
        print(f"the same as CSV, {'LaTeX, ' if artefact.is_table else ''}JSON, PNG and SVG: {folder}")
    if options.table == "all" and options.source == "own":
        for made in pages_of(options.preset):
            make_page(made.name, options)
        execute(NOTEBOOKS / _DATA, options)
        scoreboard(options)
        execute(NOTEBOOKS / _START, options)  # last: it says what is made
    return 0


def show(options: argparse.Namespace) -> int:
    """``show TABLE``: print and save the table from the runs that are done; 1 where none is."""
    if options.table in page_names():
        return show_page(options.table, options)
    runs, shown = open_asked(options), 0
    for name in names(options):
        try:
            report = runs.report(name)
        except RuntimeError as nothing:  # no run is done, or some that may not stand in one table
            print(f"error: {nothing}", file=sys.stderr)
            continue
        print(report.text())
        try:
            folder = report.save()
            _print_figures(report.artefact, folder)
            print(f"the same as CSV, {'LaTeX, ' if report.artefact.is_table else ''}JSON, PNG and SVG: {folder}")
        except OSError as error:
            if not may_not_write(error):
                raise
            print(f"not saved as CSV, LaTeX, JSON, PNG and SVG: {error}")
        shown += 1
    return int(shown == 0)


def watch(options: argparse.Namespace) -> int:
    """``watch TABLE``: one episode of a fine-tuned policy as a film; 1 where nothing can be drawn."""
    from synthlib.report.sources import OwnRuns
    from synthlib.report.watch import watch
    from synthlib.study.plan import make_plan

    runs = open_asked(options)
    if not isinstance(runs, OwnRuns):
        raise ParameterError("the authors published scores without policies: leave SOURCE out")
    (name,) = names(options)
    plan = make_plan(name, options.preset, options.data, selection=runs.selection)
    episode, film = watch(plan, runs.folder(name) / "films")
    print(episode)
    if isinstance(film, str):
        print(f"not filmed: {film}", file=sys.stderr)
        return 1
    print(f"the film: {film}")
    return 0


def _print_figures(artefact: Artefact, folder: Path) -> None:
    """Say where the figures of an artefact that is not a table lie."""
    for name in () if artefact.is_table else artefact.figures:
        print(f"{name}: {folder / name}.png")
