"""Check the arrays of a data file in D4RL's layout, and bring them into their standard shapes and types.

Layout (faithfulness 7.2): flat arrays ``observations`` (N, O), ``actions`` (N, A), ``rewards`` (N,), ``terminals``
(N,), ``timeouts`` (N,) and ``next_observations`` (N, O). Other projects write this layout with small differences.
Differences whose meaning is beyond doubt are accepted: rewards and flags of shape (N, 1), flags stored as 0/1 numbers,
no ``timeouts``, no ``next_observations``, an ant without its 84 zeros, actions before MuJoCo has clipped them.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from synthlib.tasks import DIMENSIONS, pad_observation

REQUIRED = ("observations", "actions", "rewards", "terminals")
OPTIONAL = ("timeouts", "next_observations")
FLAGS = ("terminals", "timeouts")
ACTION_LIMIT = 1.01  # the four tasks take actions in [-1, 1]; the slack is for float16 files
MOSTLY = 0.9  # the actions of a Gaussian policy may leave [-1, 1] often, but not in more than this share of numbers
LARGEST = 1e10  # MuJoCo's mjMAXVAL: a simulation that reaches it has failed. Squares of it are far from overflow


class DataFileError(ValueError):
    """A data file cannot be used; the message names the file and what to do."""


def check_arrays(arrays: Mapping[str, np.ndarray], environment: str, where: str | Path) -> dict[str, np.ndarray]:
    """The arrays in their standard shapes and types: (N, O), (N, A) and (N,), float32, flags bool.

    Raises :class:`DataFileError`, whose message begins with ``where``, when lengths differ, there are fewer than 2
    transitions, a width is not the environment's, a number is NaN, infinite or beyond :data:`LARGEST`, a flag is not 0
    or 1, or nearly all actions are outside [-1, 1]. See :func:`clip_actions` for fewer of them.
    """
    arrays = {name: _with_shape(name, array, where) for name, array in arrays.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise DataFileError(f"{where}: arrays differ in length: {lengths}; the file is damaged or was cut by hand")
    if lengths["rewards"] < 2:
        raise DataFileError(f"{where} holds {lengths['rewards']} transitions; at least 2 are needed")
    for name, array in arrays.items():
        if name in FLAGS:
            arrays[name] = _flags(name, array, where)
        else:
            arrays[name] = _numbers(name, array, environment, where)
    outside = np.abs(arrays["actions"]) > ACTION_LIMIT
    if outside.mean() > MOSTLY:
        raise DataFileError(
            f"{where}: {100 * outside.mean():.0f} % of the numbers in actions are outside [-1, 1], the largest is "
            f"{np.abs(arrays['actions']).max():.3g}: they have another scale than MuJoCo's, rescale them"
        )
    return arrays


def clip_actions(actions: np.ndarray) -> np.ndarray:
    """Actions in [-1, 1], as MuJoCo clips them when it plays them; the same array when none exceeds the limit.

    A Gaussian policy draws actions outside, and other projects record them as drawn.
    """
    return np.clip(actions, -1, 1) if np.abs(actions).max() > ACTION_LIMIT else actions


def with_final_observations(
    arrays: Mapping[str, np.ndarray], final: np.ndarray, environment: str, where: str | Path
) -> dict[str, np.ndarray]:
    """Checked arrays with ``next_observations`` (N, O): the next rows, and ``final`` (E, O) after the E episode ends.

    Raises :class:`DataFileError` when ``final`` does not fit the arrays, or when the last row ends no episode, so that
    the observation after it is nowhere.
    """
    final = _numbers("final next observations", _with_shape("observations", final, where), environment, where)
    ends = arrays["terminals"] | arrays.get("timeouts", np.False_)
    if len(final) != np.count_nonzero(ends) or not ends[-1]:
        raise DataFileError(
            f"{where} holds {len(final)} final next observations, but {np.count_nonzero(ends)} rows end an episode, "
            f"and the last row is {'one' if ends[-1] else 'none'} of them; the file was cut, make it again"
        )
    following = np.roll(arrays["observations"], -1, axis=0)
    following[ends] = final
    return {**arrays, "next_observations": following}


def _with_shape(name: str, array: np.ndarray, where: str | Path) -> np.ndarray:
    """An array of real numbers, (N, width) or (N,). Raises :class:`DataFileError` for another shape or type."""
    flat = name not in ("observations", "next_observations", "actions")
    if flat and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]  # some old D4RL files
    wanted = "numbers of shape (N,)" if flat else "real numbers (N, width)"
    if array.ndim != (1 if flat else 2) or array.dtype.kind not in ("fiub" if flat else "fiu"):
        raise DataFileError(f"{where}: {name} is {array.dtype} of shape {array.shape}, not {wanted}")
    return array


def _flags(name: str, array: np.ndarray, where: str | Path) -> np.ndarray:
    """Flags as bool. Raises :class:`DataFileError` when one is neither 0 nor 1."""
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise DataFileError(f"{where}: {name} must be 0 or 1; row {np.argmin(np.isin(array, (0, 1)))} is not")
    return np.ascontiguousarray(array, dtype=bool)


def _numbers(name: str, array: np.ndarray, environment: str, where: str | Path) -> np.ndarray:
    """Numbers as float32, the ant's observations padded. Raises :class:`DataFileError` for what cannot be right."""
    _check_size(name, array, where)
    array = np.ascontiguousarray(array, dtype=np.float32)
    if name == "rewards":
        return array
    observed, acted = DIMENSIONS[environment]
    wanted = acted if name == "actions" else observed
    try:
        if name != "actions":
            array = pad_observation(environment, array)
        if array.shape[1] == wanted:
            return array
    except ValueError:
        pass
    also = " (or 27, without the zeros)" if environment == "ant" and name != "actions" else ""
    raise DataFileError(
        f"{where}: {name} have width {array.shape[1]}, {environment} has {wanted}{also}; "
        "is it the file of another environment or version?"
    )


def _check_size(name: str, array: np.ndarray, where: str | Path) -> None:
    """Raise :class:`DataFileError` when a number is NaN, infinite or larger than any simulation can give."""
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if low >= -LARGEST and high <= LARGEST:  # not where one of them is NaN
        return
    bad = ~np.isfinite(array)
    what = "hold NaN or infinity"
    if not bad.any():
        bad, what = np.abs(array) > LARGEST, f"reach {max(high, -low):.3g}, beyond MuJoCo's own limit of {LARGEST:g},"
    rows = np.flatnonzero(bad.reshape(len(array), -1).any(axis=1))
    raise DataFileError(f"{where}: {name} {what} in {len(rows)} rows (first: {rows[0]}); fetch or make it again")
