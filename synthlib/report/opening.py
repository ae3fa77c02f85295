"""What stands at the top of every page that shows runs: what it takes to make it, from the plan and not typed."""

import contextlib

import pandas as pd

from synthlib.paths import store_root
from synthlib.runs.store import Store
from synthlib.study.cost import seconds_of
from synthlib.study.figures import find_artefact
from synthlib.study.plan import make_plan
from synthlib.study.presets import can_train, presets

_NOT_SHOWN = "paper"  # thousands of core-hours; make plan-... says how many


def what_it_takes(*names: str, data: str = "replica") -> pd.DataFrame:
    """By preset: trainings that the page's tables and figures want, how many are missing, and their processor time.

    ``names``: tables and figures of one page; a training that they share counts once. The times are expected ones of
    this machine with one process: divide them by the number of cores that are free.
    """
    store, rows = Store(store_root()), {}
    for preset in presets():
        if preset == _NOT_SHOWN or not all(can_train(preset, find_artefact(name).algorithm) for name in names):
            continue
        with contextlib.suppress(FileNotFoundError):
            jobs = {job.key: job for name in names for job in make_plan(name, preset, data).jobs()}
            missing = [job for job in jobs.values() if not store.is_done(job)]
            rows[preset] = {
                "trainings": str(len(jobs)),
                "missing": str(len(missing)),
                "processor time": in_words(sum(seconds_of(missing).values())),
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def in_words(seconds: float) -> str:
    """A time as a reader says it: "none", "40 seconds", "12 minutes", "3.4 hours"."""
    if seconds == 0:
        return "none"
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
