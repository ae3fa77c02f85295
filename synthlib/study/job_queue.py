"""What a queue, such as Slurm's, knows of this project's trainings: which are waiting or running, and where they log.

    outputs/queue/<name>/
        <job>.json       one submission: for each job of the queue, the keys of its trainings
        <job>_0_log.out  what the job printed
        <job>_0_log.err  its warnings and errors
        <job>_*.pkl      submitit's own files: what to call, and what came of it

A submission is written down when the queue has accepted it. Whether its jobs still wait or run is asked of ``squeue``.
The accounting of a site is not asked: many have none, and what is done stands in the run store.
"""

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synthlib.machine.files import make_parents, read_json, write_json
from synthlib.machine.owners import is_running
from synthlib.paths import outputs

ENGINES = ("slurm", "local")  # of submitit
_PATIENCE = 60  # seconds, for an answer of the queue
_PASSING = ("", "None", "Priority", "Resources", "Dependency", "BeginTime", "JobArrayTaskLimit")  # of Slurm's reasons


@dataclass(frozen=True)
class QueuedJob:
    """One job of a queue, as it was submitted."""

    engine: str
    number: str
    """As the queue names it: ``812`` or ``812_3``."""
    keys: tuple[str, ...]
    folder: Path
    reason: str = ""
    """Why Slurm has not started it, in its own word; "None" where it runs."""

    @property
    def log(self) -> Path:
        """The file with its warnings and errors."""
        return self.folder / f"{self.number}_0_log.err"

    def last_words(self) -> str:
        """The last line of its log; "" when there is none."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


class QueueSilent(RuntimeError):
    """The queue does not answer at the moment."""


def folder_of(name: str) -> Path:
    """Where the submissions called ``name`` are written down."""
    return outputs() / "queue" / name


def note_submission(engine: str, name: str, jobs: Mapping[str, Sequence[str]]) -> None:
    """Write down that ``jobs``, {number in the queue: keys of its trainings}, were submitted."""
    record = {"engine": engine, "jobs": {number: list(keys) for number, keys in jobs.items()}}
    path = folder_of(name) / f"{next(iter(jobs))}.json"
    make_parents(path)
    write_json(path, record)


def submitted() -> Iterator[QueuedJob]:
    """All jobs that were ever submitted, the oldest first."""
    records = sorted((outputs() / "queue").glob("*/*.json"), key=lambda path: path.stat().st_mtime)
    for path in records:
        record = read_json(path)
        for number, keys in record["jobs"].items():
            yield QueuedJob(record["engine"], number, tuple(keys), path.parent)


def queued() -> dict[str, QueuedJob]:
    """{key of a training: the job that waits or runs for it}. Raises QueueSilent."""
    jobs = list(submitted())
    waiting = _numbers_in_squeue() if any(job.engine == "slurm" for job in jobs) else {}
    alive = [job for job in jobs if (job.number in waiting if job.engine == "slurm" else _is_at_work(job.number))]
    known = [replace(job, reason=waiting.get(job.number, "")) for job in alive]
    return {key: job for job in known for key in job.keys}


def why_not_started(jobs: Iterable[QueuedJob]) -> dict[str, str]:
    """{reason of Slurm: a line on the jobs that it keeps waiting}, without the reasons that pass by themselves."""
    kept: dict[str, list[str]] = {}
    for job in jobs:
        if job.reason not in _PASSING:
            kept.setdefault(job.reason, []).append(job.number)
    return {reason: _kept_waiting(reason, list(dict.fromkeys(numbers))) for reason, numbers in kept.items()}


def _kept_waiting(reason: str, numbers: list[str]) -> str:
    todo = f"; `scontrol release {numbers[0]}` lets it start" if "held" in reason.lower() else ""
    others = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
    return f"Slurm keeps job {numbers[0]}{others} waiting: {reason}{todo}"


def last_job_of() -> dict[str, QueuedJob]:
    """{key of a training: the job that was submitted last for it}."""
    return {key: job for job in submitted() for key in job.keys}


def _is_at_work(number: str) -> bool:
    """Whether the process that submitit started for a job on this machine is there, and no other of its number."""
    try:
        return b"submitit" in Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc").exists() and is_running({"pid": int(number)})


def _numbers_in_squeue() -> dict[str, str]:
    """{number of a job of this user: why it waits, "None" where it runs}, arrays job by job. Raises QueueSilent."""
    if shutil.which("squeue") is None:
        raise QueueSilent("there is no squeue on this machine: ask from the login node")
    user = os.environ.get("USER") or getpass.getuser()
    command = ["squeue", "--noheader", "--array", f"--user={user}", "--format=%i %r"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise QueueSilent(f"squeue has not answered for {_PATIENCE} s") from error
    if done.returncode:
        raise QueueSilent(f"squeue does not answer: {done.stderr.strip()}")
    lines = [line.strip().partition(" ") for line in done.stdout.splitlines()]
    return {number: reason.strip() for number, _, reason in lines if number}
