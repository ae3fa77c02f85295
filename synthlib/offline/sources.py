"""Where the files of the twelve data sets are, and the checksum of their content.

A data source is ``replica`` (embedded: D4RL's recipe with behaviour policies trained by this project), ``d4rl`` (the
official v2 files in ``D4RL_DATASET_DIR``) or ``path:DIR`` (any folder of files in D4RL's layout). A replica is labelled
as a replica everywhere: its scores are not comparable with the paper's cells.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from synthlib.offline.checksums import file_checksum
from synthlib.offline.hdf5 import DataFileError
from synthlib.paths import absolute, from_environment
from synthlib.tasks import parse_name

REPLICA_FOLDER = Path(__file__).parents[1] / "data"
# A manifest lists the SHA-256 of each file in a folder: {"files": {name: {"sha256": ...}}}.
MANIFESTS = {"replica": "manifest.json", "d4rl": "synthlib-manifest.json"}


@dataclass(frozen=True)
class DataSource:
    """Where data sets come from: ``kind`` is replica, d4rl or path; ``label`` is what the user wrote."""

    kind: str
    folder: Path
    label: str


def parse_source(data: str | DataSource) -> DataSource:
    """The :class:`DataSource` called ``"replica"``, ``"d4rl"`` or ``"path:DIR"``.

    Raises ValueError for another name, or when DIR is no folder.
    """
    if isinstance(data, DataSource):
        return data
    kind, _, rest = data.partition(":")
    if data == "replica":
        return DataSource(kind, REPLICA_FOLDER, data)
    if data == "d4rl":
        official = from_environment("D4RL_DATASET_DIR") or absolute("~/.d4rl/datasets")
        return DataSource(kind, official, data)
    if kind == "path" and rest:
        folder = absolute(rest)
        if not folder.is_dir():
            raise ValueError(f"data source {data!r}: there is no folder {folder}")
        return DataSource(kind, folder, data)
    raise ValueError(f"unknown data source {data!r}; known: replica, d4rl, path:DIR")


def find_files(name: str, data: str | DataSource) -> tuple[Path, ...]:
    """The file of data set ``name`` in the data source ``data``.

    A medium-expert data set may lack a file of its own. Then the result is its medium and its expert file, which are
    joined when they are loaded. Raises FileNotFoundError, whose message names the missing file and what to do, and
    ValueError for an unknown name or data source and when several files fit the name.
    """
    data = parse_source(data)
    environment, tier = parse_name(name)
    file = _file_of(environment, tier, data)
    if file:
        return (file,)
    if tier == "medium-expert":
        medium, expert = (_file_of(environment, part, data) for part in ("medium", "expert"))
        if medium and expert:
            return medium, expert
    raise FileNotFoundError(_missing_message(name, data))


def checksum(name: str, data: str | DataSource = "replica", cache: str | Path | None = None) -> str:
    """Hex SHA-256 of a data set's content, without loading it.

    This is the digest of its file. For two joined files it is the digest of their two hex digests, one after the other.
    With a ``cache`` folder the digests of unchanged files are cached there
    (:func:`synthlib.offline.checksums.file_checksum`); without, every byte is read. Raises the errors of
    :func:`find_files`, and :class:`DataFileError` when the digest of a file differs from its manifest.
    """
    data = parse_source(data)
    digests = [_checked_digest(path, data, cache) for path in find_files(name, data)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _file_of(environment: str, tier: str, data: DataSource) -> Path | None:
    """The one file of a tier in the data source's folder, or None."""
    stem = f"{environment}_{tier.replace('-', '_')}"
    version = {"replica": "v0", "d4rl": "v2"}.get(data.kind)
    if version:
        path = data.folder / f"{stem}-{version}.hdf5"
        return path if path.is_file() else None
    # Other projects write hyphens for underscores, leave the version out, or use .h5.
    pattern = re.compile(re.escape(stem).replace("_", "[-_]") + r"([-_]v\d+)?\.(hdf5|h5)$")
    found = sorted(path for path in data.folder.iterdir() if pattern.match(path.name))
    chosen = [path for path in found if "v2." in path.name] or found
    if len(chosen) > 1:
        raise ValueError(
            f"{data.folder} has several files for {environment}-{tier}: "
            f"{', '.join(path.name for path in chosen)}; leave one of them in the folder"
        )
    return chosen[0] if chosen else None


def _missing_message(name: str, data: DataSource) -> str:
    file = "{}_{}".format(*parse_name(name)).replace("-", "_")
    if data.kind == "d4rl":
        return (
            f"{name}: no {file}-v2.hdf5 in {data.folder}. Fetch it with `make data DATA=d4rl`, "
            "or set D4RL_DATASET_DIR to the folder that has it"
        )
    if data.kind == "replica":
        return f"{name}: no {file}-v0.hdf5 in {data.folder}: the embedded replica is incomplete, clone again"
    joined = f", nor {file.replace('medium_expert', 'medium')} and its expert" if "medium_expert" in file else ""
    present = ", ".join(sorted(path.name for path in data.folder.glob("*.h*5"))) or "no HDF5 file"
    return f"{name}: no {file}-v2.hdf5{joined} in {data.folder} (it has {present}); rename or add the file"


def _checked_digest(path: Path, data: DataSource, cache: str | Path | None) -> str:
    """SHA-256 of a file. Raises :class:`DataFileError` when the manifest of the data source lists another digest."""
    digest = file_checksum(path, cache)
    if data.kind not in MANIFESTS:
        return digest
    manifest = data.folder / MANIFESTS[data.kind]
    listed = json.loads(manifest.read_text())["files"] if manifest.is_file() else {}
    if data.kind == "replica" and path.name not in listed:
        raise DataFileError(f"{path} is not listed in {manifest.name}; the embedded replica is incomplete, clone again")
    expected = listed.get(path.name, {}).get("sha256", digest)
    if expected != digest:
        raise DataFileError(
            f"{path} has SHA-256 {digest[:16]}..., {manifest.name} says {expected[:16]}...: it was changed or damaged. "
            "Restore it, or read a folder of your own with DATA=path:DIR"
        )
    return digest
