"""What one worker of the local engine does: it trains one job after the other, until nothing is left for it."""

import contextlib
import json
import math
import signal
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from synthlib.machine.beside import end_with_parent
from synthlib.machine.locks import ClaimLost
from synthlib.machine.processes import prepare_process
from synthlib.machine.signals import ToldToEnd
from synthlib.runs import loop
from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.algorithms import training
from synthlib.study.memory import fitting
from synthlib.study.workers import IDLE, Message

_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Assignment:
    """What the workers of one command share."""

    jobs: Sequence[Job]
    others: Sequence[Job]
    """Trained while all of ``jobs`` wait for machines elsewhere."""
    store: Store
    started: float
    """Seconds since the epoch. A job that failed before is tried again. A job that failed later is not, and the
    jobs that require it are left out.
    """
    deadline: float = math.inf
    """Nothing is trained after it."""
    stacked: bool = False


def work(assignment: Assignment, reports: Connection) -> None:
    """Train one job after the other, until none is left that this process can train.

    When the process is told to end, it saves, and ends by that signal.
    """
    told = ToldToEnd()
    told.listen()
    prepare_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at Ctrl-C the parent process tells this one to end
    end_with_parent()  # so that its locks can be taken over
    Work(assignment, reports, told).do()
    told.end()


class Work:
    """One worker's part of an assignment."""

    def __init__(self, assignment: Assignment, reports: Connection, told: ToldToEnd) -> None:
        self._asked, self._store = assignment, assignment.store
        self._reports, self._told = reports, told
        self.tried: set[str] = set()
        """Keys of the jobs that this process trains no more."""

    @property
    def _is_over(self) -> bool:
        return bool(self._told.number) or time.time() > self._asked.deadline

    def do(self) -> None:
        """Train until nothing is left, or the time is over."""
        store = self._store
        while True:
            left = [job for job in self._asked.jobs if job.key not in self.tried and not store.is_done(job)]
            left = [job for job in left if not any(map(self.is_lost, job.requires))]
            if not left or self._is_over:
                return
            ready = [job for job in left if all(map(store.is_done, job.requires))]
            stacks = stacks_of(ready, store) if self._asked.stacked else [[job] for job in ready]
            if any(map(self.train, stacks)):
                continue
            if not self.help(left):
                self._tell(IDLE)
                time.sleep(_WAIT_SECONDS)

    def help(self, left: Sequence[Job]) -> bool:
        """Train one of the others when processes elsewhere hold what is ``left``. False when there is nothing to do."""
        store = self._store
        holders = [holder for one in left for job in (one, *one.requires) if (holder := store.holder(job))]
        if not holders or any(holder.is_here for holder in holders):
            return False
        ready = (one for one in self._asked.others if one.key not in self.tried and not store.is_done(one))
        return any(self.train([one]) for one in ready if all(map(store.is_done, one.requires)))

    def train(self, jobs: Sequence[Job]) -> bool:
        """Train the jobs that no other process has locked, as one computation. False when all of them are locked.

        A job that another process has finished, or has failed at, meanwhile is left out.
        """
        store = self._store
        sessions = list(filter(None, map(store.open, jobs)))
        left = [session for session in sessions if not store.is_done(session.job) and not self._has_failed(session.job)]
        for session in sessions:
            self.tried.add(session.job.key)
            if session not in left:
                session.release()
        if not left:
            return bool(sessions)
        ours = [session.job for session in left]

        def report(updates: int) -> None:
            for job in ours:
                self._tell((job.key, updates / job.updates if job.updates else 1.0))
            if self._is_over and updates < ours[0].updates:
                raise loop.OutOfTime

        for job in ours:
            self._tell((job.key, store.fraction_done(job)))
        trained = training(ours[0])
        facts = trained.facts_together() if len(ours) > 1 or trained.is_pretraining else {}
        try:
            with contextlib.ExitStack() as failures:
                for session in left:
                    failures.enter_context(session.recording_failure(facts))
                loop.train(trained, left, store, report)
            report(ours[0].updates)
        except ClaimLost as lost:
            print(lost)
        except loop.OutOfTime:
            pass
        except Exception:  # it is in FAILED.json; the parent process lists it, and the other jobs continue
            if not any(map(store.failure, ours)):  # a full disk: FAILED.json could not be written
                traceback.print_exc()
        return True

    def is_lost(self, job: Job) -> bool:
        """Whether a required ``job`` has failed since the start.

        FAILED.json says so. On a full disk that file may be missing; then a job that this process tried counts as
        failed unless it is done or running.
        """
        if self._has_failed(job):
            return True
        return job.key in self.tried and self._store.status(job) not in ("done", "running")

    def _has_failed(self, job: Job) -> bool:
        failure = self._store.failure(job)
        return failure is not None and failure["time"] >= self._asked.started

    def _tell(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # the parent was killed, and this process ends in a moment
            self._reports.send(message)


def stacks_of(jobs: Sequence[Job], store: Store) -> list[list[Job]]:
    """The jobs in groups that can be one computation: alike (:attr:`Training.alike`), of equal length, equally far.

    A group fits into the memory of the chosen GPU.
    """
    stacks: dict[str, list[Job]] = {}
    for job in jobs:
        one = training(job)
        alike = job.config if one.is_pretraining and one.together is None else one.alike(job)
        key = json.dumps([job.kind, alike, job.updates, job.keep, store.updates_done(job)], sort_keys=True)
        stacks.setdefault(key, []).append(job)
    return [part for stack in stacks.values() for part in fitting(stack)]
