"""Who is waited for: words for the time in which a command can train nothing, because others hold the locks."""

import datetime
import time
from collections.abc import Collection, Sequence

from synthlib.machine.locks import STALE_SECONDS, Holder
from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.algorithms import describe

QUIET_SECONDS = 10  # without a report of progress, before somebody else is suspected
LOOK_SECONDS = 5  # between two looks at the locks, while others are waited for
_FIRST_REPEAT = 60  # seconds; then twice as long each time, so that a log file of a whole night stays short


class Waiting:
    """Watches over the jobs of one command. ``own`` are the process ids of its workers, which train on this machine."""

    def __init__(self, jobs: Sequence[Job], store: Store, own: Collection[int]) -> None:
        self._jobs, self._store, self._own = jobs, store, own
        self._started = time.time()  # jobs that failed later are not tried again
        self._since: float | None = None
        self._next_line = 0.0
        self.short = ""
        """For the progress bar: who is waited for and how long already; empty while something is trained."""
        self.progress()

    def progress(self) -> None:
        """Note that a worker of this command has made progress."""
        self._last_progress, self._since, self.short = time.monotonic(), None, ""
        self._next_look = self._last_progress + QUIET_SECONDS

    def look(self) -> str:
        """A line to print when this command waits for others: at first, and again at growing intervals; else ""."""
        now = time.monotonic()
        if now < self._next_look:
            return ""
        self._next_look = now + LOOK_SECONDS
        held = self._held_by_others()
        if not held:
            self.progress()
            return ""
        if self._since is None:
            self._since, self._next_line = self._last_progress, 0.0
        waited = now - self._since
        job, holder = held[0]
        self.short = f", waiting {datetime.timedelta(seconds=round(waited))} for {holder}"
        if waited < self._next_line:
            return ""
        self._next_line = max(_FIRST_REPEAT, 2 * waited)
        others, which = (f" and {len(held) - 1} more", "the first") if len(held) > 1 else ("", "it")
        if holder.is_here:
            until = "It is waited for as long as that process lives, stopped or not: let it go on, or end it"
        else:
            until = f"It is taken over {STALE_SECONDS} s after the last one"
        return (
            f"waiting for {describe(job)}{others}: {holder} trains {which}, last sign of life {holder.silent:.0f} s "
            f"ago, waited {datetime.timedelta(seconds=round(waited))} so far. {until}; "
            f"lock: {self._store.folder(job)}/claim.json"
        )

    def _held_by_others(self) -> list[tuple[Job, Holder]]:
        """The jobs that others train, with their processes; none while this command has something to train itself."""
        held = []
        for job in self._jobs:
            if self._store.is_done(job) or not all(map(self._store.is_done, job.requires)):
                continue
            holder = self._store.holder(job)
            if holder is not None and not (holder.is_here and holder.pid in self._own):
                held.append((job, holder))
            elif holder is not None or not self._has_failed(job):
                return []
        return held

    def _has_failed(self, job: Job) -> bool:
        failure = self._store.failure(job)
        return failure is not None and failure["time"] >= self._started
