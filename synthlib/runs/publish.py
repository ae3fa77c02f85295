"""Published runs: what ``python -m synthlib publish`` copies from the store into the repository.

A record has everything that a table reads, and the weights that other trainings start from. So a clone of the
repository shows the published runs without training them again. Records have no checkpoints, because these are large.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from synthlib.machine.files import make_folder, write_json
from synthlib.runs.job import Job
from synthlib.runs.progress import NAME as PROGRESS
from synthlib.runs.progress import ROWS, facts_of_file, facts_of_text, read_progress, sealed, weights_name
from synthlib.runs.session import describe_configuration, known_environment, with_place
from synthlib.runs.store import Store, updates_in

_ROWS = (*ROWS, PROGRESS)


class HasJobs(Protocol):
    """A plan: it knows its jobs."""

    def jobs(self) -> Sequence[Job]: ...


def publish(plan: HasJobs, store: Store) -> list[Path]:
    """Copy the finished runs of ``plan`` that are not published yet to the store's records. Returns the new folders.

    An older record of the same run keeps its weights. It also keeps its rows, unless the new rows have more updates.
    The new record describes the machines of both, without their host names.
    """
    return [_copy(job, store) for job in plan.jobs() if store.is_done(job) and not store.is_published(job)]


def _copy(job: Job, store: Store) -> Path:
    folder, record = store.folder(job), store.record(job)
    older = record if record.exists() else None
    make_folder(record, lambda made: fill_record(made, job, folder, older), replace=True)
    return record


def fill_record(made: Path, job: Job, folder: Path, older: Path | None) -> None:
    """Fill the folder ``made`` with what a record has of a job's ``folder``, and of an ``older`` record of the job.

    The configuration is the job's own, so that a damaged config.json does not travel.
    """
    describe_configuration(made, job)
    for name in (*_ROWS, *map(weights_name, job.keep)):
        if (folder / name).exists():
            shutil.copyfile(folder / name, made / name)
    place = _nameless(known_environment(folder))
    if older is not None:
        before, place_before = [*older.glob(weights_name("*"))], known_environment(older)
        if (updates_in(older) or 0) >= (updates_in(folder) or 0):
            before += [older / name for name in _ROWS if (older / name).exists()]
            place = with_place(place_before, place)
        else:
            place = with_place(place, place_before)
        for path in before:
            shutil.copyfile(path, made / path.name)
    write_json(made / "environment.json", place)
    write_json(made / PROGRESS, sealed(_listing(made)))


def _listing(made: Path) -> dict[str, Any]:
    """The progress of a record, with the checksums of the files that it has."""
    progress = read_progress(made) or {}
    progress.pop("token", None)
    rows = {}
    for name in ROWS:
        if (made / name).exists():
            text = (made / name).read_bytes().decode()
            rows[name] = facts_of_text(text, text.count("\n") - 1)
    progress.pop("weights", None)  # it may list a policy, which stays where it was kept
    weights = {path.name: facts_of_file(path) for path in sorted(made.glob(weights_name("*")))}
    return progress | {"rows": rows} | ({"weights": weights} if weights else {})


def _nameless(environment: dict[str, Any]) -> dict[str, Any]:
    facts = {name: fact for name, fact in environment.items() if name != "host"}
    return facts | ({"continued": [*map(_nameless, facts["continued"])]} if "continued" in facts else {})
