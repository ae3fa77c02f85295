"""What ``progress.json`` says of a training's folder, and whether the files in the folder fit it.

    updates   updates that are saved
    time      the time that they took (not in trainings from before it was kept)
    rows      {name of a CSV file: {"rows", "bytes", "sha256"}}: the rows that belong to these updates
    weights   {name of a file with kept weights, or with a kept policy: {"bytes", "sha256"}}
    token     the fencing token of the lock under which this was written (:mod:`synthlib.machine.locks`)
    sha256    the checksum of all this

It is written last, so it describes files that are there. A CSV file that has grown since, because the next save was
going on, still fits: its first bytes do. Trainings from before checksums were kept have ``updates`` alone, and so may
weights whose process was killed between writing them and listing them: they fit when their archive is whole. PyTorch's
files are zip archives with a CRC-32 of every part, which finds any flipped bit, cut or hole.
"""

import errno
import hashlib
import json
import sys
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from synthlib.machine.files import read_json

NAME = "progress.json"
ROWS = ("evaluations.csv", "losses.csv")


def weights_name(updates: int | str) -> str:
    """The name of the file with the weights after ``updates`` updates; "*" gives the pattern for all such files."""
    return f"weights_{updates}.pt"


def policy_name(updates: int | str) -> str:
    """The name of the file with the policy after ``updates`` updates; "*" gives the pattern for all such files."""
    return f"policy_{updates}.pt"


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The text of a CSV file."""
    return pd.DataFrame(rows).to_csv(index=False)


def facts_of_text(text: str, rows: int) -> dict[str, Any]:
    """What is listed of a CSV file with so many rows."""
    content = text.encode()
    return {"rows": rows, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def facts_of_file(path: Path) -> dict[str, Any]:
    """What is listed of a file with weights."""
    size = path.stat().st_size
    return {"bytes": size, "sha256": _digest(path, size)}


def read_progress(folder: Path) -> dict[str, Any] | None:
    """The content of ``progress.json``; None when nothing is saved yet, or when the file is damaged, which is said."""
    known = read_or_say(folder / NAME)
    if isinstance(known, dict) and isinstance(known.get("updates"), int):
        if known.get("sha256") == _checksum(known) or not known.keys() & {"rows", "sha256"}:
            return known
        say_damaged(folder / NAME)
    return None


def sealed(progress: Mapping[str, Any]) -> dict[str, Any]:
    """``progress`` with its checksum, as it is written."""
    return {**progress, "sha256": _checksum(progress)}


def _checksum(progress: Mapping[str, Any]) -> str:
    facts = {name: fact for name, fact in progress.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_or_say(path: Path) -> Any:
    """The value in a JSON file; None when there is no file, or when it is damaged, which is said once."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except ValueError:
        say_damaged(path)
        return None


@cache  # once per process and file
def say_damaged(path: Path) -> None:
    """Name a damaged file on the error stream."""
    print(
        f"{path} is damaged or incomplete: it does not count, and the next training there makes it again",
        file=sys.stderr,
    )


def rows_fit(folder: Path, name: str, progress: Mapping[str, Any]) -> bool:
    """Whether a CSV file, or its absence, belongs to ``progress``."""
    path = folder / name
    if "rows" not in progress:  # from before checksums were kept
        return not path.exists() or path.stat().st_size > 0
    listed = progress["rows"].get(name)
    if listed is None:
        return True
    return _has(path, listed, may_be_longer=True)


def weights_fit(folder: Path, name: str, progress: Mapping[str, Any]) -> bool:
    """Whether kept weights are there as they were written."""
    path = folder / name
    if not path.exists():
        return False
    listed = progress.get("weights", {}).get(name)
    return is_whole(path) if listed is None else _has(path, listed)


def misfits(folder: Path, progress: Mapping[str, Any]) -> list[Path]:
    """The files of rows and weights that ``progress`` lists, or that are there, and that do not fit."""
    there = (*folder.glob(weights_name("*")), *folder.glob(policy_name("*")))
    weights = {path.name for path in there} | set(progress.get("weights", {}))
    wrong = [name for name in ROWS if not rows_fit(folder, name, progress)]
    wrong += [name for name in sorted(weights) if not weights_fit(folder, name, progress)]
    return [folder / name for name in wrong]


def is_whole(path: Path) -> bool:
    """Whether a file of PyTorch is an archive whose parts have their checksums. OSError when it cannot be read now."""
    stat = path.stat()
    key = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if _whole.get(path, (None, False))[0] != key:
        _whole[path] = key, _is_whole(path)
    return _whole[path][1]


_whole: dict[Path, tuple[tuple[int, ...], bool]] = {}
_digests: dict[Path, tuple[tuple[int, ...], str]] = {}


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None and bool(archive.namelist())
    except (OSError, MemoryError) as error:  # a fault of the machine: the file may be readable the next time
        if getattr(error, "errno", errno.EIO) not in (None, errno.EINVAL):  # EINVAL: a damaged place within the file
            raise
        return False
    except Exception:  # whatever a flipped bit makes of an archive
        return False


def _has(path: Path, listed: Mapping[str, Any], may_be_longer: bool = False) -> bool:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return False
    if size < listed["bytes"] or (size > listed["bytes"] and not may_be_longer):
        return False
    return _digest(path, listed["bytes"]) == listed["sha256"]


def _digest(path: Path, length: int) -> str:
    """SHA-256 of the first ``length`` bytes, read once per process while the file's date and size stay."""
    stat = path.stat()
    key = (length, stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if _digests.get(path, (None, ""))[0] != key:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while length and (part := file.read(min(length, 1 << 20))):
                digest.update(part)
                length -= len(part)
        _digests[path] = key, digest.hexdigest()
    return _digests[path][1]
