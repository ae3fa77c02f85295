"""What a generator of one's own has returned: checked, in one sentence, before anything trains on it."""

from typing import Any, NamedTuple

import numpy as np

from synthlib.generators.mdp import IndexTransitions


class VectorTransitions(NamedTuple):
    """Transitions as vectors, float32 each; S and A are the widths of observation and action."""

    observations: np.ndarray  # (M, S)
    actions: np.ndarray  # (M, A)
    next_observations: np.ndarray  # (M, S)


def check_tokens(name: str, found: Any, sequences: int, length: int, vocabulary: int) -> np.ndarray:
    """``found`` as int32 (sequences, length). Raises ValueError unless it holds integers from 0 to vocabulary - 1."""
    tokens = _array(name, "tokens", found)
    if tokens.dtype.kind not in "iu":
        raise ValueError(f"{name} must return integers, not {tokens.dtype}")
    _check_shape(name, "tokens", tokens, (sequences, length))
    if tokens.min() < 0 or tokens.max() >= vocabulary:
        raise ValueError(
            f"{name} must return tokens from 0 to {vocabulary - 1} (its vocabulary is {vocabulary}); "
            f"it has {tokens.min()} to {tokens.max()}"
        )
    return tokens.astype(np.int32)


def check_transitions(
    name: str, found: Any, transitions: int, observation_width: int, action_width: int
) -> IndexTransitions | VectorTransitions:
    """``found`` as transitions of numbers or of vectors. Raises ValueError unless it holds either."""
    if not isinstance(found, (tuple, list)) or len(found) != 3:
        raise ValueError(f"{name} must return three arrays: observations, actions, next observations")
    names = VectorTransitions._fields
    columns = [_array(name, column, one) for column, one in zip(names, found, strict=True)]
    if all(column.dtype.kind in "iu" for column in columns):
        for label, column in zip(names, columns, strict=True):
            _check_shape(name, label, column, (transitions,))
            if column.min() < 0:
                raise ValueError(f"{name} must number states and actions from 0 on; {label} has {column.min()}")
        return IndexTransitions(*(column.astype(np.int64) for column in columns))
    for label, column, width in zip(names, columns, (observation_width, action_width, observation_width), strict=True):
        if column.dtype.kind != "f":
            raise ValueError(f"{name} must return floats in all three arrays, or integers; {label} is {column.dtype}")
        _check_shape(name, label, column, (transitions, width))
        if not np.isfinite(column).all():
            raise ValueError(f"{name} must return finite numbers; {label} has not-a-number or infinity")
    return VectorTransitions(*(column.astype(np.float32) for column in columns))


def same(first: Any, second: Any) -> bool:
    """Whether two checked outputs are equal."""
    if isinstance(first, tuple):
        return all(map(np.array_equal, first, second))
    return np.array_equal(first, second)


def _array(name: str, label: str, found: Any) -> np.ndarray:
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{name} must return NumPy arrays; {label} is a {type(found).__name__}")
    return found


def _check_shape(name: str, label: str, column: np.ndarray, wanted: tuple[int, ...]) -> None:
    if column.shape != wanted:
        raise ValueError(f"{name}: {label} must have shape {wanted}, not {column.shape}")
