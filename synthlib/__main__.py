"""The commands behind the Makefile: ``python -m synthlib plan|run|reproduce|doctor``."""

import argparse
import os
import sys

from synthlib.engine import JobsFailed
from synthlib.paths import NOTEBOOKS
from synthlib.runner import NotebookFailed, run_notebook
from synthlib.study import ParameterError, artefact_names, load_artefact, presets


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="synthlib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("plan", "print what a table needs and how long it takes; run nothing"),
        ("run", "train what is missing"),
        ("reproduce", "train what is missing, execute the notebook, print the table"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("table", metavar="TABLE", help=f"one of: {', '.join(artefact_names())}, all")
        command.add_argument("--preset", default="quick", help=f"one of: {', '.join(presets())} (default: quick)")
        command.add_argument("--data", default="replica", help="replica, d4rl or path:DIR (default: replica)")
        command.add_argument("--workers", type=int, default=0, help="processes (default: one per core)")
        command.add_argument("--shard", default="0/1", metavar="I/N", help="train the I-th of N parts (I from 0)")
    commands.add_parser("doctor", help="check the installation")
    options = parser.parse_args(arguments)
    try:
        if options.command == "doctor":
            from synthlib.doctor import examine

            return examine()
        return _table_command(options)
    except (ValueError, OSError, JobsFailed, NotebookFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nstopped; every training keeps its last checkpoint, the same command goes on from there", file=sys.stderr
        )
        return 130


def _table_command(options):
    # Imported here: they load torch, which the help text does not need.
    from synthlib.planning import PlanSummary
    from synthlib.study import make_plan

    names = artefact_names() if options.table == "all" else [options.table]
    plans = [make_plan(name, options.preset, options.data) for name in names]
    workers = options.workers or os.cpu_count()
    for plan in plans:
        print(PlanSummary(plan, workers))
        if options.command != "plan":
            _run(plan, workers, _shard(options.shard))
        if options.command == "reproduce":
            _execute_notebook(plan)
    return 0


def _run(plan, workers, shard):
    from synthlib.planning import run_plan

    run_plan(plan, workers, shard)


def _execute_notebook(plan):
    from synthlib.report import table_folder

    artefact = load_artefact(plan.artefact.name)
    folder = table_folder(plan)
    executed = run_notebook(NOTEBOOKS / artefact.notebook, folder, {"preset": plan.preset, "data": plan.source})
    print((folder / f"{plan.artefact.name}.txt").read_text())
    print(f"table, figure and verdict: {executed.with_suffix('.html')}")
    print(f"the same as CSV, LaTeX, JSON, PNG and SVG: {folder}")


def _shard(text):
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise ParameterError(f"shard {text!r} is not I/N with 0 <= I < N")
    return int(index), int(count)


if __name__ == "__main__":
    sys.exit(main())
