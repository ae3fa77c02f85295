"""Minibatches of trajectory windows for the Decision Transformer (faithfulness 3.11).

First a trajectory is drawn with probability proportional to its length, then a start step, uniform over its steps. The
window has the next K steps at most and is padded on the *left*. :class:`BatchBuilder` builds a minibatch row by row;
its fast twin gives the same numbers, bit for bit.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from synthlib.tasks import MAX_EPISODE_STEPS

CONTEXT = 20  # K, paper Table 10
RETURN_SCALE = 1000.0  # raw return per unit of the model's returns-to-go, in all four environments
ACTION_PADDING = -10.0
DONE_PADDING = 2
Item = TypeVar("Item")


class Batch(NamedTuple):
    """A minibatch of B windows of K steps; floats are float32.

    ``observations`` (B, K, O) normalised, ``actions`` (B, K, A), ``rewards`` (B, K, 1) raw, ``dones`` (B, K) int,
    ``returns_to_go`` (B, K+1, 1) in units of the return scale (the model reads the first K), ``timesteps`` (B, K) int,
    ``mask`` (B, K) 1 on real steps.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    dones: np.ndarray
    returns_to_go: np.ndarray
    timesteps: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class SequenceData:
    """Whole trajectories, with the probabilities for drawing them and the statistics for normalising observations.

    ``drawable`` (D,) are the indices of trajectories that can be drawn, by increasing return, and ``probabilities``
    (D,) are their probabilities. ``mean`` and ``std`` (O,) are float32.
    """

    trajectories: list[Any] = field(repr=False)
    drawable: np.ndarray
    probabilities: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    def normalise(self, observations: np.ndarray) -> np.ndarray:
        """Raw ``observations`` (..., O) -> normalised float32, rounded once at the end as in the reference."""
        return ((observations.astype(np.float64) - self.mean) / self.std).astype(np.float32)


def subset(trajectories: Sequence[Item], ratio: float) -> list[Item]:
    """floor(ratio n) of the n trajectories, the same ones for every seed and arm (faithfulness 3.17).

    Raises ValueError unless 0 < ratio <= 1 and at least one trajectory is left.
    """
    kept = int(len(trajectories) * ratio)
    if not (0 < ratio <= 1 and kept):
        raise ValueError(f"data ratio {ratio} of {len(trajectories)} trajectories: must be in (0, 1] and leave one")
    if ratio == 1:
        return list(trajectories)
    return [trajectories[i] for i in np.random.RandomState(0).choice(len(trajectories), kept, replace=False)]


def prepare(trajectories: Sequence[Any], exclude_lowest: bool = True) -> SequenceData:
    """:class:`SequenceData` of a list of trajectories (``observations``, ``actions``, ``rewards``, ``terminals``).

    The reference never draws the trajectory with the lowest return, because a loop stops with "<" where "<=" was meant.
    ``exclude_lowest=False`` corrects that. Its observations count for mean and std in both cases. Raises ValueError for
    an empty list, an empty trajectory, and NaN or infinity.
    """
    if not trajectories:
        raise ValueError("no complete trajectory in the data: nothing to train on")
    lengths = np.array([len(t.rewards) for t in trajectories])
    if not lengths.all():
        raise ValueError(f"trajectory {int(lengths.argmin())} is empty")
    returns = np.array([np.asarray(t.rewards).sum() for t in trajectories])
    observations = np.concatenate([t.observations for t in trajectories])
    if not (np.isfinite(returns).all() and np.isfinite(observations).all()):
        raise ValueError("the trajectories hold NaN or infinite rewards or observations; repair or drop those")
    drawable = np.argsort(returns)
    if exclude_lowest and len(drawable) > 1:
        drawable = drawable[1:]
    return SequenceData(
        trajectories=list(trajectories),
        drawable=drawable,
        probabilities=lengths[drawable] / lengths[drawable].sum(),
        # Sums in float32 are less exact than in float64, but they reproduce the reference's digits.
        mean=observations.mean(axis=0),
        std=observations.std(axis=0) + 1e-6,
    )


def update_generators(seed: int, update: int) -> tuple[np.random.RandomState, random.Random]:
    """(NumPy, Python) generators of one update: the authors reseed both before each update (faithfulness 3.12).

    So the windows depend only on seed and update. Arms with the same seed see the same windows, and a resumed run needs
    no saved generator state.
    """
    reseed = (seed + 9999 * update) % 9_999_999
    return np.random.RandomState(reseed), random.Random(reseed)


def draw(
    data: SequenceData, count: int, numpy_generator: np.random.RandomState, python_generator: random.Random
) -> tuple[np.ndarray, np.ndarray]:
    """(trajectory indices, start steps), each int (count,): trajectories by length, starts uniform."""
    slots = numpy_generator.choice(len(data.drawable), size=count, replace=True, p=data.probabilities)
    rows = data.drawable[slots]
    starts = [python_generator.randint(0, len(data.trajectories[row].rewards) - 1) for row in rows]
    return rows, np.array(starts)


def returns_to_go(rewards: npt.ArrayLike) -> np.ndarray:
    """Undiscounted sum of ``rewards`` (T,) from each step to the end, (T,); summed from the end in float32."""
    return np.cumsum(np.asarray(rewards, dtype=np.float32)[::-1])[::-1]


class BatchBuilder:
    """Builds minibatches of windows of ``data``, at most ``context`` steps long.

    Returns-to-go are divided by ``return_scale``. No timestep exceeds ``time_limit`` - 1: later steps repeat it.
    """

    def __init__(
        self,
        data: SequenceData,
        context: int = CONTEXT,
        return_scale: float = RETURN_SCALE,
        time_limit: int = MAX_EPISODE_STEPS,
    ) -> None:
        self.data, self.context, self.return_scale, self.time_limit = data, context, return_scale, time_limit

    def batch(self, rows: np.ndarray, starts: np.ndarray) -> Batch:
        """:class:`Batch` of the windows from steps ``starts`` (B,) of the trajectories ``rows`` (B,)."""
        windows = [self._window(row, start) for row, start in zip(rows, starts, strict=True)]
        return Batch(*(np.stack(parts) for parts in zip(*windows, strict=True)))

    def _window(self, row: int, start: int) -> Batch:
        """One row of a :class:`Batch`."""
        trajectory = self.data.trajectories[row]
        step = slice(start, start + self.context)
        length = len(trajectory.rewards[step])

        def pad(part: npt.ArrayLike, value: float) -> np.ndarray:
            part = np.asarray(part)
            return np.concatenate([np.full((self.context - length, *part.shape[1:]), value), part])

        remaining = returns_to_go(trajectory.rewards)[start : start + length + 1]
        if len(remaining) == length:  # the trajectory ends with the window
            remaining = np.append(remaining, 0.0)
        return Batch(
            observations=self.data.normalise(pad(trajectory.observations[step], 0.0)),
            actions=pad(trajectory.actions[step], ACTION_PADDING).astype(np.float32),
            rewards=pad(trajectory.rewards[step], 0.0).astype(np.float32)[:, None],
            dones=pad(trajectory.terminals[step], DONE_PADDING).astype(np.int64),
            returns_to_go=(pad(remaining, 0.0) / self.return_scale).astype(np.float32)[:, None],
            timesteps=pad(np.minimum(start + np.arange(length), self.time_limit - 1), 0).astype(np.int64),
            mask=pad(np.ones(length), 0.0).astype(np.float32),
        )
