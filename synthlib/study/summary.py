"""A plan against the store: what is wanted, done, shared and missing, how long it will take, and running it."""

import math

import pandas as pd

from synthlib.offline.identity import check_data
from synthlib.paths import outputs, store_root
from synthlib.runs.store import Store
from synthlib.study import operations
from synthlib.study.cost import seconds_of
from synthlib.study.engine import describe, run_jobs
from synthlib.study.plan import (
    artefact_names,
    can_train,
    distinct_jobs,
    left_out,
    load_artefact,
    make_plan,
    number_of_seeds,
    presets,
)


class PlanSummary:
    """What ``make plan-<table>`` prints; as a notebook's value it is the same text."""

    def __init__(self, plan, workers):
        self.plan = plan
        store = Store(store_root())
        jobs = plan.jobs()
        self.counts = _count_by_status(jobs, store)
        self.shared = _shared_with(plan)
        self.columns_done = _columns_done(plan, store)
        missing = [job for job in jobs if not store.is_done(job)]
        seconds = seconds_of(missing)
        self.minutes = sum(seconds[job.key] * (1 - store.fraction_done(job)) for job in missing) / 60 / workers
        self.workers = workers
        self.failures = [(job, store.failure(job)) for job in jobs if store.failure(job)]

    def __str__(self):
        plan, lines = self.plan, []
        datasets = len(plan.settings["datasets"])
        sizes = f"{len(plan.arms)} arms x {datasets} data set{'s' if datasets > 1 else ''}"
        lines.append(f"{plan.artefact.name}: {plan.artefact.title}")
        seeds = sorted({number_of_seeds(plan.settings, dataset) for dataset in plan.settings["datasets"]})
        lines.append(f"  preset {plan.preset}, data {plan.source}: {sizes} x {' or '.join(map(str, seeds))} seeds")
        if absent := left_out(plan.artefact, plan.settings):
            lines.append(f"  not in this preset: {'; '.join(absent)}")
        for kind, counts in self.counts.items():
            states = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
            lines.append(f"  {kind:<20} {sum(counts.values()):>4} wanted: {states}")
        if self.columns_done:
            lines.append(f"  columns done: {'; '.join(self.columns_done)}")
        for number, names in self.shared.items():
            lines.append(f"  {number} of these trainings also serve {', '.join(names)}")
        for job, failure in self.failures:
            lines.append(f"  failed before: {describe(job)}: {failure['error']}")
        lines.append(f"  expected: about {self.minutes:.0f} minutes on {self.workers} cores; runs in {store_root()}")
        return "\n".join(lines)

    __repr__ = __str__


def run_plan(plan, workers, shard=(0, 1), stacked=False):
    """Train what the plan lacks, after every data set that it needs has been loaded once.

    Raises as :func:`synthlib.offline.identity.check_data` (nothing is trained then) and
    :func:`synthlib.study.engine.run_jobs`.
    """
    outputs().mkdir(parents=True, exist_ok=True)
    store = Store(store_root())
    check_data((cell.dataset for cell in plan.cells if not store.is_done(cell.job)), plan.source)
    jobs = plan.jobs()
    run_jobs(jobs, store, workers, seconds_of(jobs), shard, stacked)


def plan_all(workers):
    """How much every preset is, over all artefacts that can be trained: one row per preset and algorithm.

    Columns ``artefacts``, ``run slots`` (arm x data set x seed, counted in every artefact), ``distinct runs`` and
    ``pre-trainings`` after sharing, and hours from nothing on ``workers`` cores of this machine. Needs no data.
    """
    rows = {}
    for preset in presets():
        for algorithm in ("dt", "cql"):
            if not can_train(preset, algorithm):
                continue
            plans = [make_plan(name, preset, source=None) for name in _names_of(algorithm)]
            jobs = distinct_jobs(cell.job for plan in plans for cell in plan.cells)
            hours = sum(seconds_of(jobs).values()) / 3600 / workers
            rows[preset, algorithm] = {
                "artefacts": len(plans),
                "run slots": sum(len(plan.cells) for plan in plans),
                "distinct runs": sum(job.kind == algorithm for job in jobs),
                "pre-trainings": sum(job.kind != algorithm for job in jobs),
                f"hours on {workers} cores": f"{hours:,.1f}",
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["preset", "algorithm"])


def paper_totals(preset="paper"):
    """All trainings behind the paper in sum: updates, floating-point operations and core-hours on this machine.

    Three rows: every table and figure by itself, what remains after sharing runs and pre-trainings, and the same with
    the fast versions. Operations are those of :mod:`synthlib.study.operations`, the same for plain and fast. Plain
    hours are the fast ones times what ``make bench`` measured against the reference style, NaN where it has not been
    run.
    """
    slower = _slower_in_reference_style()
    plans = [make_plan(name, preset, source=None) for algorithm in ("dt", "cql") for name in _names_of(algorithm)]
    shared = distinct_jobs(cell.job for plan in plans for cell in plan.cells)
    alone = [job for plan in plans for job in plan.jobs()]
    seconds = seconds_of(shared)
    # A longer run that serves a shorter one has its key, so time goes by the update.
    per_update = {job.key: seconds[job.key] / max(job.updates, 1) for job in shared}

    def row(jobs, is_plain):
        hours = sum(
            per_update[job.key] * job.updates * (slower.get(job.kind, math.nan) if is_plain else 1) for job in jobs
        )
        return {
            "trainings": len(jobs),
            "updates": sum(job.updates for job in jobs),
            "operations": sum(map(operations.of_job, jobs)),
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


def _slower_in_reference_style():
    """{kind of job: times that the reference style takes for ours to take one}, from ``make bench``; {} without it."""
    path = outputs() / "bench" / "bench.csv"
    if not path.exists():
        return {}
    rows = pd.read_csv(path)
    ratios = rows[rows["contestant"] == "reference style"].set_index("line")["ratio"]
    lines = {"cql": "cql-3", "critic_pretraining": "critics", "dt": "dt", "gpt2_pretraining": "gpt2"}
    return {kind: ratios[line] for kind, line in lines.items() if line in ratios}


def _names_of(algorithm):
    return [name for name in artefact_names() if load_artefact(name).algorithm == algorithm]


def _count_by_status(jobs, store):
    counts = {}
    for job in jobs:
        status = store.status(job)
        counts.setdefault(job.kind, {}).setdefault(status, 0)
        counts[job.kind][status] += 1
    return counts


def _columns_done(plan, store):
    """The arms of which every run is done, in printed order."""
    unfinished = {cell.arm for cell in plan.cells if not store.is_done(cell.job)}
    return [arm for arm in plan.arms if arm not in unfinished]


def _shared_with(plan):
    """How many of the plan's trainings other artefacts of the same algorithm would use: {number: their names}."""
    ours = {job.key for job in plan.jobs()}
    shared = {}
    for name in _names_of(plan.artefact.algorithm):
        if name != plan.artefact.name:
            theirs = distinct_jobs(cell.job for cell in make_plan(name, plan.preset, plan.source).cells)
            if common := len(ours & {job.key for job in theirs}):
                shared.setdefault(common, []).append(name)
    return shared
