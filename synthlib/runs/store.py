"""The run store: every training is kept once, under the hash of its full configuration.

    outputs/store/<kind>/<key>/
        config.json        everything that decides the numbers
        environment.json   everything else: versions, processor, device, host and date; also of each machine on which
                           the training was continued
        evaluations.csv    one row per evaluation
        losses.csv         one row per logging interval
        checkpoint.pt      weights, optimiser moments, generator states, and the rows above: enough to resume
        weights_<n>.pt     weights after n updates, kept for the trainings that start from them
        progress.json      updates done so far, and the time that they took (not in trainings from before it was kept)
        FAILED.json        the traceback, if the last attempt raised an exception
        claim.json         the lock: which process trains it now

The length of a training is not part of its identity. A job for 100,000 updates is done when its folder has reached
100,000 updates. A longer job continues from there in the same folder, and both jobs read the same rows.

Trainings that were published with the repository have the same layout under ``outputs/records``, without checkpoint.
They count as done and are read like any other training, but a longer job starts from the beginning.
"""

import contextlib
import socket
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from synthlib.machine.description import describe_environment
from synthlib.machine.files import PARTIAL, make_folder, read_json, write_atomically, write_json, write_text
from synthlib.machine.locks import Claim, ClaimLost, Holder, holder, is_claimed, try_claim
from synthlib.paths import RECORDS
from synthlib.runs.job import Job
from synthlib.runs.stopwatch import Spent, Stopwatch, spent_from


class Store:
    """The trainings under the folder ``root``, created on first write, and the published ones under ``records``."""

    def __init__(self, root: str | Path, records: str | Path = RECORDS) -> None:
        self.root = Path(root)
        self.records = Path(records)

    def folder(self, job: Job) -> Path:
        """The folder in which the job is trained, whether it exists yet or not."""
        return self.root / job.kind / job.key

    def record(self, job: Job) -> Path:
        """The folder of the job's published record, whether it exists or not."""
        return self.records / job.kind / job.key

    def updates_done(self, job: Job) -> int:
        """Updates that are saved in the job's own folder; 0 when it was never started. Records do not count."""
        return updates_in(self.folder(job)) or 0

    def fraction_done(self, job: Job) -> float:
        """Share of the job's updates that are saved, 0 to 1."""
        return min(self.updates_done(job) / job.updates, 1.0) if job.updates else float(self.is_done(job))

    def is_done(self, job: Job) -> bool:
        """Whether all updates and kept weights of the job are there, in its own folder or in its record."""
        return self._finished(job) is not None

    def is_published(self, job: Job) -> bool:
        """Whether all updates and kept weights of the job are in its record."""
        return _is_done_in(self.record(job), job)

    def _finished(self, job: Job) -> Path | None:
        """The folder in which the job is done: its own or else its record's. None when the job is not done."""
        folders = (self.folder(job), self.record(job))
        return next((folder for folder in folders if _is_done_in(folder, job)), None)

    def weights(self, job: Job) -> dict[str, Any]:
        """The weights that a done job kept at its end: {name: tensor}, on the processor."""
        folder = self._finished(job)
        assert folder is not None, "only a done job has weights"
        return _load(folder / weights_name(job.updates))

    def checkpoint(self, job: Job) -> dict[str, Any]:
        """The last saved state in the job's own folder; a longer job may have trained it beyond this job's length."""
        return _load(self.folder(job) / "checkpoint.pt")

    def failure(self, job: Job) -> dict[str, Any] | None:
        """What is known of the last, failed attempt ({"error", "traceback", "time", "host"}), or None."""
        path = self.folder(job) / "FAILED.json"
        return read_json(path) if path.exists() and not self.is_done(job) else None

    def status(self, job: Job) -> str:
        """One of done, running, failed, started, missing."""
        if self.is_done(job):
            return "done"
        folder = self.folder(job)
        if not folder.exists():
            return "missing"
        if is_claimed(folder):
            return "running"
        if self.failure(job):
            return "failed"
        return "started" if self.updates_done(job) else "missing"

    def holder(self, job: Job) -> Holder | None:
        """The living process that trains the job now, or None."""
        return holder(self.folder(job))

    def evaluations(self, job: Job) -> pd.DataFrame:
        """The evaluations up to the job's length, with columns updates, score, return_mean, ...; may be empty."""
        return self._rows(job, "evaluations.csv")

    def losses(self, job: Job) -> pd.DataFrame:
        """The logged losses up to the job's length, with columns updates and one per loss; may be empty."""
        return self._rows(job, "losses.csv")

    def spent(self, job: Job) -> tuple[int, Spent] | None:
        """(updates in the job's folder, the time that all of them took), or None where no time was recorded.

        A longer job may have trained the folder beyond this job's length.
        """
        return spent_in(self._finished(job) or self.folder(job))

    def _rows(self, job: Job, name: str) -> pd.DataFrame:
        path = (self._finished(job) or self.folder(job)) / name
        if not path.exists() or path.stat().st_size < 2:
            return pd.DataFrame({"updates": []})
        rows = pd.read_csv(path)
        return rows[rows["updates"] <= job.updates]

    def open(self, job: Job) -> "Session | None":
        """A :class:`Session` that may train this job, or None while another process holds the lock."""
        folder = self.folder(job)
        if not folder.exists():
            make_folder(folder, lambda temporary: _describe(temporary, job))
        claim = try_claim(folder)
        if claim is None:
            return None
        for partial in folder.glob(PARTIAL):  # a file of a process that was killed while it wrote
            partial.unlink(missing_ok=True)
        return Session(folder, job, claim)


