"""A plan against the store: what is wanted, done, shared and missing, how long it will take, and running it."""

from synthlib.engine import describe, run_jobs
from synthlib.estimate import seconds_of
from synthlib.paths import outputs, store_root
from synthlib.store import Store
from synthlib.study import artefact_names, distinct_jobs, load_artefact, make_plan


class PlanSummary:
    """What ``make plan-<table>`` prints; as a notebook's value it is the same text."""

    def __init__(self, plan, workers):
        self.plan = plan
        store = Store(store_root())
        jobs = plan.jobs()
        self.counts = _count_by_status(jobs, store)
        self.shared = _shared_with(plan)
        missing = [job for job in jobs if not store.is_done(job)]
        seconds = seconds_of(missing)
        self.minutes = sum(seconds[job.key] * (1 - store.fraction_done(job)) for job in missing) / 60 / workers
        self.workers = workers
        self.failures = [(job, store.failure(job)) for job in jobs if store.failure(job)]

    def __str__(self):
        plan, lines = self.plan, []
        sizes = f"{len(plan.artefact.arms)} arms x {len(plan.settings['datasets'])} data sets"
        lines.append(f"{plan.artefact.name}: {plan.artefact.title}")
        lines.append(f"  preset {plan.preset}, data {plan.source}: {sizes} x {plan.settings['seeds']} seeds")
        for kind, counts in self.counts.items():
            states = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
            lines.append(f"  {kind:<20} {sum(counts.values()):>4} wanted: {states}")
        for name, number in self.shared.items():
            lines.append(f"  {number} of these trainings also serve {name}")
        for job, failure in self.failures:
            lines.append(f"  failed before: {describe(job)}: {failure['error']}")
        lines.append(f"  expected: about {self.minutes:.0f} minutes on {self.workers} cores; runs in {store_root()}")
        return "\n".join(lines)

    __repr__ = __str__


def run_plan(plan, workers, shard=(0, 1)):
    """Train what the plan lacks; see :func:`synthlib.engine.run_jobs` for what is raised."""
    outputs().mkdir(parents=True, exist_ok=True)
    store = Store(store_root())
    jobs = plan.jobs()
    run_jobs(jobs, store, workers, seconds_of(jobs), shard)


def _count_by_status(jobs, store):
    counts = {}
    for job in jobs:
        status = store.status(job)
        counts.setdefault(job.kind, {}).setdefault(status, 0)
        counts[job.kind][status] += 1
    return counts


def _shared_with(plan):
    """How many of the plan's trainings other tables of the same algorithm would use, {table: number}."""
    ours = {job.key for job in plan.jobs()}
    shared = {}
    for name in artefact_names():
        if name == plan.artefact.name or load_artefact(name).algorithm != plan.artefact.algorithm:
            continue
        theirs = distinct_jobs(cell.job for cell in make_plan(name, plan.preset, plan.source).cells)
        common = len(ours & {job.key for job in theirs})
        if common:
            shared[name] = common
    return shared
