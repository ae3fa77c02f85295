"""A plan compared with the store (trainings wanted, done, shared and missing, expected time), and running a plan."""

from collections import Counter
from collections.abc import Sequence

from synthlib.offline.identity import check_data
from synthlib.paths import outputs, store_root
from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.algorithms import describe
from synthlib.study.cost import seconds_of
from synthlib.study.engine import run_jobs
from synthlib.study.params import artefacts_of, left_out
from synthlib.study.plan import Plan, make_plan


class PlanSummary:
    """The text that ``make plan-<table>`` prints; a notebook shows the same text as the value of a cell."""

    def __init__(self, plan: Plan, workers: int) -> None:
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
        self.failures = [(job, failure) for job in jobs if (failure := store.failure(job))]

    def __str__(self) -> str:
        plan, lines = self.plan, []
        datasets = len(plan.settings["datasets"])
        sizes = f"{len(plan.arms)} arms x {datasets} data set{'s' if datasets > 1 else ''}"
        lines.append(f"{plan.artefact.name}: {plan.artefact.title}")
        seeds = sorted(set(Counter((cell.arm, cell.dataset) for cell in plan.cells).values()))
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


def run_plan(plan: Plan, workers: int, shard: tuple[int, int] = (0, 1), stacked: bool = False) -> None:
    """Load every data set that the plan needs once, then train the jobs that are not done.

    ``workers``, ``shard`` and ``stacked`` are arguments of :func:`synthlib.study.engine.run_jobs`. Raises the errors of
    this function, and before any training the errors of :func:`synthlib.offline.identity.check_data`.
    """
    outputs().mkdir(parents=True, exist_ok=True)
    store = Store(store_root())
    assert plan.source is not None, "a plan without data can only be counted"
    check_data((cell.dataset for cell in plan.cells if not store.is_done(cell.job)), plan.source)
    jobs = plan.jobs()
    run_jobs(jobs, store, workers, seconds_of(jobs), shard, stacked)


def _count_by_status(jobs: Sequence[Job], store: Store) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for job in jobs:
        status = store.status(job)
        counts.setdefault(job.kind, {}).setdefault(status, 0)
        counts[job.kind][status] += 1
    return counts


def _columns_done(plan: Plan, store: Store) -> list[str]:
    """The arms whose runs are all done, in printed order."""
    unfinished = {cell.arm for cell in plan.cells if not store.is_done(cell.job)}
    return [arm for arm in plan.arms if arm not in unfinished]


def _shared_with(plan: Plan) -> dict[int, list[str]]:
    """{number of trainings: names of the other artefacts of the same algorithm that share so many with the plan}."""
    ours = {job.key for job in plan.jobs()}
    shared: dict[int, list[str]] = {}
    for other in artefacts_of(plan.artefact.algorithm):
        if other.name != plan.artefact.name:
            theirs = make_plan(other.name, plan.preset, plan.source).jobs()
            if common := len(ours & {job.key for job in theirs}):
                shared.setdefault(common, []).append(other.name)
    return shared
