"""How far the trainings of some tables are: done, running, queued, failed, and the hours that are left.

All but the queue is read from the run store. So it is the same whoever trains: this machine, shards, or Slurm.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

from synthlib.paths import store_root
from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.algorithms import describe
from synthlib.study.cluster import Request
from synthlib.study.cost import seconds_of
from synthlib.study.job_queue import QueuedJob, QueueSilent, queued, why_not_started
from synthlib.study.submission import silent_ends

_MEANING = {
    "done": "",
    "running": "",
    "queued": "in the queue, not running",
    "failed": "listed below; the next run tries them again",
    "started": "saved in part, and nobody trains them",
    "missing": "not begun",
}


def status(request: Request) -> str:
    """A text on the trainings of ``request``."""
    store, jobs = Store(store_root()), request.jobs()
    waiting: dict[str, QueuedJob] = {}
    remark = ""
    try:
        waiting = queued()
    except QueueSilent as silent:
        remark = f"  what is queued is not known: {silent}"
    states = {job.key: _state(job, store, waiting) for job in jobs}
    counts = Counter(states.values())
    lines = [f"{request.name}: {counts['done']} of {len(jobs)} trainings are done"]
    for state, meaning in _MEANING.items():
        if counts[state]:
            lines.append(f"  {state:<8} {counts[state]:>5}" + (f"  {meaning}" if meaning else ""))
    lines += [remark] if remark else []
    waits = [waiting[key] for key, state in states.items() if state == "queued"]
    lines += [f"  {line}" for line in why_not_started(waits).values()]
    left = [job for job in jobs if states[job.key] != "done"]
    if left:
        hours = sum(seconds_left(left, jobs, store)) / 3600
        now = f", about {hours / counts['running']:.1f} with those that run now" if counts["running"] else ""
        lines.append(f"  left     {hours:>5.1f}  hours of one worker{now}")
    for job in jobs:
        if states[job.key] == "failed" and (failure := store.failure(job)):
            lines.append(f"  failed: {describe(job)}: {failure['error']}")
            lines.append(f"    traceback: {store.folder(job) / 'FAILED.json'}")
    lines += silent_ends((job for job in left if job.key not in waiting), store)
    return "\n".join(lines)


def _state(job: Job, store: Store, waiting: dict[str, QueuedJob]) -> str:
    state = store.status(job)
    return "queued" if state not in ("done", "running") and job.key in waiting else state


def seconds_left(left: Sequence[Job], jobs: Sequence[Job], store: Store) -> list[float]:
    """Expected seconds to the end of each of the trainings ``left``, with one worker.

    What counts is the time that the store has of trainings of the same kind among ``jobs``. Where there is none, this
    machine is measured.
    """
    seconds: dict[str, float] = defaultdict(float)
    updates: dict[str, int] = defaultdict(int)
    for job in jobs:
        if (recorded := store.spent(job)) and recorded[0]:
            seconds[job.kind] += recorded[1].wall_seconds
            updates[job.kind] += recorded[0]
    measured = seconds_of(job for job in left if not updates[job.kind])
    whole = [
        measured[job.key] if job.key in measured else seconds[job.kind] / updates[job.kind] * job.updates
        for job in left
    ]
    return [all_of_it * (1 - store.fraction_done(job)) for job, all_of_it in zip(left, whole, strict=True)]
