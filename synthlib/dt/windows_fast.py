"""The fast twin of :class:`synthlib.dt.windows.BatchBuilder`: one indexing per array instead of a loop over rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from synthlib.dt.windows import (
    ACTION_PADDING,
    CONTEXT,
    DONE_PADDING,
    RETURN_SCALE,
    Batch,
    BatchBuilder,
    SequenceData,
    returns_to_go,
)
from synthlib.kernels.twins import twin_of
from synthlib.tasks import MAX_EPISODE_STEPS


@twin_of(BatchBuilder)
class FastBatchBuilder:
    """Builds the same minibatches from all trajectories concatenated; row 0 of each array holds the padding."""

    def __init__(
        self,
        data: SequenceData,
        context: int = CONTEXT,
        return_scale: float = RETURN_SCALE,
        time_limit: int = MAX_EPISODE_STEPS,
    ) -> None:
        self.data, self.context, self.return_scale, self.time_limit = data, context, return_scale, time_limit
        trajectories = data.trajectories
        self.lengths = np.array([len(t.rewards) for t in trajectories])
        self.first = 1 + np.concatenate([[0], np.cumsum(self.lengths)[:-1]])

        def column(padding: float, parts: Sequence[np.ndarray], dtype: npt.DTypeLike = np.float32) -> np.ndarray:
            return np.concatenate([np.full_like(parts[0][:1], padding, dtype=dtype), *parts], dtype=dtype)

        self.observations = column(0.0, [t.observations for t in trajectories])
        for chunk in np.array_split(np.arange(len(self.observations)), 1 + len(self.observations) // 100_000):
            self.observations[chunk] = data.normalise(self.observations[chunk])
        self.actions = column(ACTION_PADDING, [t.actions for t in trajectories])
        self._rewards = column(0.0, [t.rewards[:, None] for t in trajectories])
        self._dones = column(DONE_PADDING, [t.terminals for t in trajectories], dtype=np.int64)
        remaining = column(0.0, [returns_to_go(t.rewards)[:, None] for t in trajectories])
        self.returns_to_go = (remaining.astype(np.float64) / return_scale).astype(np.float32)

    def batch(self, rows: np.ndarray, starts: np.ndarray) -> Batch:
        """:class:`Batch` of the windows from steps ``starts`` (B,) of the trajectories ``rows`` (B,)."""
        columns = np.arange(self.context + 1)
        places, timesteps, inside = cut(starts, self.lengths[rows], self.first[rows], columns, self.time_limit)
        places_inside = places[:, :-1]
        return Batch(
            self.observations[places_inside],
            self.actions[places_inside],
            self._rewards[places_inside],
            self._dones[places_inside],
            self.returns_to_go[places],
            timesteps,
            inside.astype(np.float32),
        )


def cut(starts: Any, lengths: Any, first: Any, columns: Any, time_limit: int) -> tuple[Any, Any, Any]:
    """Windows of K steps, as (places (..., K+1), timesteps (..., K), mask (..., K) of booleans).

    ``places`` are rows of the concatenated trajectories, 0 for padding. ``starts`` (...) are the windows' first steps.
    ``lengths`` and ``first`` (...) are the length and the first row of each window's trajectory. ``columns`` are the
    numbers 0 to K. All are arrays of NumPy, or all are tensors.
    """
    context = len(columns) - 1
    starts, lengths, first = starts[..., None], lengths[..., None], first[..., None]
    steps = columns + (starts + (lengths - starts).clip(max=context) - context)
    real = (steps >= starts) & (steps < lengths)
    inside = real[..., :-1]
    return (first + steps) * real, steps[..., :-1].clip(max=time_limit - 1) * inside, inside
