"""Where the files of the data sets are, and the checksum of their content.

A data source is ``replica`` (embedded: D4RL's recipe with behaviour policies trained by this project), ``d4rl`` (the
official v2 files in ``D4RL_DATASET_DIR``, known by their SHA-256) or ``path:DIR`` (any folder of files in D4RL's
layout). A replica is labelled as a replica everywhere: its scores are not comparable with the paper's cells.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from synthlib.offline.checksums import file_checksum
from synthlib.offline.hdf5 import DataFileError
from synthlib.offline.official import file_name, official_checksum
from synthlib.paths import absolute, from_environment
from synthlib.robots import check_returns
from synthlib.tasks import D4RL_DATASETS, ENVIRONMENTS, in_data_order, parse_name

REPLICA_FOLDER = Path(__file__).parents[1] / "data"
MANIFEST = "manifest.json"  # the SHA-256 of each file of the replica: {"files": {name: {"sha256": ...}}}
DIGITS = 8  # of a checksum, where it is shown to a person
_ENDING = r"(?:[-_]v\d+)?\.(?:hdf5|h5)"
_OWN_FILE = re.compile(rf"({'|'.join(ENVIRONMENTS)})[-_](own(?:[-_][a-z0-9]+)*?){_ENDING}")


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
    file = _file_of(name, data)
    if file:
        return (file,)
    if tier == "medium-expert":
        medium, expert = (_file_of(f"{environment}-{part}", data) for part in ("medium", "expert"))
        if medium and expert:
            return medium, expert
    raise FileNotFoundError(_missing_message(name, data))


def files_with_facts(name: str, data: str | DataSource) -> tuple[Path, ...]:
    """The files of a data set, and the small file beside them that has its reference returns, if there is one."""
    facts = _facts_file(name, parse_source(data))
    return (*find_files(name, data), *([facts] if facts is not None else []))


def data_sets_there(data: str | DataSource) -> list[str]:
    """The data sets that a data source has, in the order of tables: D4RL's names, then those of the user's own.

    A name with several files, or with a damaged one, is among them: loading it is an error. Data of a robot of the
    user's own are not, since the file's name does not say whose robot it is. Raises ValueError for an unknown source.
    """
    data = parse_source(data)
    own = (_OWN_FILE.fullmatch(path.name) for path in data.folder.iterdir()) if data.kind == "path" else ()
    names = {f"{found[1]}-{found[2].replace('_', '-')}" for found in own if found}
    return [name for name in in_data_order({*D4RL_DATASETS, *names}) if _is_there(name, data)]


def unnamed_files(data: str | DataSource) -> list[str]:
    """Names of the HDF5 files in a folder of the user's own that no data set in :func:`data_sets_there` has."""
    data = parse_source(data)
    if data.kind != "path":
        return []
    patterns = [_file_pattern(name) for name in data_sets_there(data)]
    files = (path.name for path in data.folder.iterdir() if path.suffix in (".hdf5", ".h5"))
    return sorted(name for name in files if not any(pattern.fullmatch(name) for pattern in patterns))


def _is_there(name: str, data: DataSource) -> bool:
    try:
        return bool(find_files(name, data))
    except FileNotFoundError:
        return False
    except ValueError:  # several files
        return True


def reference_returns(name: str, data: str | DataSource | None) -> tuple[float, float] | None:
    """The raw returns that score 0 and 100 on a data set, from the small file beside the data; None without one.

    The file of ``hopper_own.hdf5`` is ``hopper_own.yaml``, with ``reference_returns: [low, high]``. Only a folder of
    the user's own has such files. Raises ValueError for a file that says something else.
    """
    path = None if data is None else _facts_file(name, parse_source(data))
    if path is None:
        return None
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or facts.keys() != {"reference_returns"}:
            raise ValueError("it must say reference_returns: [low, high], and nothing else")
        return check_returns(facts["reference_returns"])
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _facts_file(name: str, data: DataSource) -> Path | None:
    if data.kind != "path":
        return None
    path = data.folder / f"{_stem(name)}.yaml"
    return path if path.is_file() else None