def _describe(folder: Path, job: Job) -> None:
    """Write what is known of a job before it is trained."""
    write_json(folder / "config.json", {"kind": job.kind, **job.config})
    write_json(folder / "environment.json", describe_environment())


class Session:
    """A training whose lock this process holds: the only way to write into its folder."""

    def __init__(self, folder: Path, job: Job, claim: Claim) -> None:
        self.folder = folder
        self.job = job
        self.stopwatch = Stopwatch()
        self._claim = claim
        self._before: Spent | None = Spent()  # the time of the updates in the resumed state; None: not recorded

    def resume(self) -> dict[str, Any] | None:
        """The last saved state, or None at the start. An unreadable checkpoint is renamed, and a message is printed."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return None
        try:
            state = _load(path)
        except (OSError, MemoryError):  # a fault of the machine: the file may be readable the next time
            raise
        except Exception as error:
            aside = path.with_name("checkpoint.unreadable.pt")
            path.rename(aside)
            print(f"{path} cannot be read ({error}); kept as {aside.name}, training starts again from 0")
            return None
        self._before = spent_from(state.pop("time", None))
        return state

    def save(
        self,
        state: dict[str, Any],
        updates: int,
        evaluations: Sequence[Mapping[str, Any]] = (),
        losses: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Save ``state`` (tensors and plain values) after ``updates`` updates, all rows so far, and the time so far.

        Raises ClaimLost when another process has taken the lock over.
        """
        self._claim.check()
        spent = None if self._before is None else (self._before + self.stopwatch.elapsed()).to_json()
        kept: dict[str, Any] = {} if spent is None else {"time": spent}
        write_atomically(self.folder / "checkpoint.pt", lambda path: torch.save(state | kept, path))
        for name, rows in (("evaluations.csv", evaluations), ("losses.csv", losses)):
            if rows:
                write_text(self.folder / name, pd.DataFrame(rows).to_csv(index=False))
        write_json(self.folder / "progress.json", {"updates": updates} | kept)

    def has_weights(self, updates: int) -> bool:
        """Whether the weights after ``updates`` updates are kept already."""
        return (self.folder / weights_name(updates)).exists()

    def save_weights(self, updates: int, weights: dict[str, Any]) -> None:
        """Keep the ``weights`` after ``updates`` updates for the jobs that start from them. May raise ClaimLost."""
        self._claim.check()
        write_atomically(self.folder / weights_name(updates), lambda path: torch.save(weights, path))

    def release(self) -> None:
        """Release the lock, so that other processes can train the job."""
        self._claim.release()

    @contextlib.contextmanager
    def recording_failure(self) -> "Iterator[Session]":
        """A context: write FAILED.json when the body raises, remove an older one otherwise. Always release the lock.

        Before the body runs, this machine is added to environment.json.
        """
        try:
            _note_where(self.folder)
            yield self
            (self.folder / "FAILED.json").unlink(missing_ok=True)
        except ClaimLost:  # the folder belongs to another process now
            raise
        except Exception as error:
            record = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
            with contextlib.suppress(OSError):  # a full disk must not hide the error itself
                write_json(self.folder / "FAILED.json", record | {"time": time.time(), "host": socket.gethostname()})
            raise
        finally:
            self.release()


def _note_where(folder: Path) -> None:
    """Add this machine and its versions to the folder's environment.json, unless they are there already."""
    first = read_json(folder / "environment.json")
    together = with_place(first, describe_environment())
    if together != first:
        write_json(folder / "environment.json", together)


def with_place(first: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The environment ``first`` with the places of ``other`` added to its list "continued".

    A place is one machine with its versions. ``first`` and ``other`` may have such lists themselves. Two places are the
    same when they differ only in their start time.
    """
    places = _places(first)
    for place in _places(other):
        if _facts(place) not in map(_facts, places):
            places.append(place)
    return places[0] | ({"continued": places[1:]} if places[1:] else {})


def _places(environment: dict[str, Any]) -> list[dict[str, Any]]:
    start = {name: fact for name, fact in environment.items() if name != "continued"}
    return [start, *environment.get("continued", [])]


def _facts(place: dict[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in place.items() if name != "started"}


def updates_in(folder: Path) -> int | None:
    """Updates that are saved in ``folder``, or None when nothing is saved yet."""
    path = folder / "progress.json"
    return read_json(path)["updates"] if path.exists() else None


def spent_in(folder: Path) -> tuple[int, Spent] | None:
    """(updates that are saved in ``folder``, the time that they took), or None where no time was recorded."""
    path = folder / "progress.json"
    progress = read_json(path) if path.exists() else {}
    spent = spent_from(progress.get("time"))
    return None if spent is None else (progress["updates"], spent)


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _is_done_in(folder: Path, job: Job) -> bool:
    updates = updates_in(folder)
    reached = updates is not None and updates >= job.updates
    return reached and all((folder / weights_name(kept)).exists() for kept in job.keep)


def weights_name(updates: int | str) -> str:
    """The name of the file with the weights after ``updates`` updates; "*" gives the pattern for all such files."""
    return f"weights_{updates}.pt"
