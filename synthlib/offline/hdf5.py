"""One HDF5 file in D4RL's layout: read whole, checked, and refused with a sentence when it cannot be right.

Layout (faithfulness 7.2): flat arrays ``observations`` (N, O), ``actions`` (N, A), ``rewards`` (N,), ``terminals``
(N,), ``timeouts`` (N,), ``next_observations`` (N, O), with ``infos/*`` and ``metadata/*`` beside them. Other projects
write it with small differences; those that leave no doubt are accepted: rewards and flags of shape (N, 1), flags
stored as 0/1 numbers, no ``timeouts``, no ``next_observations``, an ant without its 84 zeros.
"""

import hashlib
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from synthlib.machine.files import write_atomically
from synthlib.tasks import DIMENSIONS, pad_observation

REQUIRED = ("observations", "actions", "rewards", "terminals")
OPTIONAL = ("timeouts", "next_observations")
FLAGS = ("terminals", "timeouts")
# Instead of next_observations, in the embedded files: only those that are not the next row, one for each episode.
FINAL = "infos/final_next_observations"
ACTION_LIMIT = 1.01  # the four tasks take actions in [-1, 1]; the slack is for float16 files


class DataFileError(ValueError):
    """A data file that cannot be used; the message names the file and what to do."""


def sha256_of(path):
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def open_hdf5(path):
    """An open ``h5py.File``; FileNotFoundError or :class:`DataFileError` when it is missing, truncated or no HDF5."""
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


def read_d4rl_file(path, environment, names=REQUIRED + OPTIONAL):
    """``(arrays, metadata)`` of one file: float32 arrays and bool flags, ant observations padded to 111.

    ``names`` limits what is read; optional arrays that the file lacks are left out. ``metadata`` holds the file's
    attributes and the scalars of its ``metadata`` group. Raises FileNotFoundError and :class:`DataFileError`.
    """
    with open_hdf5(path) as file:
        _check_names(path, file)
        arrays = {name: file[name][()] for name in names if name in file}
        if "next_observations" in names and FINAL in file:
            arrays["next_observations"] = _shifted(file)
        metadata = {key: _plain(value) for key, value in file.attrs.items()}
        if isinstance(file.get("metadata"), h5py.Group):
            scalars = {key: item for key, item in file["metadata"].items() if isinstance(item, h5py.Dataset)}
            metadata |= {key: _plain(item[()]) for key, item in scalars.items() if item.size == 1}
    return check_arrays(arrays, environment, path), metadata


def write_d4rl_file(path, arrays, attributes):
    """Write arrays (names may have a group, ``infos/qpos``) as compressed HDF5, whole or not at all."""

    def write(temporary):
        with h5py.File(temporary, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, compression="gzip", compression_opts=9, shuffle=True)
            file.attrs.update(attributes)

    write_atomically(path, write)


def compact(arrays):
    """The arrays without ``infos`` and with :data:`FINAL` for ``next_observations``; nothing else is lost."""
    ends = np.flatnonzero(arrays["terminals"] | arrays["timeouts"])
    kept = {name: array for name, array in arrays.items() if name in REQUIRED or name == "timeouts"}
    return kept | {FINAL: arrays["next_observations"][ends]}


def check_arrays(arrays, environment, where):
    """The arrays in their standard shapes and types; :class:`DataFileError` naming ``where`` if they make no sense."""
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


def _shifted(file):
    """``next_observations`` of a compact file: the next row, and at episode ends what :data:`FINAL` says."""
    following = np.roll(file["observations"][()], -1, axis=0)
    following[np.flatnonzero(file["terminals"][()] | file["timeouts"][()])] = file[FINAL][()]
    return following


def _check_names(path, file):
    missing = [name for name in REQUIRED if not isinstance(file.get(name), h5py.Dataset)]
    if not missing:
        return
    hint = "D4RL's layout needs observations, actions, rewards, terminals (and timeouts, if there are any)"
    if any(name.startswith("episode_") for name in file):
        hint = "it looks like a Minari file: convert it with `python -m synthlib.offline.minari read`"
    elif "dones" in file:
        hint = "it has 'dones': split it into terminals (the episode ended) and timeouts (time ran out)"
    raise DataFileError(f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(file)) or 'nothing'}. {hint}")


def _standard_shape(name, array, where):
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


def _with_width(name, array, environment, where):
    try:
        return pad_observation(environment, array)
    except ValueError:
        wanted = DIMENSIONS[environment][0]
        raise DataFileError(_wrong_width(name, array, environment, wanted, where)) from None


def _wrong_width(name, array, environment, wanted, where):
    also = " (or 27, without the zeros)" if environment == "ant" and name != "actions" else ""
    return (
        f"{where}: {name} have width {array.shape[1]}, {environment} has {wanted}{also}; "
        "is it the file of another environment or version?"
    )


def _check_finite(name, array, where):
    bad = ~np.isfinite(array)
    if bad.any():
        rows = np.flatnonzero(bad.reshape(len(array), -1).any(axis=1))
        raise DataFileError(
            f"{where}: {name} hold NaN or infinity in {len(rows)} rows (first: {rows[0]}); fetch or make it again"
        )


def _plain(value):
    """An HDF5 attribute or scalar as a plain Python value."""
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