def checksum(name: str, data: str | DataSource = "replica", cache: str | Path | None = None) -> str:
    """Hex SHA-256 of a data set's content, without loading it.

    This is the digest of its file. For two joined files it is the digest of their two hex digests, one after the other.
    With a ``cache`` folder the digests of unchanged files are cached there
    (:func:`synthlib.offline.checksums.file_checksum`); without, every byte is read. Raises the errors of
    :func:`find_files`, and :class:`DataFileError` when a file is not the one that D4RL or the replica's manifest lists.
    """
    data = parse_source(data)
    return _joined([_checked_digest(path, data, cache) for path in find_files(name, data)])


def folder_suffix(data: str | DataSource, checksums: Sequence[str]) -> str:
    """What the name of an output folder ends with, so that it says on which data its runs were trained.

    ``checksums``: of the data sets. The result is "" for the replica, "-d4rl", or "-path-" and the first digits of the
    checksum: of the only data set, or of all checksums one after the other.
    """
    kind = parse_source(data).kind
    if kind == "path":
        return f"-path-{_joined(checksums)[:DIGITS]}"
    return "" if kind == "replica" else f"-{kind}"


def _joined(digests: Sequence[str]) -> str:
    """The only digest, or the digest of several hex digests, one after the other."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _file_of(name: str, data: DataSource) -> Path | None:
    """The one file of a data set in the data source's folder, or None."""
    stem = _stem(name)
    version = {"replica": "v0", "d4rl": "v2"}.get(data.kind)
    if version:
        path = data.folder / f"{stem}-{version}.hdf5"
        return path if path.is_file() else None
    pattern = _file_pattern(name)
    found = sorted(path for path in data.folder.iterdir() if pattern.fullmatch(path.name) and path.is_file())
    chosen = [path for path in found if "v2." in path.name] or found
    if len(chosen) > 1:
        raise ValueError(
            f"{data.folder} has several files for {name}: "
            f"{', '.join(path.name for path in chosen)}; leave one of them in the folder"
        )
    return chosen[0] if chosen else None


def _file_pattern(name: str) -> re.Pattern[str]:
    """What a file of the user's own may be called: others write hyphens for underscores, no version, or .h5."""
    return re.compile(re.escape(_stem(name)).replace("_", "[-_]") + _ENDING)


def _stem(name: str) -> str:
    """The name of a data set's file without version and ending: ``hopper_medium_expert``."""
    return file_name(name).removesuffix("-v2.hdf5")


def _missing_message(name: str, data: DataSource) -> str:
    file = _stem(name)
    if data.kind == "d4rl":
        return (
            f"{name}: no {file}-v2.hdf5 in {data.folder}. Fetch it with `make data DATA=d4rl`, "
            "or set D4RL_DATASET_DIR to the folder that has it"
        )
    if data.kind == "replica":
        if parse_name(name)[1] in ("random", "full-replay"):
            return f"{name}: the replica has no such tier; it has medium-expert, medium-replay, medium and expert"
        return f"{name}: no {file}-v0.hdf5 in {data.folder}: the embedded replica is incomplete, clone again"
    joined = f", nor {file.replace('medium_expert', 'medium')} and its expert" if "medium_expert" in file else ""
    present = ", ".join(sorted(path.name for path in data.folder.glob("*.h*5"))) or "no HDF5 file"
    return f"{name}: no {file}-v2.hdf5{joined} in {data.folder} (it has {present}); rename or add the file"


def _checked_digest(path: Path, data: DataSource, cache: str | Path | None) -> str:
    """SHA-256 of a file. Raises :class:`DataFileError` when the file should have another one."""
    if data.kind == "d4rl":
        return official_checksum(path, cache)
    digest = file_checksum(path, cache)
    if data.kind == "path":
        return digest
    manifest = data.folder / MANIFEST
    listed = json.loads(manifest.read_text())["files"] if manifest.is_file() else {}
    if path.name not in listed:
        raise DataFileError(f"{path} is not listed in {manifest.name}; the embedded replica is incomplete, clone again")
    expected = listed[path.name]["sha256"]
    if expected != digest:
        raise DataFileError(
            f"{path} has SHA-256 {digest[:16]}..., {manifest.name} says {expected[:16]}...: it was changed or damaged. "
            "Restore it, or read a folder of your own with DATA=path:DIR"
        )
    return digest
