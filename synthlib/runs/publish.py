"""Published runs: what ``python -m synthlib publish`` copies from the store into the repository.

A record has everything that a table reads, and the weights that other trainings start from. So a clone of the
repository shows the published runs without training them again. Records have no checkpoints, because these are large.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from synthlib.machine.files import read_json, write_json
from synthlib.runs.job import Job
from synthlib.runs.store import Store, updates_in, weights_name, with_place

_ROWS = ("config.json", "evaluations.csv", "losses.csv", "progress.json")


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
    record.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=record.parent) as temporary:
        made = Path(temporary) / record.name
        made.mkdir()
        for name in (*_ROWS, *map(weights_name, job.keep)):
            if (folder / name).exists():
                shutil.copyfile(folder / name, made / name)
        before, place = [*record.glob(weights_name("*"))], _nameless(read_json(folder / "environment.json"))
        if record.exists():
            place_before = read_json(record / "environment.json")
            if (updates_in(record) or 0) >= (updates_in(folder) or 0):
                before += [record / name for name in _ROWS if (record / name).exists()]
                place = with_place(place_before, place)
            else:
                place = with_place(place, place_before)
        for path in before:
            shutil.copyfile(path, made / path.name)
        write_json(made / "environment.json", place)
        if record.exists():
            shutil.rmtree(record)
        made.rename(record)
    return record


def _nameless(environment: dict[str, Any]) -> dict[str, Any]:
    facts = {name: fact for name, fact in environment.items() if name != "host"}
    return facts | ({"continued": [*map(_nameless, facts["continued"])]} if "continued" in facts else {})
