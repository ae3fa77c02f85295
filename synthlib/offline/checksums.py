"""The SHA-256 of a data file, cached on disk, because computing it reads every byte: seconds per GB."""

import contextlib
from pathlib import Path

from synthlib.machine.files import make_parents, read_json, write_json
from synthlib.offline.hdf5 import sha256_of

MEMORY = "checksums.json"  # {absolute path: {"bytes", "modified_ns", "inode", "sha256"}}


def file_checksum(path: Path, cache: str | Path | None = None) -> str:
    """Hex SHA-256 of a file's bytes.

    Without ``cache`` the file is read. With a ``cache`` folder, the digest is looked up in ``checksums.json`` there;
    a digest that had to be computed is added to it. A cached digest is valid while the file's absolute path, size,
    modification time (in nanoseconds) and inode are the same. So a change of the content that keeps all four goes
    unnoticed. When ``checksums.json`` is missing, damaged or cannot be written, only time is lost: the file is read.
    Raises OSError when the file itself cannot be read.
    """
    if cache is None:
        return sha256_of(path)
    memory, key = Path(cache) / MEMORY, str(path.absolute())
    stat = path.stat()
    facts = {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns, "inode": stat.st_ino}
    known = _remembered(memory)
    entry = known.get(key)
    if isinstance(entry, dict) and entry == facts | {"sha256": entry.get("sha256")} and _is_digest(entry["sha256"]):
        return entry["sha256"]
    digest = sha256_of(path)
    # Read the cache again: another process may have added its own files in the meantime.
    with contextlib.suppress(OSError):
        make_parents(memory)
        write_json(memory, _remembered(memory) | {key: facts | {"sha256": digest}})
    return digest


def _remembered(memory: Path) -> dict[str, object]:
    """The content of ``checksums.json``, {} when it is missing or damaged."""
    try:
        known = read_json(memory)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64
