"""The run store: every training is kept once, under the hash of its full configuration.

    outputs/store/<kind>/<key>/
        config.json        everything that decides the numbers
        environment.json   everything else: versions, processor, device, host and date; also of each machine on which
                           the training was continued
        evaluations.csv    one row per evaluation
        losses.csv         one row per logging interval
        checkpoint.pt      weights, optimiser moments, generator states, and the rows above: enough to resume
        weights_<n>.pt     weights after n updates, kept for the trainings that start from them
    policy_<n>.pt      the policy after n updates, where the user asked for it (:mod:`synthlib.runs.policies`)
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
from pathlib import Path
from typing import Any

import pandas as pd

from synthlib.errors import Failed
from synthlib.machine.files import PARTIAL, SET_ASIDE, make_folder, remove
from synthlib.machine.locks import Holder, holder, is_claimed, try_claim
from synthlib.paths import RECORDS
from synthlib.runs.job import Job
from synthlib.runs.progress import (
    ROWS,
    is_whole,
    read_or_say,
    read_progress,
    rows_fit,
    say_damaged,
    weights_fit,
    weights_name,
)
from synthlib.runs.session import CHECKPOINT, Session, describe_job, is_described, load_saved
from synthlib.runs.stopwatch import Spent, spent_from


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

    def finished(self, job: Job) -> Path:
        """The folder in which a done job is done: its own or else its record."""
        folder = self._finished(job)
        assert folder is not None, "only a done job has such a folder"
        return folder

    def _finished(self, job: Job) -> Path | None:
        """The folder in which the job is done: its own or else its record. None when the job is not done."""
        folders = (self.folder(job), self.record(job))
        return next((folder for folder in folders if _is_done_in(folder, job)), None)

    def weights(self, job: Job) -> dict[str, Any]:
        """The weights that a done job kept at its end: {name: tensor}, on the processor."""
        return load_saved(self.finished(job) / weights_name(job.updates))

    def checkpoint(self, job: Job) -> dict[str, Any]:
        """The last saved state in the job's own folder; a longer job may have trained it beyond this job's length.

        Raises Failed when it is damaged.
        """
        path = self.folder(job) / CHECKPOINT
        if not is_whole(path):
            raise Failed(f"{path} is damaged; train its table again, which makes it again")
        return load_saved(path)

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
        return rows_in(self._finished(job) or self.folder(job), name, job.updates)

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
            make_folder(folder, lambda temporary: describe_job(temporary, job))
        claim = try_claim(folder)
        if claim is None:
            return None
        for partial in folder.glob(PARTIAL):
            remove(partial)
        return Session(folder, job, claim)

    def mend_description(self, job: Job) -> None:
        """Write config.json and environment.json of a job in its own folder where they are missing or damaged.

        A job that is done is opened no more, so nothing else would.
        """
        folder = self.folder(job)
        if not folder.exists() or is_described(folder):
            return
        with contextlib.suppress(OSError):  # in somebody else's store, for instance; the numbers do not need them
            if (session := self.open(job)) is not None:
                try:
                    session.mend_descriptions()
                finally:
                    session.release()


def folders_in(root: Path) -> list[Path]:
    """The folders of all trainings under ``root``, without those half made or set aside."""
    names = [path for path in sorted(root.glob("*/*")) if path.is_dir()]
    return [path for path in names if not path.name.startswith(".") and not path.name.endswith(SET_ASIDE)]


def rows_in(folder: Path, name: str, updates: int) -> pd.DataFrame:
    """The rows of a CSV file up to ``updates``; none, with the column updates, where the file is missing or damaged."""
    path, progress = folder / name, read_progress(folder)
    if path.exists() and progress is not None:
        if rows_fit(folder, name, progress):
            rows = pd.read_csv(path)
            return rows[rows["updates"] <= updates]
        say_damaged(path)
    return pd.DataFrame({"updates": []})


def updates_in(folder: Path) -> int | None:
    """Updates that are saved in ``folder``, or None when nothing is saved yet."""
    progress = read_progress(folder)
    return None if progress is None else progress["updates"]


def spent_in(folder: Path) -> tuple[int, Spent] | None:
    """(updates that are saved in ``folder``, the time that they took), or None where no time was recorded."""
    progress = read_progress(folder) or {}
    spent = spent_from(progress.get("time"))
    return None if spent is None else (progress["updates"], spent)


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
