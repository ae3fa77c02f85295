"""Trainings whose workers were killed: they are taken up again, but one that always kills its worker ends as failed.

The system kills a process when memory is short, and a process may kill itself in a library's C code. Neither leaves a
traceback, so the parent process has to say what it knows.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.algorithms import describe
from synthlib.study.workers import Worker

MOST_KILLS = 3  # of one training's worker in a row, without a checkpoint further on in between


class WorkerKilled(RuntimeError):
    """A training's worker was killed again and again."""


@dataclass
class _Count:
    kills: int = 0
    updates: int = -1


class Casualties:
    """The killed workers of one command, counted by what they trained."""

    def __init__(self, jobs: Sequence[Job], store: Store) -> None:
        self._jobs = {job.key: job for job in jobs}
        self._store = store
        self._counts: dict[str, _Count] = {}

    def note(self, worker: Worker) -> tuple[str, bool]:
        """(A line to print about a killed worker, whether another one should take its place).

        The training is marked as failed when its worker was killed :data:`MOST_KILLS` times in a row.
        """
        number = -(worker.process.exitcode or 0)
        name = f"worker process {worker.process.pid} was killed (signal {number})"
        job = self._jobs.get(worker.key)
        if job is not None and self._store.is_done(job):  # it was killed between two trainings
            job = None
        count = self._counts.setdefault(job.key if job else "", _Count())
        updates = self._store.updates_done(job) if job else -1
        count.kills = 1 if updates > count.updates else count.kills + 1
        count.updates = updates
        if job is None:
            return f"{name} while it trained nothing", count.kills < MOST_KILLS
        if count.kills < MOST_KILLS:
            return f"{name} while it trained {describe(job)}; that goes on from its last checkpoint", True
        self._fail(job, number)
        return f"{name} while it trained {describe(job)}, {MOST_KILLS} times in a row now: that has failed", True

    def _fail(self, job: Job, number: int) -> None:
        mark_failed(
            job,
            self._store,
            WorkerKilled(
                f"its worker was killed {MOST_KILLS} times in a row (signal {number}), each time after "
                f"{self._store.updates_done(job)} saved updates; if memory was short, train fewer at once: WORKERS=1"
            ),
        )


def mark_failed(job: Job, store: Store, error: Exception) -> None:
    """Write down that the training has failed with ``error``, unless another process trains it."""
    session = store.open(job)
    if session is not None:
        with contextlib.suppress(type(error), OSError), session.recording_failure():
            raise error
