"""Where the episodes of a file end, and whether its flags can be believed.

Both trainings read rows in the order of collection: CQL takes the next row as the next state, as D4RL's own conversion
does (faithfulness 7.5), and the Decision Transformer reads whole episodes. So ``terminals`` or ``timeouts`` must mark
every row that is not followed by its successor. A file shows in two ways that they do not: an episode is longer than
the time limit, or ``next_observations`` is not the next row's observation.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from synthlib.offline.arrays import DataFileError
from synthlib.tasks import MAX_EPISODE_STEPS

NEVER_TERMINATE = ("halfcheetah",)
TOLERANCE = 1e-3  # relative and absolute: two columns of one file may be rounded differently, float16 at worst
LACKING = 0.01  # share of the ends of episodes that flags may lack; D4RL's own files lack one in two thousand
_BLOCK = 100_000  # rows that are compared at once


def episode_bounds(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(starts, stops): row indices (E,) of the E whole episodes whose last rows are marked in ``ends``, bool (N,).

    Episode i has the rows ``starts[i]`` to ``stops[i] - 1``. An unfinished last episode is left out.
    """
    stops = np.flatnonzero(ends) + 1
    return np.concatenate([[0], stops])[:-1].astype(int), stops


def known_timeouts(
    arrays: Mapping[str, np.ndarray], environment: str, where: str | Path, limit: int = MAX_EPISODE_STEPS
) -> tuple[np.ndarray | None, str]:
    """(timeouts, note): where time ran out, bool (N,), in the checked ``arrays`` of one file, and what its flags lack.

    ``timeouts`` is None where D4RL's program counts the steps. ``note`` is "" for a file whose flags say all.

    * A file without ``timeouts``, or with ``timeouts`` that are False everywhere, does not say where time ran out. It
      ran out where ``next_observations`` show that an episode ends, if this is ``limit`` steps after the last end.
    * D4RL's medium-expert files are two files joined, and nothing marks the last row of the first. So flags may lack
      one end in a hundred (:data:`LACKING`); such a file is read as D4RL's program reads it, across that row.

    Raises :class:`DataFileError`, whose message begins with ``where``, for all else that contradicts the flags: an
    episode of more than ``limit`` steps, rows that are not followed by their successor, no end at all, ends in most
    rows, a terminal row of an environment that never terminates.
    """
    terminals, timeouts = arrays["terminals"], arrays.get("timeouts")
    _check_terminals(terminals, environment, where)
    marked = terminals if timeouts is None else terminals | timeouts
    if np.count_nonzero(marked) > len(marked) / 2:
        raise DataFileError(
            f"{where}: {np.count_nonzero(marked):,} of {len(marked):,} rows end an episode; "
            "a flag must be True in the last row of an episode only, so it may be inverted"
        )
    broken = _rows_without_successor(arrays, marked)
    ends = np.union1d(np.flatnonzero(marked), broken)
    lengths = np.diff(ends, prepend=-1, append=len(marked) - 1)  # the last piece may be unfinished, or empty
    overlong = np.flatnonzero(lengths > limit)
    silent = timeouts is None or not timeouts.any()
    if silent and len(broken) and not len(overlong) and (lengths[np.searchsorted(ends, broken)] == limit).all():
        note = f"time ran out in {len(broken):,} rows, as next_observations show and the flags do not say"
        return np.isin(np.arange(len(marked)), broken), note
    hidden = len(broken) + int(((lengths[overlong] - 1) // limit).sum())
    few = not silent and hidden <= LACKING * np.count_nonzero(marked)
    if len(broken) and not few:
        raise DataFileError(
            f"{where}: next_observations is not the next row's observation in {len(broken):,} of the "
            f"{np.count_nonzero(~marked):,} rows that end no episode (first: {broken[0]}), so rows were moved, left "
            "out or joined; put them into the order of collection, and set timeouts to True where recording stopped"
        )
    if timeouts is None and (terminals.any() or len(terminals) >= limit):
        return None, ""
    if len(overlong) and not few:
        start = int(lengths[: overlong[0]].sum())
        raise DataFileError(
            f"{where}: no episode ends in the {lengths[overlong[0]]:,} steps from row {start} on, but the time limit "
            f"is {limit:,}; set timeouts to True in the last row of every episode"
            + (f", or remove them, and time runs out every {limit:,} steps" if silent else "")
        )
    if not marked.any():
        raise DataFileError(
            f"{where}: no episode ends in its {len(marked):,} rows; "
            "set terminals or timeouts to True in the last row of every episode"
        )
    return timeouts, f"{hidden:,} ends of episodes are not marked, as in D4RL's own joined files" if hidden else ""


def _check_terminals(terminals: np.ndarray, environment: str, where: str | Path) -> None:
    if environment in NEVER_TERMINATE and terminals.any():
        raise DataFileError(
            f"{where}: terminals are True in {np.count_nonzero(terminals):,} rows (first: {terminals.argmax()}), but "
            f"{environment} never terminates; where time ran out, set timeouts to True and terminals to False"
        )


def _rows_without_successor(arrays: Mapping[str, np.ndarray], marked: np.ndarray) -> np.ndarray:
    """Rows that end no episode but whose ``next_observations`` are not the next row's observations."""
    if "next_observations" not in arrays:
        return np.zeros(0, dtype=int)
    observations, following = arrays["observations"], arrays["next_observations"]
    differs = np.zeros(len(marked), dtype=bool)
    for start in range(0, len(marked) - 1, _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(marked) - 1))
        next_rows = observations[rows.start + 1 : rows.stop + 1]
        bound = TOLERANCE * (1 + np.abs(next_rows))
        differs[rows] = (np.abs(following[rows] - next_rows) > bound).any(axis=1)
    return np.flatnonzero(differs & ~marked)
