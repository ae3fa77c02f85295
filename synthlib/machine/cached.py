"""Arrays that are made once and kept on disk: with checksums, which are held against them when they are read.

An array file that is damaged is named, set aside and made again. Where this user may not write, what is there is read,
and what is not there is made in memory.
"""

import contextlib
import hashlib
import json
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from synthlib.machine.files import make_folder, make_parents, may_not_write, remove, set_aside, write_atomically

SUMS = "sha256.json"  # {file name: SHA-256 of its content}
_METADATA = "metadata.json"
Arrays = Mapping[str, np.ndarray]
_good: dict[Path, tuple[tuple[int, int, int], str]] = {}


class _FromBefore(ValueError):
    """A folder of code that kept no checksums."""


def kept_arrays(path: Path, make: Callable[[], Arrays]) -> dict[str, np.ndarray]:
    """The arrays that ``make()`` returns, kept in the file ``path`` (.npz, whose parts have a CRC-32 each)."""
    if path.exists():
        try:
            with np.load(path) as columns:
                return {name: columns[name] for name in columns.files}
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, NotImplementedError) as error:
            _retire(path, error)
    arrays = dict(make())
    try:
        make_parents(path)
        write_atomically(path, lambda temporary: _save_npz(temporary, arrays))
    except OSError as error:
        if not may_not_write(error):
            raise
    return arrays


def mapped_arrays(folder: Path, make: Callable[[], tuple[Arrays, Any]]) -> tuple[dict[str, np.ndarray], Any]:
    """(arrays, metadata) that ``make()`` returns, kept in ``folder`` and memory-mapped from there.

    Every file is read once per process, to check it. A folder from before checksums were kept is made again where this
    user may, and otherwise taken as it is.
    """
    for _ in range(2):
        if folder.is_dir():
            try:
                _check_sums(folder)
                arrays = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
                return arrays, json.loads((folder / _METADATA).read_text())
            except _FromBefore:
                with contextlib.suppress(FileNotFoundError):  # another process has done so
                    remove(set_aside(folder))
            except (ValueError, EOFError, FileNotFoundError) as error:
                _retire(folder, error)
        made = make()
        if folder.is_dir():  # damaged, and not to be replaced by this user
            return dict(made[0]), json.loads(json.dumps(made[1]))
        try:
            make_folder(folder, partial(_save_mapped, made=made))
        except OSError as error:
            if not may_not_write(error):
                raise
            return dict(made[0]), json.loads(json.dumps(made[1]))
    raise OSError(f"{folder} is damaged as soon as it is written: the disk or the memory is faulty")


def damage_in_folder(folder: Path) -> str:
    """What is wrong with a folder of :func:`mapped_arrays`; "" when nothing is."""
    try:
        _check_sums(folder)
        json.loads((folder / _METADATA).read_text())
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    return ""


def damage_in_npz(path: Path) -> str:
    """What is wrong with a file of :func:`kept_arrays`; "" when nothing is."""
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError) as error:
        return str(error)
    return f"{part} does not have its checksum" if part else ""


def _check_sums(folder: Path) -> None:
    """Raise ValueError, FileNotFoundError unless every file has the SHA-256 that is kept of it."""
    sums = folder / SUMS
    if not sums.exists():
        if os.access(folder.parent, os.W_OK):
            raise _FromBefore("it is from before checksums were kept")
        return
    for name, digest in json.loads(sums.read_text()).items():
        if _digest(folder / name) != digest:
            raise ValueError(f"{name} does not have its checksum")


def _digest(path: Path) -> str:
    stat = path.stat()
    key = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if _good.get(path, (None, ""))[0] != key:
        with open(path, "rb") as file:
            _good[path] = key, hashlib.file_digest(file, "sha256").hexdigest()
    return _good[path][1]


def _retire(path: Path, error: Exception) -> None:
    """Name a damaged file or folder and set it aside, where this user may."""
    what = f"{path} cannot be used ({error})"
    try:
        print(f"{what}; kept as {set_aside(path).name}, it is made again", file=sys.stderr)
    except FileNotFoundError:  # another process has done so
        pass
    except OSError as denied:
        if not may_not_write(denied):
            raise
        print(f"{what}, and this user may not replace it: it is made in memory", file=sys.stderr)


def _save_npz(path: Path, arrays: Arrays) -> None:
    with open(path, "wb") as file:  # to a path without the ending .npz, np.savez would add the ending
        np.savez(file, allow_pickle=False, **arrays)


def _save_mapped(folder: Path, made: tuple[Arrays, Any]) -> None:
    arrays, metadata = made
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / _METADATA).write_text(json.dumps(metadata))
    sums = {path.name: _digest(path) for path in sorted(folder.iterdir())}
    (folder / SUMS).write_text(json.dumps(sums, indent=1) + "\n")
