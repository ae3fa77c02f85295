"""Trainings through a queue: what is asked for, and what one job of the queue does on its node.

Keys travel, not jobs. What is submitted names tables and the keys of trainings. The plan is made again on the node,
where the trainings run with the local engine. So a job of the queue holds nothing that could be out of date, and
everything that is known of a training stays in the run store.

A job is told to end before its time limit, or when it is preempted. Then its workers save, the job goes back into the
queue, and goes on from its checkpoints when it runs again.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from synthlib.paths import store_root
from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.casualties import mark_failed
from synthlib.study.engine import RunOptions
from synthlib.study.plan import EVERYTHING, Plan, Selection, distinct_jobs, make_plan
from synthlib.study.summary import run_plans
from synthlib.study.workers import end_all

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

MOST_BARREN = 3  # times in a row that a job is told to end before it has saved an update more


_TOO_SHORT = (
    f"its job was told to end {MOST_BARREN} times in a row before an update more was saved: give jobs longer (HOURS=) "
    "or less to do (PER_JOB=1)"
)


class NoProgress(RuntimeError):
    """A job of the queue never gets as far as its first saved update."""


@dataclass(frozen=True)
class Request:
    """Which trainings are wanted: those of some tables under one preset."""

    tables: tuple[str, ...]
    preset: str
    data: str
    selection: Selection = EVERYTHING

    def plans(self) -> list[Plan]:
        """The plans of the tables, made here and now."""
        return [make_plan(name, self.preset, self.data, selection=self.selection) for name in self.tables]

    def jobs(self) -> list[Job]:
        """Every training once; required ones come first."""
        return distinct_jobs(cell.job for plan in self.plans() for cell in plan.cells)

    @property
    def name(self) -> str:
        """Names the folder of logs."""
        tables = self.tables[0] if len(self.tables) == 1 else "tables"
        return f"{tables}-{self.preset}{self.selection.suffix}"


@dataclass(frozen=True)
class QueueOptions:
    """What is asked of the queue for each job. What is empty or 0 is left to the site's own settings."""

    engine: str
    """One of :data:`synthlib.study.job_queue.ENGINES`."""
    partition: str = ""
    account: str = ""
    hours: float = 4.0
    """The time limit of a job. A training that takes longer goes back into the queue."""
    workers: int = 1
    """Processes of a job that train."""
    cpus: int = 0
    """Processors of a job; 0: one for each worker. Stacked runs on a GPU are evaluated on the others."""
    gpus: int = 0
    memory: float = 0.0
    """Gigabytes."""
    parallel: int = 0
    """How many jobs may run at a time."""
    per_job: int = 1
    """Trainings of one job."""
    stacked: bool = False
    """The trainings of one job are alike, and one computation."""

    @property
    def minutes(self) -> int:
        return math.ceil(self.hours * 60)


@dataclass(frozen=True)
class Train:
    """What a job of the queue does: the trainings called ``keys``, with the local engine, on the node where it runs."""

    request: Request
    keys: tuple[str, ...]
    workers: int = 1
    stacked: bool = False
    saved: int = -1
    """The updates that were saved when the job was told to end last."""
    barren: int = 0
    """How often in a row it was told to end with no update more."""

    def __call__(self) -> None:
        run_plans(self.request.plans(), self.workers, RunOptions(stacked=self.stacked), self.keys)

    def checkpoint(self) -> "DelayedSubmission | None":
        """submitit calls this when the job is told to end: save, and return what the next attempt has to do.

        None ends the job. Then its trainings are marked as failed, since they did not get on in several attempts.
        """
        from submitit.core.utils import DelayedSubmission

        end_all()
        store = Store(store_root())
        jobs = [job for job in self.request.jobs() if job.key in self.keys]
        saved = sum(map(store.updates_done, (*jobs, *(one for job in jobs for one in job.requires))))
        again = replace(self, saved=saved, barren=self.barren + 1 if saved <= self.saved else 0)
        if again.barren < MOST_BARREN:
            return DelayedSubmission(again)
        for job in jobs:
            if not store.is_done(job):
                mark_failed(job, store, NoProgress(_TOO_SHORT))
        return None
