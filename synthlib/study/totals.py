"""The total cost of all trainings: of every preset over all artefacts, and of the whole paper."""

import math
from collections.abc import Sequence

import pandas as pd

from synthlib.paths import outputs
from synthlib.runs.job import Job
from synthlib.study.algorithms import ALGORITHMS, algorithm, training
from synthlib.study.catalogue import artefacts_of, printed_artefacts
from synthlib.study.cost import seconds_of
from synthlib.study.plan import Plan, distinct_jobs, make_plan
from synthlib.study.presets import can_train, presets


def totals_of_presets(workers: int) -> pd.DataFrame:
    """The cost of every preset over all artefacts: one row per preset and algorithm that the preset can train.

    Columns: ``artefacts``; ``run slots`` (arm x data set x seed, summed over the artefacts); ``distinct runs`` and
    ``pre-trainings``, each training counted once; and the expected hours with an empty store on ``workers`` cores of
    this machine. Needs no data.
    """
    rows = {}
    for preset in presets():
        for name in ALGORITHMS:
            if not can_train(preset, name):
                continue
            plans = _counted_plans(name, preset)
            jobs = distinct_jobs(cell.job for plan in plans for cell in plan.cells)
            pretrainings = sum(training(job).is_pretraining for job in jobs)
            rows[preset, name] = {
                "artefacts": len(plans),
                "run slots": sum(len(plan.cells) for plan in plans),
                "distinct runs": len(jobs) - pretrainings,
                "pre-trainings": pretrainings,
                f"hours on {workers} cores": f"{sum(seconds_of(jobs).values()) / 3600 / workers:,.1f}",
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["preset", "algorithm"])


def paper_totals(preset: str = "paper") -> pd.DataFrame:
    """The total cost of all trainings in the paper: updates, floating-point operations, core-hours on this machine.

    Of what this project adds to the paper, only the column of the matched control is counted. Three rows: every table
    and figure trained by itself; runs and pre-trainings shared; and shared with the fast code. The first two rows are
    for code in the reference style. Their hours are the hours of the fast code times the ratio that ``make bench``
    measured, NaN without such a measurement. Operations are the matrix products that no version can leave out, so they
    are equal for both.
    """
    slower = _slower_in_reference_style()
    plans = _printed_plans(preset)
    shared = paper_jobs(preset)
    alone = [job for plan in plans for job in plan.jobs()]
    seconds = seconds_of(shared)
    # A run in ``alone`` may be shorter than the shared run with its key, so take the seconds per update.
    per_update = {job.key: seconds[job.key] / max(job.updates, 1) for job in shared}

    def row(jobs: Sequence[Job], is_plain: bool) -> dict[str, float]:
        hours = sum(
            per_update[job.key] * job.updates * (slower.get(job.kind, math.nan) if is_plain else 1) for job in jobs
        )
        return {
            "trainings": len(jobs),
            "updates": sum(job.updates for job in jobs),
            "operations": sum(training(job).operations(job) for job in jobs),
            "core-hours": hours / 3600,
        }

    return pd.DataFrame.from_dict(
        {
            "each table by itself": row(alone, is_plain=True),
            "shared": row(shared, is_plain=True),
            "shared, fast versions": row(shared, is_plain=False),
        },
        orient="index",
    )


def paper_jobs(preset: str = "paper") -> list[Job]:
    """All trainings of the paper, with the column of the matched control, each once."""
    return distinct_jobs(cell.job for plan in _printed_plans(preset) for cell in plan.cells)


def _printed_plans(preset: str) -> list[Plan]:
    printed = printed_artefacts()
    return [
        make_plan(artefact.name, preset, source=None)
        for name in ALGORITHMS
        for artefact in printed
        if artefact.algorithm == name
    ]


def _counted_plans(algorithm_name: str, preset: str) -> list[Plan]:
    return [make_plan(artefact.name, preset, source=None) for artefact in artefacts_of(algorithm_name)]


def _slower_in_reference_style() -> dict[str, float]:
    """{kind of job: seconds in the reference style / seconds of the fast code}, from ``make bench``; {} without it."""
    path = outputs() / "bench" / "bench.csv"
    if not path.exists():
        return {}
    rows = pd.read_csv(path)
    ratios = rows[rows["contestant"] == "reference style"].set_index("line")["ratio"]
    kinds = [one for name in ALGORITHMS for one in algorithm(name).trainings]
    return {one.kind: ratios[one.bench_line] for one in kinds if one.bench_line in ratios}
