"""A plan compared with the store (trainings wanted, done, shared and missing, expected time), and running a plan."""

from collections import Counter
from collections.abc import Collection, Sequence

from synthlib.errors import Failed
from synthlib.machine.switches import keeps_policies
from synthlib.offline.download import to_be_fetched
from synthlib.offline.identity import check_data
from synthlib.offline.masses import assumptions
from synthlib.paths import data_cache, outputs, store_root
from synthlib.runs.job import Job
from synthlib.runs.policies import keep_policies, said_of
from synthlib.runs.store import Store
from synthlib.study import memory
from synthlib.study.algorithms import describe, training
from synthlib.study.catalogue import artefacts_of
from synthlib.study.cost import seconds_of
from synthlib.study.engine import ALL, RunOptions, run_jobs
from synthlib.study.params import is_own_table
from synthlib.study.plan import Plan, Selection, distinct_jobs, make_plan
from synthlib.study.presets import left_out, load_preset


class PlanSummary:
    """The text that ``make plan-<table>`` prints; a notebook shows the same text as the value of a cell."""

    def __init__(self, plan: Plan, workers: int) -> None:
        self.plan = plan
        store = Store(store_root())
        jobs = plan.jobs()
        self.counts = _count_by_status(jobs, store)
        ours, others = {job.key for job in jobs}, _other_artefacts(plan)
        self.shared = _shared_with(ours, others)
        on_page = {name: keys for name, (notebook, keys) in others.items() if notebook == plan.artefact.notebook}
        self.rest_of_page = {name: more for name, keys in on_page.items() if (more := keys - ours)}
        self.columns_done = _columns_done(plan, store)
        missing = [job for job in jobs if not store.is_done(job)]
        seconds = seconds_of(missing)
        self.minutes = sum(seconds[job.key] * (1 - store.fraction_done(job)) for job in missing) / 60 / workers
        self.workers = workers
        self.memory = memory.in_words(missing)
        self.failures = [(job, failure) for job in jobs if (failure := store.failure(job))]

    def __str__(self) -> str:
        plan, lines = self.plan, []
        datasets = len(plan.settings["datasets"])
        sizes = f"{len(plan.arms)} arms x {datasets} data set{'s' if datasets > 1 else ''}"
        lines.append(f"{plan.artefact.name}: {plan.artefact.title}")
        seeds = sorted(set(Counter((cell.arm, cell.dataset) for cell in plan.cells).values()))
        lines.append(f"  preset {plan.preset}, data {plan.source}: {sizes} x {' or '.join(map(str, seeds))} seeds")
        if plan.source and (wanted := to_be_fetched(plan.settings["datasets"], plan.source)):
            lines.append(f"  {wanted}")
        if absent := left_out(plan.artefact, plan.settings):
            lines.append(f"  not in this preset: {'; '.join(absent)}")
        if plan.source is not None:
            lines += [f"  {line}" for line in assumptions(plan.settings["datasets"], plan.source, data_cache())]
        for kind, counts in self.counts.items():
            states = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
            lines.append(f"  {kind:<20} {sum(counts.values()):>4} wanted: {states}")
        if self.columns_done:
            lines.append(f"  columns done: {'; '.join(self.columns_done)}")
        for number, names in self.shared.items():
            lines.append(f"  {number} of these trainings also serve {', '.join(names)}")
        if self.rest_of_page:
            more, others = len(set().union(*self.rest_of_page.values())), ", ".join(self.rest_of_page)
            lines.append(f"  make reproduce-{plan.artefact.name} trains {more} more: its page shows {others} too")
        for job, failure in self.failures:
            lines.append(f"  failed before: {describe(job)}: {failure['error']}")
        lines += [f"  {line}" for line in self.memory]
        cores = f"{self.workers} core{'s' if self.workers > 1 else ''}"
        lines.append(f"  expected: about {self.minutes:.0f} minutes on {cores}; runs in {store_root()}")
        return "\n".join(lines)

    __repr__ = __str__


def run_plan(plan: Plan, workers: int, options: RunOptions = ALL) -> None:
    """:func:`run_plans` for one plan."""
    run_plans([plan], workers, options)


def run_plans(plans: Sequence[Plan], workers: int, options: RunOptions = ALL, keys: Collection[str] = ()) -> None:
    """Load every data set that the plans need once, then train the jobs that are not done.

    With ``keys``, only the jobs that have these keys are trained, and what they require. ``workers`` and ``options``
    are arguments of :func:`synthlib.study.engine.run_jobs`. Raises the errors of this function, and before any training
    the errors of :func:`synthlib.offline.identity.check_data`.
    """
    outputs().mkdir(parents=True, exist_ok=True)
    store = Store(store_root())
    for plan in plans:
        assert plan.source is not None, "a plan without data can only be counted"
        wanted = (cell for cell in plan.cells if not keys or cell.job.key in keys)
        check_data((cell.dataset for cell in wanted if not store.is_done(cell.job)), plan.source)
    jobs = distinct_jobs(cell.job for plan in plans for cell in plan.cells)
    if keys:
        chosen = {one.key for job in jobs if job.key in keys for one in (job, *job.requires)}
        jobs = [job for job in jobs if job.key in chosen]
    keep = keeps_policies()
    run_jobs(jobs, store, workers, seconds_of(jobs), options)
    if keep:
        print(said_of(keep_policies([(job, training(job)) for job in jobs], store)))


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


def _other_artefacts(plan: Plan) -> dict[str, tuple[str, set[str]]]:
    """{name of another artefact of the same algorithm: (its notebook, the keys of its trainings)}."""
    ours, found = plan.settings["datasets"], {}
    preset = load_preset(plan.preset, plan.artefact.algorithm)
    for other in artefacts_of(plan.artefact.algorithm):
        # The user's own data sets, or a part of the table, need not be where the others look for theirs.
        common = tuple(name for name in other.datasets or preset["datasets"] if name in ours)
        if other.name != plan.artefact.name and common:
            try:
                jobs = make_plan(other.name, plan.preset, plan.source, selection=Selection(datasets=common)).jobs()
            except (ValueError, OSError, Failed):
                if is_own_table(other.name):  # not finished: what is wrong is said where it is asked for
                    continue
                raise
            found[other.name] = other.notebook, {job.key for job in jobs}
    return found


def _shared_with(ours: set[str], others: dict[str, tuple[str, set[str]]]) -> dict[int, list[str]]:
    """{number of trainings: names of the other artefacts that share so many with ours}."""
    shared: dict[int, list[str]] = {}
    for name, (_, theirs) in others.items():
        if common := len(ours & theirs):
            shared.setdefault(common, []).append(name)
    return shared
