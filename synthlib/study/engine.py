"""The local engine: a process per core, one torch thread each, all working through one list of jobs.

There is no scheduler. Every worker walks the list and takes the first job that is not done, not claimed and whose
requirements are done; so workers on other machines that share the disk may join with the same command.
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

_WAIT_SECONDS = 0.5


class JobsFailed(Failed):
    """Some trainings did not finish; the message lists them with their last line and where the traceback lies."""


def run_jobs(
    jobs: Sequence[Job],
    store: Store,
    workers: int,
    seconds: dict[str, float] | None = None,
    shard: tuple[int, int] = (0, 1),
    stacked: bool = False,
) -> None:
    """Train every job that is not done, with a progress bar; returns when all are done.

    ``jobs`` come requirements first. ``seconds`` maps a job's key to its expected duration and weighs the bar.
    ``shard`` (i, n) trains the i-th of n parts of the fine-tunings, for clusters without a queue. ``stacked`` trains
    fine-tunings that differ in their seed alone as one computation: for a GPU.
    Raises JobsFailed when a training failed (the others are finished first) and KeyboardInterrupt at Ctrl-C;
    either way every training keeps its last checkpoint.
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
        try:
            while any(process.is_alive() for process in processes) or not reports.empty():
                _show_reports(reports, bar, reached, weights)
                time.sleep(0.1)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
    killed = [process for process in processes if process.exitcode < 0 and process.exitcode != -signal.SIGTERM]
    _raise_if_unfinished(wanted, store, killed)


def _show_reports(reports: Any, bar: Any, reached: dict[str, float], weights: dict[str, float]) -> None:
    while not reports.empty():
        key, fraction = reports.get()
        bar.update(min(max(fraction * weights[key] - reached[key], 0), bar.total - bar.n))
        reached[key] = max(fraction * weights[key], reached[key])
    finished = sum(reached[key] >= weights[key] * 0.999 for key in reached)
    bar.set_postfix_str(f"{finished} of {len(reached)} trainings", refresh=False)
    bar.update(0)


def _raise_if_unfinished(jobs: Sequence[Job], store: Store, killed: Sequence[Any]) -> None:
    unfinished = [job for job in jobs if not store.is_done(job)]
    if not unfinished:
        return
    lines = [f"{len(unfinished)} of {len(jobs)} trainings did not finish:"]
    for job in unfinished:
        failure = store.failure(job)
        if failure:
            lines.append(f"  {describe(job)}: {failure['error']}\n    traceback: {store.folder(job) / 'FAILED.json'}")
    if killed:
        lines.append(f"  {len(killed)} worker(s) were killed (signal {-killed[0].exitcode}); out of memory?")
    lines.append("Run the same command again: finished work is kept and the rest goes on from its last checkpoint.")
    raise JobsFailed("\n".join(lines))


def _work(jobs: Sequence[Job], store: Store, reports: Any, started: float, stacked: bool) -> None:
    """A worker: train what can be trained until nothing of ``jobs`` is left that this process could do.

    A job that failed before ``started`` is tried again. A job that failed later is not, nor are the jobs that need it.
    """
    prepare_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends us
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
    """The jobs in groups that can be one computation: alike but for the seed, equally long and equally far."""
    stacks: dict[str, list[Job]] = {}
    for job in jobs:
        alike = {name: value for name, value in job.config.items() if name != "seed" or training(job).is_pretraining}
        key = json.dumps([job.kind, alike, job.updates, store.updates_done(job)], sort_keys=True)
        stacks.setdefault(key, []).append(job)
    return list(stacks.values())


def _train(jobs: Sequence[Job], store: Store, reports: Any, tried: set[str]) -> bool:
    """Train those of ``jobs`` that are free, as one computation if several are. True when one was ours to try."""
    sessions = list(filter(None, map(store.open, jobs)))
    left = [session for session in sessions if not store.is_done(session.job)]
    for session in sessions:
        if session not in left:  # finished by another worker between our look and our claim
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
    except Exception:  # recorded in FAILED.json; the parent lists it, the other jobs go on
        if not any(map(store.failure, ours)):  # which the disk had no room for
            traceback.print_exc()
    return True


def _is_lost(job: Job, started: float, tried: set[str], store: Store) -> bool:
    """Whether a required ``job`` has failed: by its record, or, with a disk too full for one, in our own hands."""
    failure = store.failure(job)
    if failure is not None and failure["time"] >= started:
        return True
    return job.key in tried and store.status(job) not in ("done", "running")


def _die_with_parent() -> None:
    """End this process when its parent is killed, so that its claims become free."""
    parent = parent_process()

    def watch():
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
