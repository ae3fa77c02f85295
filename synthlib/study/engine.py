"""The local engine: one process per core, each with one torch thread, all working through one list of jobs.

There is no scheduler. Each worker takes the first job in the list that is not done, not locked, and whose required jobs
are done. So workers on other machines that share the disk can join with the same command.
"""

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from synthlib.errors import Failed, stopping_in_words
from synthlib.machine.devices import CPU, chosen
from synthlib.machine.signals import TO_END, ToldToEnd
from synthlib.machine.switches import may_train
from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.algorithms import describe, training
from synthlib.study.bar import ProgressBar
from synthlib.study.casualties import Casualties
from synthlib.study.waiting import Waiting
from synthlib.study.work import Assignment, work
from synthlib.study.workers import HANGING_SECONDS, Message, Workers

_NOT_OF_THE_ARM = ("seed", "dataset", "physics")  # parts of a run's configuration that differ within one arm
# Errors that another try can be free of, by the name in FAILED.json: of the machine, the disk, the network, or a lock.
_PASSING = {
    "AcceleratorError",
    "BlockingIOError",
    "ClaimLost",
    "ConnectionError",
    "ConnectionResetError",
    "DataChangedError",
    "DownloadError",
    "MemoryError",
    "OSError",
    "OutOfMemoryError",
    "TimeoutError",
    "WorkerKilled",
    "_ArrayMemoryError",  # NumPy's
}


class JobsFailed(Failed):
    """Some trainings did not finish. The message lists them with their error and the file of the traceback."""


@dataclass(frozen=True)
class RunOptions:
    """Which part of some jobs to train, and how."""

    shard: tuple[int, int] = (0, 1)
    """(i, n): the part :func:`shard_of`; for want of a queue."""
    stacked: bool | None = None
    """Train runs that are alike as one computation. None: on a GPU, where one run alone leaves most of it idle."""
    hours: float = math.inf
    """Save and end after so many hours, whatever is done by then."""

    @property
    def is_stacked(self) -> bool:
        return chosen() != CPU if self.stacked is None else self.stacked


ALL = RunOptions()


def run_jobs(
    jobs: Sequence[Job],
    store: Store,
    workers: int,
    seconds: dict[str, float] | None = None,
    options: RunOptions = ALL,
) -> None:
    """Train every job that is not done, with a progress bar; return when all are done, or when the time is over.

    In ``jobs``, each job comes after the jobs that it requires. ``seconds`` maps a job's key to its expected duration,
    which is its weight in the progress bar. While all that is left of a shard waits for pre-trainings of other
    machines, it helps the other shards. Where trainings are off (:mod:`synthlib.machine.switches`), nothing is trained.

    A worker that is killed is replaced, and what it trained goes on from its last checkpoint
    (:mod:`synthlib.study.casualties`).

    Raises JobsFailed when a training failed, after the others have finished, or when this process is told to end
    (SIGTERM or SIGUSR2), and Stopped at Ctrl-C. Every training keeps its last checkpoint; in the latter two
    cases it is saved before.
    """
    began = time.time()
    deadline = began + 3600 * options.hours
    ours = shard_of(jobs, *options.shard)
    wanted = []
    for job in ours:
        if store.is_done(job):
            store.mend_description(job)
        else:
            wanted.append(job)
    if not wanted:
        return
    if not may_train():
        print(f"trainings are off: {len(wanted)} that are wanted here are not done, and what is done is shown")
        return
    _check_may_write(store)
    seconds = seconds or {}
    weights = {job.key: max(seconds.get(job.key, 1.0), 1e-3) for job in wanted}
    done_before = {job.key: store.fraction_done(job) * weights[job.key] for job in wanted}
    team_size = min(workers, len(wanted))
    with stopping_in_words(), ProgressBar(weights, done_before, team_size) as bar:
        others = [job for job in jobs if job not in ours]
        assignment = Assignment(wanted, others, store, began, deadline, options.is_stacked)
        with Workers(work, [assignment], team_size, daemon=not options.is_stacked) as team:
            waiting, words = Waiting(wanted, store, team.pids), {job.key: job for job in jobs}

            def turn() -> None:
                _show_messages(team.messages(0.1), bar, waiting)
                if line := team.look(lambda key: describe(words[key])):
                    bar.write(line)

            told = _lead(team, turn, Casualties(jobs, store), bar.write)
    done = sum(map(store.is_done, wanted))
    counted = f"{done} of {len(wanted)} trainings are done, the others are saved. Run it again to go on."
    if told and done < len(wanted):
        raise JobsFailed(f"This command was told to end ({signal.Signals(told).name}): {counted}")
    if time.time() > deadline and not (team.hanging or any(map(store.failure, wanted))):
        print(f"The time is over: {counted}")
        return
    killed = [code for code in team.exit_codes if code < 0 and -code not in TO_END]
    raise_if_unfinished(wanted, store, killed, len(team.hanging))


