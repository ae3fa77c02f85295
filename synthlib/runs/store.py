"""The run store: every training is kept once, under the hash of its full configuration.

    outputs/store/<kind>/<key>/
        config.json        everything that decides the numbers
        environment.json   everything else: versions, processor, device, host and date; also of each machine on which
                           the training was continued
        evaluations.csv    one row per evaluation
        losses.csv         one row per logging interval
        checkpoint.pt      weights, optimiser moments, generator states, and the rows above: enough to resume
        weights_<n>.pt     weights after n updates, kept for the trainings that start from them
        progress.json      updates done so far, the time that they took, and the checksums of rows and weights
                           (:mod:`synthlib.runs.progress`)
        FAILED.json        the traceback, if the last attempt raised an exception
        claim.json         the lock: which process trains it now

The length of a training is not part of its identity. A job for 100,000 updates is done when its folder has reached
100,000 updates. A longer job continues from there in the same folder, and both jobs read the same rows.

What says "done" is whole: rows and kept weights have the checksums in progress.json. A file that is damaged does not
count. The process that trains there next says so, sets the file aside as ``<name>.damaged`` and makes it again.

Trainings that were published with the repository have the same layout under ``outputs/records``, without checkpoint.
They count as done and are read like any other training, but a longer job starts from the beginning.
"""

import contextlib
import errno
import socket
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from synthlib.errors import Failed
from synthlib.machine.description import describe_environment
from synthlib.machine.files import (
    PARTIAL,
    make_folder,
    remove,
    set_aside,
    write_atomically,
    write_json,
    write_text,
)
from synthlib.machine.locks import Claim, ClaimLost, Holder, holder, is_claimed, try_claim
from synthlib.paths import RECORDS
from synthlib.runs.job import Job
from synthlib.runs.progress import (
    NAME as PROGRESS,
)
from synthlib.runs.progress import (
    ROWS,
    as_csv,
    facts_of_file,
    facts_of_text,
    is_whole,
    misfits,
    read_or_say,
    read_progress,
    rows_fit,
    say_damaged,
    weights_fit,
    weights_name,
)
from synthlib.runs.stopwatch import Spent, Stopwatch, spent_from

CHECKPOINT = "checkpoint.pt"


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
        """The last saved state in the job's own folder; a longer job may have trained it beyond this job's length.

        Raises Failed when it is damaged.
        """
        path = self.folder(job) / CHECKPOINT
        if not is_whole(path):
            raise Failed(f"{path} is damaged; train its table again, which makes it again")
        return _load(path)

    def failure(self, job: Job) -> dict[str, Any] | None:
        """What is known of the last, failed attempt ({"error", "traceback", "time", "host"}), or None."""
        record = read_or_say(self.folder(job) / "FAILED.json")
        is_record = isinstance(record, dict) and record.keys() >= {"error", "time"}
        return record if is_record and not self.is_done(job) else None

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
        folder = self._finished(job) or self.folder(job)
        path, progress = folder / name, read_progress(folder)
        if not path.exists() or progress is None:
            return pd.DataFrame({"updates": []})
        if not rows_fit(folder, name, progress):
            say_damaged(path)
            return pd.DataFrame({"updates": []})
        rows = pd.read_csv(path)
        return rows[rows["updates"] <= job.updates]

    def open(self, job: Job) -> "Session | None":
        """A :class:`Session` that may train this job, or None while another process holds the lock.

        What a killed process left half written there is removed. Raises OSError where the folder is a link.
        """
        folder = self.folder(job)
        for part in (folder.parent, folder):
            if part.is_symlink():
                raise OSError(
                    errno.ELOOP, f"{part} is a link, and nothing is written through links; put the folder itself there"
                )
        if not folder.exists():
            make_folder(folder, lambda temporary: _describe(temporary, job))
        claim = try_claim(folder)
        if claim is None:
            return None
        for partial in folder.glob(PARTIAL):
            remove(partial)
        return Session(folder, job, claim)


def _describe(folder: Path, job: Job, claim: Claim | None = None) -> None:
    """Write what is known of a job before it is trained, where it is missing."""
    permitted = claim.held if claim else contextlib.nullcontext
    if not (folder / "config.json").exists():
        write_json(folder / "config.json", {"kind": job.kind, **job.config}, permitted)
    if not (folder / "environment.json").exists():
        write_json(folder / "environment.json", describe_environment(), permitted)


