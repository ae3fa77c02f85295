"""Read one HDF5 file in D4RL's layout; a file that cannot be right is refused in one sentence that says what to do.

A file holds its arrays itself: what a link, a virtual data set or external storage fetches from other files is
refused, because the file's checksum would not cover it. Attributes and ``metadata/*`` only describe the data: what
cannot be read there is left out, unless HDF5 would never come back from it (:mod:`synthlib.offline.heaps`).
:mod:`synthlib.offline.arrays` checks the arrays.
"""

import errno
import hashlib
import io
import math
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from synthlib.machine.files import write_atomically
from synthlib.offline.arrays import OPTIONAL, REQUIRED, check_arrays, with_final_observations
from synthlib.offline.arrays import DataFileError as DataFileError
from synthlib.offline.heaps import check_heaps

# The embedded files have this array instead of next_observations: the last next observation of each episode. Every
# other next observation is the next row.
FINAL = "infos/final_next_observations"
PHYSICS_STATES = ("infos/qpos", "infos/qvel")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NUMBERS = (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)  # HDF5's types whose values lie in no heap
_FORBIDDEN = "{} may not be read by this user; ask its owner for the right to read it"
_OF_THE_MACHINE = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV, errno.ENOTCONN, errno.EHOSTDOWN)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, all of which are read. :class:`DataFileError` when this user may not read it."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except PermissionError as error:
        raise DataFileError(_FORBIDDEN.format(path)) from error


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """An open ``h5py.File`` whose arrays of D4RL's layout lie in the file itself and were written to their end.

    Raises FileNotFoundError when there is no file. Raises :class:`DataFileError` when the file cannot be opened, when
    an array lies elsewhere, and when the file turns out to be damaged where the body of the ``with`` statement reads.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not path.is_file():
        raise DataFileError(f"{path} is no file but a folder or a device; put the HDF5 file itself there")
    try:
        with h5py.File(path, "r") as file:
            for name in (*REQUIRED, *OPTIONAL, FINAL, *PHYSICS_STATES):
                _check_array_is_here(path, file, name)
            yield file
    except Exception as error:
        if not _comes_from_h5py(error):
            raise
        raise DataFileError(_cause(path, error)) from error


def read_d4rl_file(
    path: Path, environment: str, names: Sequence[str] = REQUIRED + OPTIONAL
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """``(arrays, metadata)`` of one file: float32 arrays and bool flags, the ant's observations padded to width 111.

    Only the arrays in ``names`` are read; optional arrays that the file lacks are left out. ``metadata`` is the result
    of :func:`read_metadata`. Raises FileNotFoundError, and :class:`DataFileError` when the file or its content cannot
    be right (see :func:`open_hdf5` and :func:`synthlib.offline.arrays.check_arrays`).
    """
    with open_hdf5(path) as file:
        _check_names(path, file)
        arrays = {name: file[name][()] for name in names if name in file}
        compact = "next_observations" in names and "next_observations" not in file and FINAL in file
        final = file[FINAL][()] if compact else None
        metadata = _metadata(file)
    arrays = check_arrays(arrays, environment, path)
    return arrays if final is None else with_final_observations(arrays, final, environment, path), metadata


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a file, JSON types only: its attributes and the scalars of its ``metadata`` group.

    Reads no array. Raises FileNotFoundError, and :class:`DataFileError` when the file cannot be opened or lacks a
    required array.
    """
    with open_hdf5(path) as file:
        _check_names(path, file)
        return _metadata(file)


def write_d4rl_file(path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
    """Write arrays as compressed HDF5, atomically. A name may contain a group: ``infos/qpos``."""

    content = io.BytesIO()  # on a full disk, HDF5 itself may leave half a file and raise no error
    with h5py.File(content, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, compression="gzip", compression_opts=9, shuffle=True)
        file.attrs.update(attributes)
    write_atomically(path, lambda temporary: temporary.write_bytes(content.getbuffer()))


def compact(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a data set in less space: :data:`FINAL` replaces ``next_observations``; ``infos`` are dropped."""
    ends = np.flatnonzero(arrays["terminals"] | arrays["timeouts"])
    kept = {name: array for name, array in arrays.items() if name in REQUIRED or name == "timeouts"}
    return kept | {FINAL: arrays["next_observations"][ends]}


def _check_names(path: Path, file: h5py.File) -> None:
    """Raise :class:`DataFileError` when a required array is missing, with a hint for known other layouts."""
    missing = [name for name in REQUIRED if name not in file]
    if not missing:
        return
    names = sorted(map(_printable, file))
    hint = "D4RL's layout needs observations, actions, rewards, terminals (and timeouts, if there are any)"
    if any(name.startswith("episode_") for name in names):
        hint = "it looks like a Minari file: convert it with `python -m synthlib.offline.minari read`"
    elif "dones" in names:
        hint = "it has 'dones': split it into terminals (the episode ended) and timeouts (time ran out)"
    has = ", ".join(names[:20]) or "nothing"
    raise DataFileError(f"{path} lacks {', '.join(missing)}; it has {has}. {hint}")


def _check_array_is_here(path: Path, file: h5py.File, name: str) -> None:
    """Raise :class:`DataFileError` unless the file lacks ``name``, or has it as an array of its own, written whole.

    A link is not followed before it is known to stay in the file: it may lead to a device that never answers.
    """
    place: Any = file
    for part in name.split("/"):
        if not (isinstance(place, h5py.Group) and (link := _link(place, part))):
            return
        if link != "hard":
            raise DataFileError(f"{path}: {name} is only a link; write a file that holds the array itself")
        place = place[part]
    if not isinstance(place, h5py.Dataset) or place.shape is None:
        raise DataFileError(f"{path}: {name} is {'empty' if isinstance(place, h5py.Dataset) else 'no array'}")
    if place.is_virtual or place.external:
        raise DataFileError(f"{path}: {name} lies in other files; write a file that holds the array itself")
    if place.size and place.id.get_space_status() != h5py.h5d.SPACE_STATUS_ALLOCATED:
        raise DataFileError(f"{path}: {name} was not written to its end; make the file again")


def _comes_from_h5py(error: Exception) -> bool:
    """Whether h5py or HDF5 raised the error, and no code of this package."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").partition(".")[0] == "h5py" for frame, _ in frames)


