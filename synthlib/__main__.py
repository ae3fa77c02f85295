"""The commands behind the Makefile: ``synthlib COMMAND``, or ``python -m synthlib COMMAND``."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from synthlib.errors import Failed
from synthlib.machine.files import may_not_write
from synthlib.paths import NOTEBOOKS, absolute
from synthlib.study.contents import SCOREBOARD, made_of, sections, title_and_notebook
from synthlib.study.figures import find_artefact, names_of_all
from synthlib.study.pages import load_page, page_names, pages_of
from synthlib.study.params import (
    ANY_TABLE,
    Artefact,
    ParameterError,
    artefact_names,
    can_train,
    load_artefact,
    presets,
)

if TYPE_CHECKING:
    from synthlib.report.sources import AuthorsRuns, OwnRuns
    from synthlib.study.engine import RunOptions
    from synthlib.study.plan import Selection

START, DATA = "00_start_here.ipynb", "01_datasets.ipynb"
_OF_A_TABLE = ("plan", "run", "reproduce", "show", "publish", "export-runs")
_DATA_HELP = "replica, d4rl or path:DIR (default: replica)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 after an error that is told in words, 130 after Ctrl-C."""
    try:
        options = _parser().parse_args(arguments)
        command = {
            "plan": _plan,
            "run": _run,
            "reproduce": _reproduce,
            "show": _show,
            "publish": _publish,
            "export-runs": _export_runs,
            "import-runs": _import_runs,
            "notebook": _notebook,
            "scoreboard": _scoreboard,
            "check-authors": _check_authors,
            "doctor": _doctor,
        }[options.command]
        if options.command in _OF_A_TABLE:
            return _for_each_part(command, options)
        return command(options)
    except (ValueError, OSError, Failed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("synthlib"):
            raise
        # Without a name it is an error of our own, which says what to do.
        words = f"the package {error.name} is not installed; run: make install" if error.name else error
        print(f"error: {words}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nstopped; every training keeps its last checkpoint, the same command goes on from there", file=sys.stderr
        )
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synthlib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    known = dict.fromkeys([*names_of_all(), *page_names(), *(section.name for section in sections())])
    for name, text in (
        ("plan", "print what a table or figure needs and how long it takes; run nothing"),
        ("run", "train what is missing"),
        ("reproduce", "train what is missing, execute the notebook, print the table"),
        ("show", "print the table from the runs that are done; train nothing"),
        ("publish", "copy a table's finished runs into outputs/records, which belongs to the repository"),
        ("export-runs", "write a table's finished runs to one file, with checksums"),
        ("import-runs", "put the runs of such a file into the store here"),
        ("notebook", "execute one notebook"),
        ("scoreboard", "every claim of the paper beside what all finished runs say"),
        ("check-authors", "the paper's DT tables out of the authors' own runs, digit by digit"),
        ("doctor", "check the installation"),
    ):
        command = commands.add_parser(name, help=text)
        if name == "notebook":
            command.add_argument("notebook", metavar="NOTEBOOK", help="its file's name, without .ipynb")
        if name in _OF_A_TABLE:
            command.add_argument("table", metavar="TABLE", help=f"one of: {', '.join(known)}, all")
            command.add_argument("--source", default="own", help="own or authors: whose runs (default: own)")
            command.add_argument("--shard", default="0/1", metavar="I/N", help="train the I-th of N parts (I from 0)")
        if name in ("export-runs", "import-runs"):
            command.add_argument("--file", required=True, metavar="FILE", help="the archive, for example runs.tar")
        if name in ("run", "reproduce"):
            command.add_argument("--stacked", action="store_true", help="runs of one shape at once: for a GPU")
        if name == "run":
            command.add_argument("--hours", type=_hours, default=math.inf, help="save and end after so many hours")
        if name in ("plan", "run", "show", "reproduce"):
            command.add_argument("--arms", default="", metavar="A;B", help="only these columns (default: all)")
            command.add_argument(
                "--datasets", default="", metavar="A B", help="these data sets (default: the preset's)"
            )
            command.add_argument("--seeds", default="", metavar="N", help="the first N seeds, or n;m;...")
        if name in (*_OF_A_TABLE, "notebook", "scoreboard"):
            command.add_argument("--preset", default="quick", help=f"one of: {', '.join(presets())} (default: quick)")
            command.add_argument("--data", default="replica", type=_data, help=_DATA_HELP)
            command.add_argument("--workers", type=int, default=0, help="processes (default: one per usable processor)")
        if name == "doctor":
            command.add_argument("--preset", default="quick", help=f"one of: {', '.join(presets())} (default: quick)")
            command.add_argument("--data", default="replica", type=_data, help=_DATA_HELP)
            command.add_argument("--store", action="store_true", help="verify all trainings and caches instead")
        else:
            command.add_argument(
                "--logs", default="", help="the authors' logs: a clone or a CSV (default: the repository's own table)"
            )
    return parser


# What a command needs is imported when it runs: PyTorch alone takes seconds, and the help text needs nothing of it.


def _for_each_part(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run the command for each table and figure of a section of the paper; every other name stands for itself."""
    status = 0
    for name in made_of(options.table):
        if name != "scoreboard":
            status = max(status, command(argparse.Namespace(**{**vars(options), "table": name})))
        elif options.command == "reproduce":
            status = max(status, _scoreboard(options))
        else:
            print(f"{options.table}: {title_and_notebook(name)[0]}\n  make scoreboard shows it; it trains nothing")
    return status


def _plan(options: argparse.Namespace) -> int:
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
        print(_open(options).plan(options.table))
    return 0


def _run(options: argparse.Namespace) -> int:
    if options.table in page_names():
        print(load_page(options.table).plan(options.preset))
        print(f"  no run to train; make reproduce-{options.table} makes it all")
        return 0
    runs = _open(options)
    for name in _names(options):
        runs.prepare(name)
        print(runs.plan(name))
        runs.train(name, options=_run_options(options))
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from synthlib.notebooks import run_notebook

    if options.table in page_names():
        return _make_page(options.table, options)
    if _selection(options).suffix:
        raise ParameterError("a page shows whole tables: ARMS, DATASETS and SEEDS are for make plan-, run- and show-")
    runs, executed = _open(options), set()
    for name in _names(options):
        runs.prepare(name)
        artefact = find_artefact(name)
        notebook = artefact.notebook
        folder = runs.folder(name)
        print(runs.plan(name))
        runs.train(name, options=_run_options(options))
        if notebook not in executed or notebook == ANY_TABLE:
            path, which = NOTEBOOKS / notebook, {"table": name} if notebook == ANY_TABLE else {}
            page = run_notebook(path, folder, _known_parameters(path, options) | which).with_suffix(".html")
            executed.add(notebook)
        report = runs.report(name)
        report.save()
        print(report.text())
        _print_figures(artefact, folder)
        print(f"{'table, figures and verdict' if artefact.is_table else 'its page'}: {page}")
        print(f"the same as CSV, {'LaTeX, ' if artefact.is_table else ''}JSON, PNG and SVG: {folder}")
    if options.table == "all" and options.source == "own":
        for made in pages_of(options.preset):
            _make_page(made.name, options)
        _execute(NOTEBOOKS / DATA, options)
        _scoreboard(options)
        _execute(NOTEBOOKS / START, options)  # last: it says what is made
    return 0


def _make_page(name: str, options: argparse.Namespace) -> int:
    """Execute the notebook of a page that needs no fine-tuning run, and print what it says."""
    from synthlib.notebooks import cell_text, run_notebook

    if options.source != "own":
        raise ParameterError(f"{name} is made without fine-tuning runs, so it has no source of runs: leave it out")
    page = load_page(name)
    print(page.plan(options.preset))
    path, folder = NOTEBOOKS / page.notebook, page.folder(options.preset)
    executed = run_notebook(path, folder, _known_parameters(path, options))
    print(cell_text(executed, page.shows))
    print(f"the page: {executed.with_suffix('.html')}")
    print(f"its figures and numbers as files: {folder}")
    return 0


def _show_page(name: str, options: argparse.Namespace) -> int:
    """Print what a page says: made anew where nothing is trained for it, else as it was made last."""
    from synthlib.notebooks import cell_text

    page = load_page(name)
    if not page.trains:
        return _make_page(name, options)
    time = page.settings(options.preset)["time"]
    executed = page.folder(options.preset) / page.notebook
    if not executed.exists():
        raise ParameterError(f"{name} has not been made in preset {options.preset}; make reproduce-{name} takes {time}")
    print(cell_text(executed, page.shows))
    print(f"the page: {executed.with_suffix('.html')}")
    return 0


def _show(options: argparse.Namespace) -> int:
    if options.table in page_names():
        return _show_page(options.table, options)
    runs, shown = _open(options), 0
    for name in _names(options):
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


def _print_figures(artefact: Artefact, folder: Path) -> None:
    """Say where the figures of an artefact that is not a table lie."""
    for name in () if artefact.is_table else artefact.figures:
        print(f"{name}: {folder / name}.png")


def _publish(options: argparse.Namespace) -> int:
    from synthlib.paths import store_root
    from synthlib.runs.publish import publish
    from synthlib.runs.store import Store
    from synthlib.study.plan import make_plan

    for name in _names(options):
        new = publish(make_plan(name, options.preset, options.data), Store(store_root()))
        print(f"{name}: {len(new)} runs published", *new, sep="\n  ")
    return 0


def _export_runs(options: argparse.Namespace) -> int:
    from synthlib.paths import store_root
    from synthlib.runs.store import Store
    from synthlib.runs.transfer import export_runs
    from synthlib.study.plan import distinct_jobs, make_plan

    plans = [make_plan(name, options.preset, options.data) for name in _names(options)]
    path = absolute(options.file)
    number = export_runs(distinct_jobs(job for plan in plans for job in plan.jobs()), Store(store_root()), path)
    print(f"{number} finished trainings in {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def _import_runs(options: argparse.Namespace) -> int:
    from synthlib.paths import store_root
    from synthlib.runs.store import Store
    from synthlib.runs.transfer import import_runs

    new, known, left = import_runs(absolute(options.file), Store(store_root()))
    print(f"{len(new)} trainings imported into {store_root()}, {len(known)} were there already")
    for folder in left:
        print(f"left alone, since it was started here and is not so far: {folder}; delete it and import again")
    return 0


def _notebook(options: argparse.Namespace) -> int:
    path = NOTEBOOKS / f"{options.notebook.removesuffix('.ipynb')}.ipynb"
    if not path.exists():
        there = ", ".join(sorted(known.stem for known in NOTEBOOKS.glob("*.ipynb")))
        raise ParameterError(f"no notebook called {path.stem!r}; there are: {there}")
    return _execute(path, options)


def _execute(path: Path, options: argparse.Namespace) -> int:
    """Execute one notebook with the options that it knows, into a folder that has its name."""
    from synthlib.notebooks import run_notebook
    from synthlib.report.data_page import page_folder

    folder = page_folder(path.stem, options.preset, options.data)
    page = run_notebook(path, folder, _known_parameters(path, options)).with_suffix(".html")
    print(f"the page: {page}")
    return 0


def _known_parameters(path: Path, options: argparse.Namespace) -> dict[str, str | int]:
    """The options of the command line that the notebook ``path`` has as parameters."""
    from synthlib.notebooks import notebook_parameters

    known = notebook_parameters(path)
    given = {
        "source": getattr(options, "source", "own"),
        "preset": options.preset,
        "data": options.data,
        "logs": _absolute(options.logs),
        "workers": options.workers,
    }
    return {name: value for name, value in given.items() if name in known}


def _scoreboard(options: argparse.Namespace) -> int:
    from synthlib.notebooks import run_notebook
    from synthlib.report.scoreboard import make_scoreboard, save_scoreboard

    board = make_scoreboard(options.preset, options.data, options.logs)
    folder = save_scoreboard(board, options.preset, options.data)
    # The board takes a minute to make: the page shows this one.
    parameters = {"preset": options.preset, "data": options.data, "logs": _absolute(options.logs), "saved": str(folder)}
    page = run_notebook(NOTEBOOKS / SCOREBOARD, folder, parameters).with_suffix(".html")
    print(board.text())
    print(f"the page: {page}")
    return 0


def _check_authors(options: argparse.Namespace) -> int:
    from synthlib.report.authors_check import check, summary
    from synthlib.report.authors_logs import find_logs, read_logs

    checked = check(read_logs(find_logs(options.logs)))
    different = checked[~checked["equal"]]
    print(summary(checked))
    if len(different):
        print(different[["table", "dataset", "arm"]].to_string(index=False))
    return int(len(different) > 0)


def _doctor(options: argparse.Namespace) -> int:
    from synthlib.doctor import examine, examine_store

    return examine_store() if options.store else examine(options.data, options.preset)


def _open(options: argparse.Namespace) -> "OwnRuns | AuthorsRuns":
    from synthlib.report.sources import open_runs

    return open_runs(options.source, options.preset, options.data, options.logs, options.workers, _selection(options))


def _selection(options: argparse.Namespace) -> "Selection":
    """The part of a table that was asked for. ParameterError for seeds that are no numbers."""
    from synthlib.study.plan import Selection

    arms, datasets, seeds = (_listed(getattr(options, name, ""), name) for name in ("arms", "datasets", "seeds"))
    if wrong := [seed for seed in seeds if not seed.isdigit()]:
        raise ParameterError(f"SEEDS must be a number of seeds, or seeds like 42;666; not {wrong[0]!r}")
    numbers = tuple(map(int, seeds))
    is_count = options.__dict__.get("seeds", "").strip().isdigit()  # "42;" is a list of one
    return Selection(arms, datasets, numbers[0] if is_count else numbers)


def _names(options: argparse.Namespace) -> list[str]:
    """The artefact that was asked for, or all that this source of runs can make."""
    if options.table in page_names():
        raise ParameterError(f"{options.table} has no fine-tuning runs; make reproduce-{options.table} makes it all")
    if options.table != "all":
        return [options.table]
    if options.source == "authors":
        from synthlib.report.authors_check import authors_artefacts

        return [artefact.name for artefact in authors_artefacts()]
    return [name for name in artefact_names() if can_train(options.preset, load_artefact(name).algorithm)]


def _data(text: str) -> str:
    """The source of data with an absolute folder: notebooks run in a folder of their own."""
    return f"path:{_absolute(text[5:])}" if text.startswith("path:") else text


def _absolute(path: str) -> str:
    """A notebook runs in a folder of its own, so a path must not depend on where the command was typed."""
    return str(absolute(path)) if path else ""


def _listed(text: str, option: str) -> tuple[str, ...]:
    """The parts of an option between semicolons; in other options than "arms", between spaces and commas too."""
    if option != "arms":
        text = text.replace(",", ";").replace(" ", ";")
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _run_options(options: argparse.Namespace) -> "RunOptions":
    from synthlib.study.engine import RunOptions

    return RunOptions(_shard(options.shard), options.stacked, getattr(options, "hours", math.inf))


def _hours(text: str) -> float:
    hours = float(text or "inf")
    if not hours > 0:
        raise argparse.ArgumentTypeError(f"must be more than 0 hours, not {text}")
    return hours


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise ParameterError(f"shard {text!r} is not I/N with 0 <= I < N")
    return int(index), int(count)


if __name__ == "__main__":
    sys.exit(main())
