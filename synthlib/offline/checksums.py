"""The SHA-256 of a data file, remembered on disk: to measure it, every byte is read, which takes seconds per GB."""

import contextlib
from pathlib import Path

from synthlib.machine.files import read_json, write_json
from synthlib.offline.hdf5 import sha256_of

MEMORY = "checksums.json"  # {absolute path: {"bytes", "modified_ns", "inode", "sha256"}}


def file_checksum(path: Path, cache: str | Path | None = None) -> str:
    """Hex SHA-256 of a file's bytes.

    Without ``cache`` the file is read. With a ``cache`` folder the digest is looked up in the memory there, and noted
    in it after it was measured. A remembered digest counts while the file's absolute path, size, modification time (in
    nanoseconds) and inode are the same; so a change of the content that keeps all four goes unnoticed. A memory that is
    missing, damaged or cannot be written costs time only: the file is read. Raises OSError when that fails.
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
    # Read again: another process may have noted its own files in the meantime.
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_json(memory, _remembered(memory) | {key: facts | {"sha256": digest}})
    return digest


def _remembered(memory: Path) -> dict[str, object]:
    """What the memory holds, {} when it is missing or damaged."""
    try:
        known = read_json(memory)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64
