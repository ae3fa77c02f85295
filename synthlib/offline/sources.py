"""The names of the twelve data sets, where their files come from, and which content they have.

Sources: ``replica`` (embedded: D4RL's recipe with behaviour policies trained by this project), ``d4rl`` (the official
v2 files in ``D4RL_DATASET_DIR``), ``path:DIR`` (any folder of files in D4RL's layout). A replica is labelled as one
everywhere: its scores are not comparable with the paper's cells.
"""

import functools
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from synthlib.offline.hdf5 import DataFileError, sha256_of
from synthlib.tasks import parse_name

REPLICA_FOLDER = Path(__file__).parents[1] / "data"
# Lists the SHA-256 of each file of a folder: {"files": {name: {"sha256": ...}}}.
MANIFESTS = {"replica": "manifest.json", "d4rl": "synthlib-manifest.json"}


@dataclass(frozen=True)
class Source:
    """Where data sets come from: ``kind`` is replica, d4rl or path; ``label`` is what the user wrote."""

    kind: str
    folder: Path
    label: str


def parse_source(text):
    """The :class:`Source` of ``"replica"``, ``"d4rl"`` or ``"path:DIR"``; ValueError for anything else."""
    if isinstance(text, Source):
        return text
    kind, _, rest = text.partition(":")
    if text == "replica":
        return Source(kind, REPLICA_FOLDER, text)
    if text == "d4rl":
        folder = os.environ.get("D4RL_DATASET_DIR") or "~/.d4rl/datasets"
        return Source(kind, Path(folder).expanduser(), text)
    if kind == "path" and rest:
        folder = Path(rest).expanduser()
        if not folder.is_dir():
            raise ValueError(f"data source {text!r}: there is no folder {folder.absolute()}")
        return Source(kind, folder, text)
    raise ValueError(f"unknown data source {text!r}; known: replica, d4rl, path:DIR")


def find_files(name, source):
    """The file of a data set, or its medium and expert files when they are still to be joined.

    Raises FileNotFoundError saying what was looked for and what to do, ValueError when several files could be meant.
    """
    source = parse_source(source)
    environment, tier = parse_name(name)
    found = _file_of(environment, tier, source)
    if found is None and tier == "medium-expert":
        parts = [_file_of(environment, part, source) for part in ("medium", "expert")]
        found = None if None in parts else tuple(parts)
    else:
        found = found and (found,)
    if found is None:
        raise FileNotFoundError(_missing_message(name, source))
    return found


def checksum(name, source="replica"):
    """SHA-256 of a data set's content without loading it: of its file, or of its two files' digests.

    Raises as :func:`find_files`, and :class:`DataFileError` when a file is not the one that its manifest lists.
    """
    source = parse_source(source)
    files = find_files(name, source)
    digests = [_file_digest(path, source) for path in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _file_of(environment, tier, source):
    """The one file of a tier in the source's folder, or None."""
    stem = f"{environment}_{tier.replace('-', '_')}"
    version = {"replica": "v0", "d4rl": "v2"}.get(source.kind)
    if version:
        path = source.folder / f"{stem}-{version}.hdf5"
        return path if path.is_file() else None
    # Other projects write hyphens for underscores, leave the version out, or use .h5.
    pattern = re.compile(re.escape(stem).replace("_", "[-_]") + r"([-_]v\d+)?\.(hdf5|h5)$")
    found = sorted(path for path in source.folder.iterdir() if pattern.match(path.name))
    chosen = [path for path in found if "v2." in path.name] or found
    if len(chosen) > 1:
        raise ValueError(
            f"{source.folder} has several files for {environment}-{tier}: "
            f"{', '.join(path.name for path in chosen)}; leave one of them in the folder"
        )
    return chosen[0] if chosen else None


def _missing_message(name, source):
    file = "{}_{}".format(*parse_name(name)).replace("-", "_")
    if source.kind == "d4rl":
        return (
            f"{name}: no {file}-v2.hdf5 in {source.folder}. Fetch it with `make data DATA=d4rl`, "
            "or set D4RL_DATASET_DIR to the folder that has it"
        )
    if source.kind == "replica":
        return f"{name}: no {file}-v0.hdf5 in {source.folder}: the embedded replica is incomplete, clone again"
    joined = f", nor {file.replace('medium_expert', 'medium')} and its expert" if "medium_expert" in file else ""
    present = ", ".join(sorted(path.name for path in source.folder.glob("*.h*5"))) or "no HDF5 file"
    return f"{name}: no {file}-v2.hdf5{joined} in {source.folder} (it has {present}); rename or add the file"


def _file_digest(path, source):
    stat = path.stat()
    digest = _digest_once(path, stat.st_size, stat.st_mtime_ns)
    if source.kind not in MANIFESTS:
        return digest
    manifest = source.folder / MANIFESTS[source.kind]
    listed = json.loads(manifest.read_text())["files"] if manifest.is_file() else {}
    if source.kind == "replica" and path.name not in listed:
        raise DataFileError(f"{path} is not listed in {manifest.name}; the embedded replica is incomplete, clone again")
    expected = listed.get(path.name, {}).get("sha256", digest)
    if expected != digest:
        raise DataFileError(
            f"{path} has SHA-256 {digest[:16]}..., {manifest.name} says {expected[:16]}...: it was changed or damaged. "
            "Restore it, or read a folder of your own with DATA=path:DIR"
        )
    return digest


@functools.cache
def _digest_once(path, size, modified):
    return sha256_of(path)