class Session:
    """A training whose lock this process holds: the only way to write into its folder."""

    def __init__(self, folder: Path, job: Job, claim: Claim) -> None:
        self.folder = folder
        self.job = job
        self.stopwatch = Stopwatch()
        self._claim = claim
        self._before: Spent | None = Spent()  # the time of the updates in the resumed state; None: not recorded
        self.must_save = False
        """Whether rows or progress are damaged or missing: they have to be saved whatever is trained."""

    def resume(self) -> dict[str, Any] | None:
        """The last saved state, or None at the start. What is damaged in the folder is set aside, which is said."""
        self._mend()
        path = self.folder / CHECKPOINT
        if not path.exists():
            return None
        try:
            if not is_whole(path):
                raise ValueError("its checksums do not fit")
            state = _load(path)
        except (OSError, MemoryError):  # a fault of the machine: the file may be readable the next time
            raise
        except Exception as error:
            self._set_aside(path, f"cannot be read ({error})", "training starts again from 0")
            return None
        self._before = spent_from(state.pop("time", None))
        return state

    def _mend(self) -> None:
        """Set aside what does not fit ``progress.json``, and write what describes the job if it is missing."""
        progress = read_progress(self.folder)
        if progress is None and (self.folder / PROGRESS).exists():
            self._set_aside(self.folder / PROGRESS, "is damaged", "it is made again")
        for name in ("config.json", "environment.json"):
            path = self.folder / name
            if path.exists() and read_or_say(path) is None:
                self._set_aside(path, "is damaged", "it is made again")
        _describe(self.folder, self.job, self._claim)
        if progress is None:
            self.must_save = True
            return
        for path in misfits(self.folder, progress):
            self.must_save = self.must_save or path.name in ROWS
            if path.exists():
                self._set_aside(path, "does not have the checksum of progress.json", "it is made again")

    def _set_aside(self, path: Path, what: str, then: str) -> None:
        with self._claim.held():
            print(f"{path} {what}; kept as {set_aside(path).name}, {then}")

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
        write_atomically(self.folder / CHECKPOINT, lambda path: torch.save(state | kept, path), self._claim.held)
        listed: dict[str, Any] = {"rows": {}}
        for name, rows in zip(ROWS, (evaluations, losses), strict=True):
            if rows:
                text = as_csv(rows)
                write_text(self.folder / name, text, self._claim.held)
                listed["rows"][name] = facts_of_text(text, len(rows))
        weights = (read_progress(self.folder) or {}).get("weights")
        self._write_progress({"updates": updates} | kept | listed | ({"weights": weights} if weights else {}))
        self.must_save = False

    def _write_progress(self, progress: dict[str, Any]) -> None:
        write_json(self.folder / PROGRESS, progress | {"token": self._claim.token}, self._claim.held)

    def has_weights(self, updates: int) -> bool:
        """Whether the weights after ``updates`` updates are kept already, and are whole."""
        return weights_fit(self.folder, weights_name(updates), read_progress(self.folder) or {})

    def save_weights(self, updates: int, weights: dict[str, Any]) -> None:
        """Keep the ``weights`` after ``updates`` updates for the jobs that start from them. May raise ClaimLost."""
        self._claim.check()
        path = self.folder / weights_name(updates)
        write_atomically(path, lambda temporary: torch.save(weights, temporary), self._claim.held)
        if progress := read_progress(self.folder):
            listed = {"weights": progress.get("weights", {}) | {path.name: facts_of_file(path)}}
            self._write_progress(progress | listed)

    def release(self) -> None:
        """Release the lock, so that other processes can train the job."""
        self._claim.release()

    @contextlib.contextmanager
    def recording_failure(self) -> "Iterator[Session]":
        """A context: write FAILED.json when the body raises, remove an older one otherwise. Always release the lock.

        Before the body runs, this machine is added to environment.json.
        """
        try:
            _note_where(self.folder, self._claim)
            yield self
            with self._claim.held():
                (self.folder / "FAILED.json").unlink(missing_ok=True)
        except ClaimLost:  # the folder belongs to another process now
            raise
        except Exception as error:
            record = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
            record |= {"time": time.time(), "host": socket.gethostname()}
            # Neither a full disk nor a lock that was lost must hide the error itself.
            with contextlib.suppress(OSError, ClaimLost):
                write_json(self.folder / "FAILED.json", record, self._claim.held)
            raise
        finally:
            self.release()


def _note_where(folder: Path, claim: Claim) -> None:
    """Add this machine and its versions to the folder's environment.json, unless they are there already."""
    first, here = read_or_say(folder / "environment.json"), describe_environment()
    together = with_place(first, here) if isinstance(first, dict) else here
    if together != first:
        write_json(folder / "environment.json", together, claim.held)


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
    progress = read_progress(folder)
    return None if progress is None else progress["updates"]


def spent_in(folder: Path) -> tuple[int, Spent] | None:
    """(updates that are saved in ``folder``, the time that they took), or None where no time was recorded."""
    progress = read_progress(folder) or {}
    spent = spent_from(progress.get("time"))
    return None if spent is None else (progress["updates"], spent)


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _is_done_in(folder: Path, job: Job) -> bool:
    progress = read_progress(folder)
    if progress is None or progress["updates"] < job.updates:
        return False
    wrong = [name for name in ROWS if not rows_fit(folder, name, progress)]
    wrong += [name for name in map(weights_name, job.keep) if not weights_fit(folder, name, progress)]
    for name in wrong:
        if (folder / name).exists():
            say_damaged(folder / name)
    return not wrong
