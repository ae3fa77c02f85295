"""``make first-minutes-on-a-gpu HOURS=0.2``: what to do with a GPU that can be had for minutes only.

First ``make selfcheck``: does the card compute what the processor does? Then ``make bench``: how fast? The rest of the
time trains the start of CQL's curve on halfcheetah, as one column: CQL; CQL, matched; S=100; and CQL+IID, on three data
sets with twenty seeds. It begins with the smallest preset and goes on to the next. At the end, finished runs are
published to ``outputs/records`` and written into one file, from which ``make import-runs`` takes them home.

Runs of a card that did not pass the check are neither made nor published.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from synthlib.machine.devices import chosen, describe
from synthlib.paths import store_root
from synthlib.runs.publish import publish
from synthlib.runs.store import Store
from synthlib.runs.transfer import export_runs
from synthlib.study.engine import RunOptions
from synthlib.study.plan import Plan, Selection, distinct_jobs, make_plan
from synthlib.study.summary import run_plan

TABLE = "cql_start"  # the arms of Tables 6 and 7 that answer the first question, and share their runs
PRESETS = "quick early evening"
DATASETS = "halfcheetah-medium halfcheetah-medium-replay halfcheetah-medium-expert"
SEEDS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Do all that the module's docstring says; returns 1 without a GPU and when the check failed, else 0."""
    options = _parser().parse_args(arguments)
    deadline = time.monotonic() + 3600 * options.hours
    try:
        device = describe(chosen())
    except ValueError as no_gpu:
        print(f"error: {no_gpu}", file=sys.stderr)
        return 1
    print(f"{device}: {options.hours:g} hours, for selfcheck, bench and runs", flush=True)
    checked = _called("selfcheck", *(["-k", options.checks] if options.checks else []))
    _called("", *options.bench.split())
    if not checked:
        print("the check failed, so no run is made; selfcheck.json beside the bench says which test", file=sys.stderr)
        return 1
    store, begun = Store(store_root()), []
    for preset in options.presets.split():
        left = (deadline - time.monotonic()) / 3600
        if left <= 0:
            print(f"no time is left for preset {preset}")
            break
        plan = _plan(preset, options)
        begun.append(plan)
        print(f"{TABLE}, preset {preset}: {len(plan.cells)} runs, {60 * left:.0f} minutes left", flush=True)
        run_plan(plan, workers=1, options=RunOptions(stacked=True, hours=left))
    _bring_home(begun, store, options.file)
    return 0


def _plan(preset: str, options: argparse.Namespace) -> Plan:
    selection = Selection(datasets=tuple(options.datasets.split()), seeds=options.seeds)
    return make_plan(TABLE, preset, options.data, selection=selection)


def _bring_home(plans: Sequence[Plan], store: Store, file: Path) -> None:
    """Publish what is finished, and write it into one file as well."""
    new = [folder for plan in plans for folder in publish(plan, store)]
    jobs = distinct_jobs(job for plan in plans for job in plan.jobs())
    file.parent.mkdir(parents=True, exist_ok=True)
    count = export_runs(jobs, store, file) if any(map(store.is_done, jobs)) else 0
    print(f"{len(new)} records published to {store.records}, {count} finished trainings in {file}")
    left = [job for job in jobs if not store.is_done(job) and store.updates_done(job)]
    if left:
        furthest = max(map(store.updates_done, left))
        print(f"{len(left)} runs are saved at up to {furthest:,} updates; the same command goes on with them")


def _called(module: str, *arguments: str) -> bool:
    """Whether ``python -m synthlib.bench[.module]`` ended well; its output goes where ours goes."""
    name = f"synthlib.bench.{module}" if module else "synthlib.bench"
    return subprocess.run([sys.executable, "-m", name, *arguments], check=False).returncode == 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synthlib.bench.first_minutes", description=__doc__)
    parser.add_argument("--hours", type=float, default=0.2, help="all in all (default: 0.2)")
    parser.add_argument("--data", default="replica")
    parser.add_argument("--presets", default=PRESETS, help=f"in this order, while there is time (default: {PRESETS})")
    parser.add_argument("--datasets", default=DATASETS)
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"the first so many (default: {SEEDS})")
    parser.add_argument("--file", type=Path, default=Path("runs.tar"), help="where runs are exported to")
    parser.add_argument("--checks", default="", help="only the checks that match (as pytest's -k)")
    parser.add_argument("--bench", default="", help="options of the bench, such as '--only columns'")
    return parser


if __name__ == "__main__":
    sys.exit(main())
