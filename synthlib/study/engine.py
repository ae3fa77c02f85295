"""The local engine: one process per core, each with one torch thread, all working through one list of jobs.

There is no scheduler. Each worker takes the first job in the list that is not done, not locked, and whose required jobs
are done. So workers on other machines that share the disk can join with the same command.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing import get_context, parent_process
from typing import Any

from tqdm.auto import tqdm

from synthlib.errors import Failed
from synthlib.machine.locks import ClaimLost
from synthlib.machine.processes import prepare_process
from synthlib.runs import loop
from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.algorithms import describe, training
from synthlib.study.waiting import Waiting

_WAIT_SECONDS = 0.5
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
    "_ArrayMemoryError",  # NumPy's
}


class JobsFailed(Failed):
    """Some trainings did not finish. The message lists them with their error and the file of the traceback."""


def run_jobs(
    jobs: Sequence[Job],
    store: Store,
    workers: int,
    seconds: dict[str, float] | None = None,
    shard: tuple[int, int] = (0, 1),
    stacked: bool = False,
) -> None:
    """Train every job that is not done, with a progress bar; return when all are done.

    In ``jobs``, each job comes after the jobs that it requires. ``seconds`` maps a job's key to its expected duration,
    which is its weight in the progress bar. ``shard`` (i, n) trains part i (from 0) of n parts of the fine-tuning runs,
    and all pre-trainings: for clusters without a queue. ``stacked`` trains fine-tuning runs that differ only in their
    seed as one computation: for a GPU.

    Raises JobsFailed when a training failed, after the others have finished, and KeyboardInterrupt at Ctrl-C. In both
    cases every training keeps its last checkpoint.
    """
    index, count = shard
    ours = [job for place, job in enumerate(jobs) if training(job).is_pretraining or place % count == index]
    wanted = [job for job in ours if not store.is_done(job)]
    if not wanted:
        return
    seconds = seconds or {}
    weights = {job.key: max(seconds.get(job.key, 1.0), 1e-3) for job in wanted}
    done_before = {job.key: store.fraction_done(job) * weights[job.key] for job in wanted}
    context = get_context("spawn")
    reports = context.SimpleQueue()
    processes = [
        context.Process(target=_work, args=(wanted, store, reports, time.time(), stacked), daemon=True)
        for _ in range(min(workers, len(wanted)))
    ]
    with tqdm(
        total=sum(weights.values()),
        initial=sum(done_before.values()),
        bar_format="{percentage:3.0f} %|{bar}| {elapsed} elapsed, about {remaining} to go{postfix}",
        mininterval=0.5 if sys.stderr.isatty() else 30,  # a log file wants few lines
    ) as bar:
        reached = dict(done_before)
        for process in processes:
            process.start()
        waiting = Waiting(wanted, store, {process.pid for process in processes if process.pid is not None})
        try:
            while any(process.is_alive() for process in processes) or not reports.empty():
                _show_reports(reports, bar, reached, weights, waiting)
                time.sleep(0.1)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
    exits = [process.exitcode or 0 for process in processes]  # minus the signal that killed a process
    _raise_if_unfinished(wanted, store, [code for code in exits if code < 0 and code != -signal.SIGTERM])


def _show_reports(
    reports: Any, bar: Any, reached: dict[str, float], weights: dict[str, float], waiting: Waiting
) -> None:
    while not reports.empty():
        key, fraction = reports.get()
        waiting.progress()
        bar.update(min(max(fraction * weights[key] - reached[key], 0), bar.total - bar.n))
        reached[key] = max(fraction * weights[key], reached[key])
    finished = sum(reached[key] >= weights[key] * 0.999 for key in reached)
    if line := waiting.look():
        bar.write(line, file=sys.stderr)
    bar.set_postfix_str(f"{finished} of {len(reached)} trainings{waiting.short}", refresh=False)
    bar.update(0)


def _raise_if_unfinished(jobs: Sequence[Job], store: Store, killed: Sequence[int]) -> None:
    """Raise JobsFailed unless all ``jobs`` are done; ``killed`` are the exit codes of the workers that were killed."""
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
    kept = "finished work is kept, and the rest goes on from its last checkpoint"
    if lasting:
        lines.append(f"{lasting} would fail again in the same way: mend data, settings or code first; {kept}.")
    else:
        lines.append(f"Run the same command again: {kept}.")
    raise JobsFailed("\n".join(lines))


def _may_pass(error: str) -> bool:
    """Whether another try can be free of an error. One of the data, the settings or the program comes back."""
    return error.partition(":")[0] in _PASSING or "allocate memory" in error


def _work(jobs: Sequence[Job], store: Store, reports: Any, started: float, stacked: bool) -> None:
    """A worker: train one job of ``jobs`` after the other, until none is left that this process can train.

    A job that failed before ``started`` (seconds since the epoch) is tried again. A job that failed later is not tried
    again, and the jobs that require it are left out.
    """
    prepare_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at Ctrl-C the parent process terminates this one
    _die_with_parent()
    tried: set[str] = set()
    while True:
        left = [job for job in jobs if job.key not in tried and not store.is_done(job)]
        left = [job for job in left if not any(_is_lost(one, started, tried, store) for one in job.requires)]
        if not left:
            return
        ready = [job for job in left if all(map(store.is_done, job.requires))]
        stacks = _stacks(ready, store) if stacked else [[job] for job in ready]
        if not any(_train(stack, store, reports, tried) for stack in stacks):
            time.sleep(_WAIT_SECONDS)


def _stacks(jobs: Sequence[Job], store: Store) -> list[list[Job]]:
    """The jobs in groups that can be one computation: equal but for the seed, of equal length, and equally far."""
    stacks: dict[str, list[Job]] = {}
    for job in jobs:
        alike = {name: value for name, value in job.config.items() if name != "seed" or training(job).is_pretraining}
        key = json.dumps([job.kind, alike, job.updates, store.updates_done(job)], sort_keys=True)
        stacks.setdefault(key, []).append(job)
    return list(stacks.values())


def _train(jobs: Sequence[Job], store: Store, reports: Any, tried: set[str]) -> bool:
    """Train the jobs that no other process has locked, as one computation. False when all of them are locked."""
    sessions = list(filter(None, map(store.open, jobs)))
    left = [session for session in sessions if not store.is_done(session.job)]
    for session in sessions:
        if session not in left:  # another worker finished it before this worker had the lock
            session.release()
    if not left:
        return bool(sessions)
    ours = [session.job for session in left]
    tried.update(job.key for job in ours)

    def report(updates: int) -> None:
        for job in ours:
            reports.put((job.key, updates / job.updates if job.updates else 1.0))

    try:
        with contextlib.ExitStack() as failures:
            for session in left:
                failures.enter_context(session.recording_failure())
            loop.train(training(ours[0]), left, store, report)
        report(ours[0].updates)
    except ClaimLost as lost:
        print(lost)
    except Exception:  # it is in FAILED.json; the parent process lists it, and the other jobs continue
        if not any(map(store.failure, ours)):  # a full disk: FAILED.json could not be written
            traceback.print_exc()
    return True


def _is_lost(job: Job, started: float, tried: set[str], store: Store) -> bool:
    """Whether a required ``job`` has failed since ``started``.

    FAILED.json says so. On a full disk that file may be missing; then a job that this process tried counts as failed
    unless it is done or running.
    """
    failure = store.failure(job)
    if failure is not None and failure["time"] >= started:
        return True
    return job.key in tried and store.status(job) not in ("done", "running")


def _die_with_parent() -> None:
    """End this process when its parent is killed, so that its locks can be taken over."""
    parent = parent_process()
    assert parent is not None, "a worker is started by run_jobs"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
