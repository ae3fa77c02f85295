"""Putting trainings into a queue through submitit, and watching the run store until they are done.

    submit(request, QueueOptions("slurm", partition="cpu", hours=4))
    watch(request)

Pre-trainings come first, and runs that need none beside them. The other runs wait until the jobs of the pre-trainings
have ended in whatever way (``afterany``). One that is missing even so is made by the first run that needs it.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from tqdm.auto import tqdm

from synthlib.errors import Failed
from synthlib.machine.processors import usable_processors
from synthlib.offline.download import prepare
from synthlib.offline.identity import check_data
from synthlib.paths import data_cache, store_root
from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.algorithms import describe, training
from synthlib.study.cluster import QueueOptions, Request, Train
from synthlib.study.engine import raise_if_unfinished
from synthlib.study.job_queue import QueueSilent, folder_of, last_job_of, note_submission, queued, why_not_started
from synthlib.study.work import stacks_of

_SIGNAL_SECONDS = 120  # before the time limit; Slurm may be a minute early, and an evaluation may have to end
_MOST_TIMEOUTS = 1_000_000  # submitit's own bound on going back into the queue; that of `Train` counts progress
_LOOK_SECONDS = 5.0  # between two looks at all trainings; more where these would be more than
_LOOKS_PER_SECOND = 20  # at a shared disk
_ASK_SECONDS = 30.0  # between two questions to the queue
_T = TypeVar("_T")


def submit(request: Request, options: QueueOptions) -> int:
    """Put what is neither done nor queued into the queue; returns the number of its jobs. Prints what it does.

    Data are fetched and unpacked here before, since nodes often have no network. Raises Failed in words when the queue
    refuses jobs; those that it has accepted stay.
    """
    plans, store, known = request.plans(), Store(store_root()), _queued(options)
    jobs = request.jobs()
    missing = [job for job in jobs if not store.is_done(job)]
    wanted = [job for job in missing if job.key not in known]
    print(
        f"{request.name}: {len(jobs)} trainings; {len(jobs) - len(missing)} are done, "
        f"{len(missing) - len(wanted)} are in the queue already, {len(wanted)} are submitted now"
    )
    if not wanted:
        return 0
    datasets = {cell.dataset for plan in plans for cell in plan.cells if not store.is_done(cell.job)}
    prepare(sorted(datasets), request.data, data_cache())
    check_data(datasets, request.data)
    if options.gpus and os.environ.get("SYNTHLIB_DEVICE", "cpu") == "cpu":
        os.environ["SYNTHLIB_DEVICE"] = "cuda"  # for the nodes, which inherit it; this machine may have no GPU
    queue = _Queue(request, options)
    if options.engine == "slurm":
        pretrainings = [job for job in wanted if training(job).is_pretraining]
        runs = [job for job in wanted if not training(job).is_pretraining]
        after = [known[job.key].number for job in missing if job.key in known and training(job).is_pretraining]
        after += queue.put([[job] for job in pretrainings])
        for bound in (False, True):
            ready = [job for job in runs if all(map(store.is_done, job.requires)) != bound]
            alike = stacks_of(ready, store) if options.stacked else [ready]
            queue.put([group for stack in alike for group in _parts(stack, options.per_job)], after if bound else ())
    else:  # no queue at all: every job of it starts at once
        count = options.parallel or max(usable_processors() // options.workers, 1)
        queue.put([group for index in range(count) if (group := wanted[index::count])])
    print(f"{queue.count} jobs of the queue; logs: {folder_of(request.name)}")
    return queue.count


def watch(request: Request, look: float = _LOOK_SECONDS, ask: float = _ASK_SECONDS) -> None:
    """Return when all trainings are done, with a progress bar.

    The store is looked at every ``look`` seconds or less often, the queue is asked every ``ask`` seconds. Raises
    JobsFailed when neither has more of them to come. Where Slurm does not start a job by itself, its reason is
    printed. Ctrl-C ends the watching; the jobs stay in the queue.
    """
    store = Store(store_root())
    jobs = request.jobs()
    left, gone, next_question = [job for job in jobs if not store.is_done(job)], 0, 0.0
    told: set[str] = set()
    form = "{percentage:3.0f} %|{bar}| {elapsed} watched{postfix}"
    with tqdm(total=len(jobs), bar_format=form, mininterval=0.5 if sys.stderr.isatty() else 30) as bar:
        while left:
            began = time.monotonic()
            left = [job for job in left if not store.is_done(job)]
            reached = len(jobs) - len(left) + sum(map(store.fraction_done, left))
            bar.update(max(reached - bar.n, 0))
            bar.set_postfix_str(f"{len(jobs) - len(left)} of {len(jobs)} trainings", refresh=False)
            if began >= next_question:
                next_question = began + ask
                try:
                    waiting = queued()
                except QueueSilent as silent:
                    bar.write(f"{silent}; the store is watched on", file=sys.stderr)
                else:
                    gone = 0 if any(job.key in waiting for job in left) else gone + 1
                    kept = why_not_started(waiting[job.key] for job in left if job.key in waiting)
                    for reason in kept.keys() - told:  # each reason once
                        bar.write(kept[reason], file=sys.stderr)
                    told |= kept.keys()
            if gone > 1:  # twice in a row: a shared disk may show for some seconds what was
                break
            if left:
                time.sleep(max(look, len(left) / _LOOKS_PER_SECOND))
    raise_if_unfinished(jobs, store, remarks=list(silent_ends(left, store)))


def silent_ends(jobs: Iterable[Job], store: Store) -> Iterator[str]:
    """A line on each of the ``jobs`` that its job of the queue has neither finished nor recorded as failed."""
    last = last_job_of()
    for job in jobs:
        if job.key in last and store.status(job) in ("started", "missing"):
            ended = last[job.key]
            words = f": {last_words}" if (last_words := ended.last_words()) else ""
            yield f"  {describe(job)}: job {ended.number} ended without finishing it{words}\n    log: {ended.log}"


class _Queue:
    """Puts groups of trainings into the queue, in arrays that are not larger than it takes."""

    def __init__(self, request: Request, options: QueueOptions) -> None:
        self._request, self._options = request, options
        self.count = 0
        self._last: list[str] = []

    def put(self, groups: Sequence[Sequence[Job]], after: Sequence[str] = ()) -> list[str]:
        """Submit one job per group, to run when the jobs ``after`` have ended; returns their numbers."""
        numbers: list[str] = []
        for part in _parts(groups, _largest_array() if self._options.engine == "slurm" else len(groups) or 1):
            behind = self._last if self._options.parallel else []  # so many in all: one array after the other
            self._last = self._submit(part, [*after, *behind])
            numbers += self._last
        self.count += len(numbers)
        return numbers

    def _submit(self, groups: Sequence[Sequence[Job]], after: Sequence[str]) -> list[str]:
        from submitit import AutoExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        options = self._options
        keys = [tuple(job.key for job in group) for group in groups]
        tasks = [Train(self._request, some, options.workers, options.stacked) for some in keys]
        try:
            executor = AutoExecutor(
                folder_of(self._request.name), cluster=options.engine, slurm_max_num_timeout=_MOST_TIMEOUTS
            )
            executor.update_parameters(**self._parameters(after, len(tasks)))
            with executor.batch():
                made = [executor.submit(task) for task in tasks]
        except (FailedJobError, FailedSubmissionError, RuntimeError, OSError) as error:
            raise Failed(
                f"the queue took {self.count} jobs and refused the next {len(tasks)}: {error}. The same command "
                "submits what is not queued"
            ) from error
        numbers = [job.job_id for job in made]
        note_submission(options.engine, self._request.name, dict(zip(numbers, keys, strict=True)))
        return numbers

    def _parameters(self, after: Sequence[str], jobs: int) -> dict[str, Any]:
        """What submitit is told, None for what is left to the site. Signal and going back need srun, its default."""
        options = self._options
        bases = dict.fromkeys(number.partition("_")[0] for number in after)
        additional: dict[str, Any] = {"requeue": True}
        if bases:
            additional["dependency"] = f"afterany:{':'.join(bases)}"
        return {
            "name": self._request.name,
            "timeout_min": options.minutes,
            "cpus_per_task": options.cpus or options.workers,
            "gpus_per_node": options.gpus or None,
            "mem_gb": options.memory or None,
            "slurm_partition": options.partition or None,
            "slurm_account": options.account or None,
            "slurm_array_parallelism": options.parallel or jobs,
            "slurm_signal_delay_s": min(_SIGNAL_SECONDS, 30 * options.minutes),
            "slurm_additional_parameters": additional,
        }


def _queued(options: QueueOptions) -> dict[str, Any]:
    """What is in the queue. Raises Failed where it does not answer: then nothing may be submitted twice."""
    try:
        return queued()
    except QueueSilent as silent:
        raise Failed(f"ENGINE={options.engine}: {silent}; nothing was submitted") from silent


def _largest_array() -> int:
    """How many jobs Slurm takes as one array: its MaxArraySize."""
    try:
        told = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(f"Slurm does not answer here ({error}); ENGINE=slurm is for a login node") from error
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", told.stdout, re.MULTILINE)
    return max(int(found[1]) if found else 1, 1)


def _parts(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