def _lead(team: Workers, turn: Callable[[], None], casualties: Casualties, say: Callable[[str], None]) -> int:
    """Call ``turn()`` until all workers have ended; replace those that are killed.

    Returns the signal that told this process to end, 0 if none has. The workers were told so too, and have saved.
    """
    told, told_them, going = ToldToEnd(), False, True
    told.listen()
    try:
        while going:
            going = team.go_on()
            turn()
            if told.number and not told_them:
                team.tell_to_end()
                told_them = True
            for worker in team.killed():
                line, replace = casualties.note(worker)
                say(line)
                if replace and not told_them:
                    team.add()
                    going = True
    finally:
        told.listen_no_more()
    return told.number


def shard_of(jobs: Sequence[Job], index: int, count: int) -> list[Job]:
    """All pre-trainings, and part ``index`` (from 0) of ``count`` parts of the fine-tuning runs.

    The runs are dealt out arm by arm, over all seeds and data sets of an arm. So every part has about as many runs of
    each arm as every other part: their costs are alike, and a part that is never made leaves no arm out.
    """
    arms: dict[str, list[Job]] = {}
    for job in jobs:
        if not training(job).is_pretraining:
            alike = {name: value for name, value in job.config.items() if name not in _NOT_OF_THE_ARM}
            arms.setdefault(json.dumps([job.kind, alike], sort_keys=True), []).append(job)
    dealt = [job for runs in arms.values() for job in runs][index::count]
    keys = {job.key for job in dealt}
    return [job for job in jobs if training(job).is_pretraining or job.key in keys]


def _check_may_write(store: Store) -> None:
    """Raise PermissionError, in words, where this user cannot train anything."""
    folder = next(folder for folder in (store.root, *store.root.parents) if folder.exists())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{folder} may not be written by this user; train where you may, with SYNTHLIB_OUTPUTS=folder"
        )


def _show_messages(messages: Iterable[Message], bar: ProgressBar, waiting: Waiting) -> None:
    heard = list(messages)
    if heard:
        waiting.progress()
    if line := waiting.look():
        bar.write(line)
    bar.advance(heard, waiting.short)


def raise_if_unfinished(
    jobs: Sequence[Job], store: Store, killed: Sequence[int] = (), hanging: int = 0, remarks: Sequence[str] = ()
) -> None:
    """Raise JobsFailed unless all ``jobs`` are done.

    ``killed`` are the exit codes of the workers that were killed; so many more workers did not advance: ``hanging``.
    ``remarks`` are lines of the message besides.
    """
    unfinished = [job for job in jobs if not store.is_done(job)]
    if not unfinished:
        return
    lines = [f"{len(unfinished)} of {len(jobs)} trainings did not finish:"]
    lasting = 0
    for job in unfinished:
        failure = store.failure(job)
        if failure:
            lasting += not _may_pass(failure["error"])
            lines.append(f"  {describe(job)}: {failure['error']}\n    traceback: {store.folder(job) / 'FAILED.json'}")
    if killed:
        lines.append(f"  {len(killed)} worker(s) were killed (signal {-killed[0]}); out of memory?")
    if hanging:
        lines.append(f"  {hanging} worker(s) did not advance for {HANGING_SECONDS // 60} minutes and were ended")
    kept = "finished work is kept, and the rest goes on from its last checkpoint"
    lines += remarks
    if lasting:
        lines.append(f"{lasting} would fail again in the same way: mend data, settings or code first; {kept}.")
    else:
        lines.append(f"Run the same command again: {kept}.")
    raise JobsFailed("\n".join(lines))


def _may_pass(error: str) -> bool:
    """Whether another try can be free of an error. One of the data, the settings or the program comes back."""
    return error.partition(":")[0] in _PASSING or "allocate memory" in error
