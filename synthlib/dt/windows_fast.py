"""The fast twin of :class:`synthlib.dt.windows.BatchBuilder`: one indexing per array instead of a loop over rows."""

from collections.abc import Sequence

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
        self._lengths = np.array([len(t.rewards) for t in trajectories])
        self._first = 1 + np.concatenate([[0], np.cumsum(self._lengths)[:-1]])

        def column(padding: float, parts: Sequence[np.ndarray], dtype: npt.DTypeLike = np.float32) -> np.ndarray:
            return np.concatenate([np.full_like(parts[0][:1], padding, dtype=dtype), *parts], dtype=dtype)

        self._observations = column(0.0, [t.observations for t in trajectories])
        for chunk in np.array_split(np.arange(len(self._observations)), 1 + len(self._observations) // 100_000):
            self._observations[chunk] = data.normalise(self._observations[chunk])
        self._actions = column(ACTION_PADDING, [t.actions for t in trajectories])
        self._rewards = column(0.0, [t.rewards[:, None] for t in trajectories])
        self._dones = column(DONE_PADDING, [t.terminals for t in trajectories], dtype=np.int64)
        remaining = column(0.0, [returns_to_go(t.rewards)[:, None] for t in trajectories])
        self._returns_to_go = (remaining.astype(np.float64) / return_scale).astype(np.float32)

    def batch(self, rows: np.ndarray, starts: np.ndarray) -> Batch:
        """:class:`Batch` of the windows from steps ``starts`` (B,) of the trajectories ``rows`` (B,)."""
        window = np.minimum(self.context, self._lengths[rows] - starts)
        steps = starts[:, None] + np.arange(self.context + 1) - (self.context - window)[:, None]
        real = (steps >= starts[:, None]) & (steps < self._lengths[rows][:, None])
        places = np.where(real, self._first[rows][:, None] + steps, 0)
        inside, places_inside = real[:, :-1], places[:, :-1]
        return Batch(
            self._observations[places_inside],
            self._actions[places_inside],
            self._rewards[places_inside],
            self._dones[places_inside],
            self._returns_to_go[places],
            np.where(inside, np.minimum(steps[:, :-1], self.time_limit - 1), 0),
            inside.astype(np.float32),
        )
