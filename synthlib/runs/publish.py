"""Published runs: what ``python -m synthlib publish`` copies from the store into the repository.

A record has everything that a table reads, and the weights that other trainings start from: a clone then shows the
runs without making them again, and trains only what is still missing. Checkpoints stay behind, they are large.
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
    """Copy the finished runs of ``plan`` to the store's records and return their folders, those already there left out.

    A record that is there keeps its weights, and its rows unless the new ones go further. The machine is noted, also
    that of what was there before, but not by its name.
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
            if updates_in(record) >= updates_in(folder):
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
