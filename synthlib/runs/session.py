"""A training that this process may write: what is saved, how it is resumed, and what damaged files become.

Every write is checked by the token of the lock, so that a process that was suspended cannot write over what its
successor has finished (:mod:`synthlib.machine.locks`).
"""

import contextlib
import socket
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from synthlib.machine.description import describe_environment
from synthlib.machine.files import Permission, set_aside, write_atomically, write_json, write_text
from synthlib.machine.locks import Claim, ClaimLost
from synthlib.runs.job import Job
from synthlib.runs.progress import (
    NAME,
    ROWS,
    as_csv,
    facts_of_file,
    facts_of_text,
    is_whole,
    misfits,
    policy_name,
    read_or_say,
    read_progress,
    sealed,
    weights_fit,
    weights_name,
)
from synthlib.runs.stopwatch import Spent, Stopwatch, spent_from

CHECKPOINT = "checkpoint.pt"
DESCRIPTIONS = ("config.json", "environment.json")


def load_saved(path: Path) -> Any:
    """What PyTorch has saved in a file, on the processor: tensors and plain values only, nothing that runs code."""
    return torch.load(path, map_location="cpu", weights_only=True)


def describe_job(folder: Path, job: Job, claim: Claim | None = None) -> None:
    """Write what is known of a job before it is trained, where it is missing.

    Where a training has begun, its machine is not known any more: then its environment.json says nothing.
    """
    permitted = claim.held if claim else contextlib.nullcontext
    if not (folder / "config.json").exists():
        describe_configuration(folder, job, permitted)
    if not (folder / "environment.json").exists():
        has_begun = read_progress(folder) is not None
        write_json(folder / "environment.json", {} if has_begun else describe_environment(), permitted)


def describe_configuration(folder: Path, job: Job, permitted: Permission = contextlib.nullcontext) -> None:
    """Write config.json: what the job's key is the hash of."""
    write_json(folder / "config.json", {"kind": job.kind, **job.config}, permitted)


def is_described(folder: Path) -> bool:
    """Whether config.json and environment.json are there and can be read; damaged ones are named."""
    return all(isinstance(read_or_say(folder / name), dict) for name in DESCRIPTIONS)


def known_environment(folder: Path) -> dict[str, Any]:
    """What environment.json says; nothing where it is missing or damaged, which is said."""
    known = read_or_say(folder / "environment.json")
    return known if isinstance(known, dict) else {}


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
            state = load_saved(path)
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
        if progress is None and (self.folder / NAME).exists():
            self._set_aside(self.folder / NAME, "is damaged", "it is made again")
        self.mend_descriptions()
        if progress is None:
            self.must_save = True
            return
        for path in misfits(self.folder, progress):
            self.must_save = self.must_save or path.name in ROWS
            if path.exists():
                self._set_aside(path, "does not have the checksum of progress.json", "it is made again")

    def mend_descriptions(self) -> None:
        """Write what describes the job where it is missing, or damaged: then it is set aside."""
        for name in DESCRIPTIONS:
            path = self.folder / name
            if path.exists() and not isinstance(read_or_say(path), dict):
                self._set_aside(path, "is damaged", "it is made again")
        describe_job(self.folder, self.job, self._claim)

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
        write_json(self.folder / NAME, sealed(progress | {"token": self._claim.token}), self._claim.held)

    def has_weights(self, updates: int) -> bool:
        """Whether the weights after ``updates`` updates are kept already, and are whole."""
        return weights_fit(self.folder, weights_name(updates), read_progress(self.folder) or {})

    def save_weights(self, updates: int, weights: dict[str, Any]) -> None:
        """Keep the ``weights`` after ``updates`` updates for the jobs that start from them. May raise ClaimLost."""
        self._keep(weights_name(updates), weights)

    def save_policy(self, updates: int, policy: dict[str, Any]) -> None:
        """Keep the tensors of the ``policy`` after ``updates`` updates. May raise ClaimLost."""
        self._keep(policy_name(updates), policy)

    def _keep(self, name: str, tensors: dict[str, Any]) -> None:
        self._claim.check()
        path = self.folder / name
        write_atomically(path, lambda temporary: torch.save(tensors, temporary), self._claim.held)
        if progress := read_progress(self.folder):
            listed = {"weights": progress.get("weights", {}) | {path.name: facts_of_file(path)}}
            self._write_progress(progress | listed)

    def release(self) -> None:
        """Release the lock, so that other processes can train the job."""
        self._claim.release()

    @contextlib.contextmanager
    def recording_failure(self, facts: Mapping[str, str] | None = None) -> "Iterator[Session]":
        """A context: write FAILED.json when the body raises, remove an older one otherwise. Always release the lock.

        Before the body runs, this machine is added to environment.json, with ``facts`` on how the training is made.
        """
        try:
            self.mend_descriptions()
            _note_where(self.folder, self._claim, facts or {})
            yield self
            with self._claim.held():
                (self.folder / "FAILED.json").unlink(missing_ok=True)
        except ClaimLost:  # the folder belongs to another process now
            raise
        except Exception as error:
            record: dict[str, Any] = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
            record |= {"time": time.time(), "host": socket.gethostname()}
            # Neither a full disk nor a lock that was lost must hide the error itself.
            with contextlib.suppress(OSError, ClaimLost):
                write_json(self.folder / "FAILED.json", record, self._claim.held)
            raise
        finally:
            self.release()


def _note_where(folder: Path, claim: Claim, facts: Mapping[str, str]) -> None:
    """Add this machine, its versions and ``facts`` to the folder's environment.json, unless they are there already.

    What the file says of a training of which nothing is saved yet does not count.
    """
    first, here = known_environment(folder), {**describe_environment(), **facts}
    begun = read_progress(folder) is not None
    together = with_place(first, here) if begun else here
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
