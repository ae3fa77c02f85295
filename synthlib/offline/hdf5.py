"""Read and check one HDF5 file in D4RL's layout; a file that cannot be right is refused with a clear message.

Layout (faithfulness 7.2): flat arrays ``observations`` (N, O), ``actions`` (N, A), ``rewards`` (N,), ``terminals``
(N,), ``timeouts`` (N,), ``next_observations`` (N, O), and beside them ``infos/*`` and ``metadata/*``. Other projects
write this layout with small differences. Differences whose meaning is beyond doubt are accepted: rewards and flags of
shape (N, 1), flags stored as 0/1 numbers, no ``timeouts``, no ``next_observations``, an ant without its 84 zeros.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from synthlib.machine.files import write_atomically
from synthlib.tasks import DIMENSIONS, pad_observation

REQUIRED = ("observations", "actions", "rewards", "terminals")
OPTIONAL = ("timeouts", "next_observations")
FLAGS = ("terminals", "timeouts")
# The embedded files have this array instead of next_observations: the last next observation of each episode. Every
# other next observation is the next row.
FINAL = "infos/final_next_observations"
ACTION_LIMIT = 1.01  # the four tasks take actions in [-1, 1]; the slack is for float16 files


class DataFileError(ValueError):
    """A data file cannot be used; the message names the file and what to do."""


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, all of which are read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """An open ``h5py.File``.

    Raises FileNotFoundError when there is no file, and :class:`DataFileError` when the file is no HDF5 file, or is
    truncated or damaged where the body of the ``with`` statement reads it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        size = Path(path).stat().st_size
        raise DataFileError(
            f"{path} ({size:,} bytes) cannot be read as HDF5, probably an interrupted download or copy: {error}. "
            "Delete it and fetch or make it again"
        ) from error