def _cause(path: Path, error: Exception) -> str:
    """One sentence: what keeps HDF5 from reading a file, and what helps against this cause."""
    said, code = " ".join(str(error).split()), getattr(error, "errno", None)
    if "unable to lock file" in said and code not in (None, errno.EAGAIN, errno.EACCES):
        return f"{path} is on a disk that has no locks; set HDF5_USE_FILE_LOCKING=FALSE"
    if "unable to lock file" in said:
        return f"{path} is locked, because another program has it open for writing; close that program or wait for it"
    if "already open for write" in said:
        return f"{path} is being written, or its writer was killed; wait for the writer, or make the file again"
    if isinstance(error, PermissionError):
        return _FORBIDDEN.format(path)
    if isinstance(error, MemoryError):
        return f"{path} does not fit into the memory of this machine: {said}"
    if code in _OF_THE_MACHINE:
        return f"{path} cannot be read now: {os.strerror(code)}; when its disk or network is back, try again"
    if "filter" in said and ("not registered" in said or "not available" in said):
        return f"{path} is compressed in a way that HDF5 cannot undo here; write it with gzip (h5repack -f GZIP=4)"
    with open(path, "rb") as file:
        begin = file.read(40)
    what = f"{path} ({path.stat().st_size:,} bytes) cannot be read as HDF5"
    if begin.startswith(b"version https://git-lfs"):
        return f"{what}: it is a pointer of Git LFS; fetch the file itself with `git lfs pull`"
    if begin.lstrip().startswith(b"<"):
        return f"{what}: it is a web page, such as a server sends instead of a file; download it again"
    if "truncated file" in said or not begin:
        return f"{what}: its end is missing, as after an interrupted download or copy; fetch or make it again"
    if "signature" in said and not begin.startswith(_SIGNATURE):
        return f"{what}: it holds something else; fetch or make it again"
    return f"{what}: it is damaged ({said}); fetch or make it again"


def _metadata(file: h5py.File) -> dict[str, Any]:
    """The attributes of a file and the scalars of its ``metadata`` group, as far as they can be read."""
    found: dict[str, Any] = {}
    with _unless_damaged():
        for key in file.attrs:
            with _unless_damaged():
                if not isinstance(file.attrs.get_id(key).get_type(), _NUMBERS):
                    check_heaps(file.filename)
                found[_printable(key)] = _plain(file.attrs[key])
    with _unless_damaged():
        group = _own_member(file, "metadata")
        for key in group if isinstance(group, h5py.Group) else ():
            with _unless_damaged():
                item = _own_member(group, key)
                if isinstance(item, h5py.Dataset) and item.size == 1:
                    if not isinstance(item.id.get_type(), _NUMBERS):
                        check_heaps(file.filename)
                    found[_printable(key)] = _plain(item[()])
    return found


@contextmanager
def _unless_damaged() -> Iterator[None]:
    """A context that ends silently at an error of h5py."""
    try:
        yield
    except Exception as error:
        if not _comes_from_h5py(error):
            raise


def _own_member(group: h5py.Group, name: str | bytes) -> Any:
    """The member of a group, None when there is none or when it lies elsewhere."""
    item = group[name] if _link(group, name) == "hard" else None
    return None if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external) else item


def _link(group: h5py.Group, name: str | bytes) -> str | None:
    """How a group holds its member: "hard", or "other" for a soft or external link; None when it has no such member."""
    key = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    if not group.id.links.exists(key):
        return None
    return "hard" if group.id.links.get_info(key).type == h5py.h5l.TYPE_HARD else "other"


def _plain(value: Any) -> Any:
    """An HDF5 attribute or scalar in JSON types; what JSON has no type for becomes text."""
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, h5py.Empty):
        return None
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _printable(value)


def _printable(value: Any) -> str:
    """Text that can be printed anywhere: a file may hold any bytes as a name or a note."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return "".join(letter if letter.isprintable() or letter.isspace() else "?" for letter in text)
