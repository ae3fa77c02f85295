"""``make doctor STORE=1``: every file of a store held against its checksum, what is left behind, and its repair.

Repaired is what can be: leftovers of killed processes are removed, and what is damaged is set aside, so that the next
command which needs it makes it again. A folder that a living process trains in is left alone.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from synthlib.machine import locks
from synthlib.machine.cached import SUMS, damage_in_folder, damage_in_npz
from synthlib.machine.files import PARTIAL, SET_ASIDE, abandoned, may_not_write, read_json, remove, set_aside
from synthlib.machine.locks import is_claimed, try_claim
from synthlib.runs.job import Job
from synthlib.runs.progress import NAME, is_whole, misfits, read_progress
from synthlib.runs.session import CHECKPOINT
from synthlib.runs.store import Store, folders_in

_JSON = ("config.json", "environment.json", "FAILED.json")


class Finding(NamedTuple):
    """One thing that is not as it should be."""

    path: Path
    what: str
    done: str
    """What was done about it, or has to be done."""
    is_damage: bool = False
    """Whether something has to be made again, or cannot be told; not so for leftovers."""


class Verified(NamedTuple):
    """What was looked at."""

    trainings: int
    busy: int
    """Trainings that a living process holds: not looked at."""
    without_checksums: int
    """Trainings from before checksums were kept: their archives were tested, their rows cannot be."""
    findings: list[Finding]


def verify(store: Store, cache: Path) -> Verified:
    """Look at every file of ``store``, of its records and of the folder ``cache``, and repair what can be repaired."""
    findings: list[Finding] = []
    folders = [folder for root in (store.root, store.records) for folder in folders_in(root)]
    busy = older = 0
    for folder in folders:
        if is_claimed(folder):
            busy += 1
            continue
        progress = read_progress(folder)
        older += progress is not None and "rows" not in progress
        findings += _folder_findings(folder)
    for root in (store.root, store.records):
        for kind in _subfolders(root):
            findings += [_removed(path, "left by a killed process") for path in abandoned(kind)]
            findings += _set_aside_before(kind)
    findings += _cache_findings(cache)
    return Verified(len(folders), busy, older, findings)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir()) if folder.is_dir() else []


def _set_aside_before(folder: Path) -> list[Finding]:
    done = "delete it when you need it no more"
    return [Finding(path, "was set aside before", done) for path in sorted(folder.glob(f"*{SET_ASIDE}"))]


def _folder_findings(folder: Path) -> Iterator[Finding]:
    if folder.is_symlink() or folder.parent.is_symlink():
        yield Finding(folder, "is a link, through which nothing is written", "put the folder itself there", True)
        return
    names = {path.name for path in folder.iterdir()}
    if not names - {locks.NAME, locks.TAKEOVER}:
        yield _removed(folder, "is a folder without any file")
        return
    for path in sorted(folder.glob(PARTIAL)):
        yield _removed(path, "left by a killed process")
    if locks.NAME in names and locks.is_stale(folder):
        yield _removed(folder / locks.NAME, "is the lock of a process that has ended")
        names.discard(locks.NAME)
    if locks.TAKEOVER in names and locks.NAME not in names:
        yield _removed(folder / locks.TAKEOVER, "left by a killed process")
    yield from _set_aside_before(folder)
    damaged = dict(_damage(folder))
    for path, what in damaged.items():
        yield _set_aside(folder, path, what)
    if "config.json" not in names or folder / "config.json" in damaged:
        todo = "run its table again, which writes it; if no table asks for the folder, delete it"
        yield Finding(folder, "has no config.json, so nothing says which training it is", todo, True)


def _damage(folder: Path) -> Iterator[tuple[Path, str]]:
    """(file, what is wrong with it) of every file of a training that is not as it was written."""
    for name in _JSON:
        path = folder / name
        if path.exists() and not _is_object(path):
            yield path, "is not valid JSON"
    if (folder / NAME).exists() and read_progress(folder) is None:
        yield folder / NAME, "does not have its checksum"
    config = folder / "config.json"
    if config.exists() and _is_object(config):
        known = read_json(config)
        if Job(str(known.pop("kind", "")), known, 0).key != folder.name:
            yield config, "is not the configuration that the folder is named after"
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists() and not is_whole(checkpoint):
        yield checkpoint, "does not have its checksums"
    progress = read_progress(folder)
    for path in misfits(folder, progress or {"updates": 0}):
        if path.exists():
            yield path, "does not have the checksum of progress.json" if progress else "does not have its checksums"
        else:
            yield path, "is missing"


def _is_object(path: Path) -> bool:
    try:
        return isinstance(read_json(path), dict)
    except ValueError:
        return False


def _cache_findings(cache: Path) -> Iterator[Finding]:
    for folder in _subfolders(cache):
        for path in abandoned(folder):
            yield _removed(path, "left by a killed process")
    for folder in (cache, *_subfolders(cache)):
        yield from _set_aside_before(folder)
    for folder in _subfolders(cache / "datasets"):
        if folder.name.startswith(".") or folder.name.endswith(SET_ASIDE):
            continue
        if not (folder / SUMS).exists():
            yield _removed(folder, "is from before checksums were kept, and is made again when it is needed")
        elif what := damage_in_folder(folder):
            yield _set_aside(None, folder, f"cannot be used ({what})")
    for path in sorted(cache.glob("*/*.npz")):
        if not path.name.startswith(".") and (what := damage_in_npz(path)):
            yield _set_aside(None, path, f"is damaged ({what})")
    for path in sorted([*cache.glob("*.json"), *cache.glob("masses/*.json")]):
        if not _is_object(path):
            yield _set_aside(None, path, "is not valid JSON")


def _removed(path: Path, what: str) -> Finding:
    remove(path)
    return Finding(path, what, "removed" if not os.path.lexists(path) else "its owner may remove it")


def _set_aside(folder: Path | None, path: Path, what: str) -> Finding:
    """Set a damaged file aside, under the lock of its ``folder`` if it belongs to a training."""
    if not path.exists():
        return Finding(path, what, "the next training there makes it again", True)
    try:
        claim = try_claim(folder) if folder else None
        if folder and claim is None:
            return Finding(path, what, "a process has begun to train there; ask again later", True)
        try:
            return Finding(path, what, f"kept as {set_aside(path).name}; what needs it makes it again", True)
        finally:
            if claim:
                claim.release()
    except OSError as error:
        if not may_not_write(error):
            raise
        return Finding(path, what, "its owner has to repair it: this user may not write there", True)