def read_d4rl_file(
    path: Path, environment: str, names: Sequence[str] = REQUIRED + OPTIONAL
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """``(arrays, metadata)`` of one file: float32 arrays and bool flags, the ant's observations padded to width 111.

    Only the arrays in ``names`` are read; optional arrays that the file lacks are left out. ``metadata`` is the result
    of :func:`read_metadata`. Raises FileNotFoundError, and :class:`DataFileError` when the file or its content cannot
    be right (see :func:`check_arrays`).
    """
    with open_hdf5(path) as file:
        _check_names(path, file)
        arrays = {name: file[name][()] for name in names if name in file}
        if "next_observations" in names and FINAL in file:
            arrays["next_observations"] = _shifted(file)
        metadata = _metadata(file)
    return check_arrays(arrays, environment, path), metadata


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a file: its attributes and the scalars of its ``metadata`` group. Reads no array.

    Raises FileNotFoundError, and :class:`DataFileError` when the file cannot be opened or lacks a required array.
    """
    with open_hdf5(path) as file:
        _check_names(path, file)
        return _metadata(file)


def write_d4rl_file(path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
    """Write arrays as compressed HDF5, atomically. A name may contain a group: ``infos/qpos``."""

    def write(temporary: Path) -> None:
        with h5py.File(temporary, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, compression="gzip", compression_opts=9, shuffle=True)
            file.attrs.update(attributes)

    write_atomically(path, write)


def compact(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a data set in less space: :data:`FINAL` replaces ``next_observations``; ``infos`` are dropped."""
    ends = np.flatnonzero(arrays["terminals"] | arrays["timeouts"])
    kept = {name: array for name, array in arrays.items() if name in REQUIRED or name == "timeouts"}
    return kept | {FINAL: arrays["next_observations"][ends]}


def check_arrays(arrays: Mapping[str, np.ndarray], environment: str, where: str | Path) -> dict[str, np.ndarray]:
    """The arrays in their standard shapes and types: (N, O), (N, A) and (N,), float32, flags bool.

    Raises :class:`DataFileError`, whose message begins with ``where``, when lengths differ, there are fewer than 2
    transitions, a width is not the environment's, a number is NaN or infinite, a flag is not 0 or 1, or an action is
    outside [-1, 1].
    """
    arrays = {name: _standard_shape(name, array, where) for name, array in arrays.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise DataFileError(f"{where}: arrays differ in length: {lengths}; the file is damaged or was cut by hand")
    if lengths["rewards"] < 2:
        raise DataFileError(f"{where} holds {lengths['rewards']} transitions; at least 2 are needed")
    for name in ("observations", "next_observations"):
        if name in arrays:
            arrays[name] = _with_width(name, arrays[name], environment, where)
    wanted = DIMENSIONS[environment][1]
    if arrays["actions"].shape[1] != wanted:
        raise DataFileError(_wrong_width("actions", arrays["actions"], environment, wanted, where))
    for name, array in arrays.items():
        if name not in FLAGS:
            _check_finite(name, array, where)
    largest = max(arrays["actions"].max(), -arrays["actions"].min())
    if largest > ACTION_LIMIT:
        raise DataFileError(f"{where}: actions reach {largest:.3g}, but they must lie in [-1, 1]; rescale them first")
    return arrays


def _metadata(file: h5py.File) -> dict[str, Any]:
    found = {key: _plain(value) for key, value in file.attrs.items()}
    group = file.get("metadata")
    if isinstance(group, h5py.Group):
        scalars = {key: item for key, item in group.items() if isinstance(item, h5py.Dataset) and item.size == 1}
        found |= {key: _plain(item[()]) for key, item in scalars.items()}
    return found


def _shifted(file: h5py.File) -> np.ndarray:
    """``next_observations`` (N, O) of a compact file: the next rows, and at episode ends the rows of :data:`FINAL`."""
    following = np.roll(file["observations"][()], -1, axis=0)
    following[np.flatnonzero(file["terminals"][()] | file["timeouts"][()])] = file[FINAL][()]
    return following


def _check_names(path: Path, file: h5py.File) -> None:
    """Raise :class:`DataFileError` when a required array is missing, with a hint for known other layouts."""
    missing = [name for name in REQUIRED if not isinstance(file.get(name), h5py.Dataset)]
    if not missing:
        return
    hint = "D4RL's layout needs observations, actions, rewards, terminals (and timeouts, if there are any)"
    if any(name.startswith("episode_") for name in file):
        hint = "it looks like a Minari file: convert it with `python -m synthlib.offline.minari read`"
    elif "dones" in file:
        hint = "it has 'dones': split it into terminals (the episode ended) and timeouts (time ran out)"
    raise DataFileError(f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(file)) or 'nothing'}. {hint}")


def _standard_shape(name: str, array: np.ndarray, where: str | Path) -> np.ndarray:
    """An array as float32 or bool, flags and rewards as (N,). DataFileError for a wrong shape or type."""
    if name in ("observations", "next_observations", "actions"):
        if array.ndim != 2 or array.dtype.kind not in "fiu":
            raise DataFileError(f"{where}: {name} is {array.dtype} of shape {array.shape}, not real numbers (N, width)")
        return np.ascontiguousarray(array, dtype=np.float32)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]  # some old D4RL files
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        raise DataFileError(f"{where}: {name} is {array.dtype} of shape {array.shape}, not numbers of shape (N,)")
    if name not in FLAGS:
        return np.ascontiguousarray(array, dtype=np.float32)
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise DataFileError(f"{where}: {name} must be 0 or 1; row {np.argmin(np.isin(array, (0, 1)))} is not")
    return np.ascontiguousarray(array, dtype=bool)


def _with_width(name: str, array: np.ndarray, environment: str, where: str | Path) -> np.ndarray:
    """Observations (N, O), the ant's padded. Raises :class:`DataFileError` for the width of another environment."""
    try:
        return pad_observation(environment, array)
    except ValueError:
        wanted = DIMENSIONS[environment][0]
        raise DataFileError(_wrong_width(name, array, environment, wanted, where)) from None


def _wrong_width(name: str, array: np.ndarray, environment: str, wanted: int, where: str | Path) -> str:
    also = " (or 27, without the zeros)" if environment == "ant" and name != "actions" else ""
    return (
        f"{where}: {name} have width {array.shape[1]}, {environment} has {wanted}{also}; "
        "is it the file of another environment or version?"
    )


def _check_finite(name: str, array: np.ndarray, where: str | Path) -> None:
    bad = ~np.isfinite(array)
    if bad.any():
        rows = np.flatnonzero(bad.reshape(len(array), -1).any(axis=1))
        raise DataFileError(
            f"{where}: {name} hold NaN or infinity in {len(rows)} rows (first: {rows[0]}); fetch or make it again"
        )


def _plain(value: Any) -> Any:
    """An HDF5 attribute or scalar as a plain Python value."""
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
