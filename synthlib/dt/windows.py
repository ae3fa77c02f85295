"""Minibatches of trajectory windows for the Decision Transformer (faithfulness 3.11).

A trajectory is drawn with probability proportional to its length, then a start uniform over its steps; the window is
what follows, at most K steps, padded on the *left*. :func:`readable_batch` builds that row by row,
:class:`BatchBuilder` with one gather per array; both give the same numbers to the last bit.
"""

import random
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

CONTEXT = 20  # K, paper Table 10
RETURN_SCALE = 1000.0  # for all four environments
MAX_TIMESTEP = 999
ACTION_PADDING = -10.0
DONE_PADDING = 2


class Batch(NamedTuple):
    """``observations`` (B, K, O) normalised, ``actions`` (B, K, A), ``rewards`` (B, K, 1) raw, ``dones`` (B, K) int,
    ``returns_to_go`` (B, K+1, 1) in units of the return scale (one more than steps; the model reads the first K),
    ``timesteps`` (B, K) int, ``mask`` (B, K) 1 on real steps. Floats are float32."""

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    dones: np.ndarray
    returns_to_go: np.ndarray
    timesteps: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class SequenceData:
    """Whole trajectories and what drawing from them needs.

    ``drawable`` (D,) are the indices that can be drawn, by increasing return, ``probabilities`` (D,) theirs;
    ``mean`` and ``std`` (O,) float32 normalise observations.
    """

    trajectories: list = field(repr=False)
    drawable: np.ndarray
    probabilities: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    def normalise(self, observations):
        """(..., O) raw -> float32, rounded once at the end as in the reference."""
        return ((observations.astype(np.float64) - self.mean) / self.std).astype(np.float32)


def subset(trajectories, ratio):
    """floor(ratio n) whole trajectories, the same ones for every seed and arm (faithfulness 3.17).

    Raises ValueError unless 0 < ratio <= 1 leaves at least one.
    """
    kept = int(len(trajectories) * ratio)
    if not (0 < ratio <= 1 and kept):
        raise ValueError(f"data ratio {ratio} of {len(trajectories)} trajectories: must be in (0, 1] and leave one")
    if ratio == 1:
        return list(trajectories)
    return [trajectories[i] for i in np.random.RandomState(0).choice(len(trajectories), kept, replace=False)]


def prepare(trajectories, exclude_lowest=True):
    """:class:`SequenceData` of a list of trajectories (``observations``, ``actions``, ``rewards``, ``terminals``).

    The reference never draws the trajectory of lowest return, because a loop stops with "<" where "<=" was meant;
    ``exclude_lowest=False`` mends that. Its observations count for mean and std either way. Raises ValueError for an
    empty list, an empty trajectory or NaN.
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
        # float32 sums, less exact than they could be on purpose: these are the reference's digits.
        mean=observations.mean(axis=0),
        std=observations.std(axis=0) + 1e-6,
    )


def update_generators(seed, update):
    """(NumPy, Python) generators of one update, as the authors reseed both before each (faithfulness 3.12).

    So the windows depend on seed and update alone: arms of one seed see the same ones, and a resumed run goes on.
    """
    reseed = (seed + 9999 * update) % 9_999_999
    return np.random.RandomState(reseed), random.Random(reseed)


def draw(data, count, numpy_generator, python_generator):
    """(trajectory indices, start steps), each (count,) int: trajectories by length, starts uniform."""
    slots = numpy_generator.choice(len(data.drawable), size=count, replace=True, p=data.probabilities)
    rows = data.drawable[slots]
    starts = [python_generator.randint(0, len(data.trajectories[row].rewards) - 1) for row in rows]
    return rows, np.array(starts)


def returns_to_go(rewards):
    """Undiscounted sum of the rewards from each step to the end; (T,) -> (T,), summed from the end in float32."""
    return np.cumsum(np.asarray(rewards, dtype=np.float32)[::-1])[::-1]


def readable_batch(data, rows, starts, context=CONTEXT, scale=RETURN_SCALE):
    """:class:`Batch` of the given windows, one at a time."""
    windows = []
    for row, start in zip(rows, starts, strict=True):
        trajectory = data.trajectories[row]
        step = slice(start, start + context)
        length = len(trajectory.rewards[step])
        padding = context - length

        def pad(part, value, padding=padding):
            part = np.asarray(part)
            return np.concatenate([np.full((padding, *part.shape[1:]), value), part])

        remaining = returns_to_go(trajectory.rewards)[start : start + length + 1]
        if len(remaining) == length:  # the trajectory ends with the window
            remaining = np.append(remaining, 0.0)
        windows.append(
            (
                data.normalise(pad(trajectory.observations[step], 0.0)),
                pad(trajectory.actions[step], ACTION_PADDING).astype(np.float32),
                pad(trajectory.rewards[step], 0.0).astype(np.float32)[:, None],
                pad(trajectory.terminals[step], DONE_PADDING).astype(np.int64),
                (pad(remaining, 0.0) / scale).astype(np.float32)[:, None],
                pad(np.minimum(start + np.arange(length), MAX_TIMESTEP), 0).astype(np.int64),
                pad(np.ones(length), 0.0).astype(np.float32),
            )
        )
    return Batch(*(np.stack(parts) for parts in zip(*windows, strict=True)))


class BatchBuilder:
    """The fast twin of :func:`readable_batch`: all trajectories laid end to end, row 0 holding the padding."""

    def __init__(self, data, context=CONTEXT, scale=RETURN_SCALE):
        self.data, self.context = data, context
        trajectories = data.trajectories
        self._lengths = np.array([len(t.rewards) for t in trajectories])
        self._first = 1 + np.concatenate([[0], np.cumsum(self._lengths)[:-1]])

        def column(padding, parts, dtype=np.float32):
            return np.concatenate([np.full_like(parts[0][:1], padding, dtype=dtype), *parts], dtype=dtype)

        self._observations = column(0.0, [t.observations for t in trajectories])
        for chunk in np.array_split(np.arange(len(self._observations)), 1 + len(self._observations) // 100_000):
            self._observations[chunk] = data.normalise(self._observations[chunk])
        self._actions = column(ACTION_PADDING, [t.actions for t in trajectories])
        self._rewards = column(0.0, [t.rewards[:, None] for t in trajectories])
        self._dones = column(DONE_PADDING, [t.terminals for t in trajectories], dtype=np.int64)
        remaining = column(0.0, [returns_to_go(t.rewards)[:, None] for t in trajectories])
        self._returns_to_go = (remaining.astype(np.float64) / scale).astype(np.float32)

    def batch(self, rows, starts):
        """:class:`Batch` of windows from ``starts`` (B,) of trajectories ``rows`` (B,)."""
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
            np.where(inside, np.minimum(steps[:, :-1], MAX_TIMESTEP), 0),
            inside.astype(np.float32),
        )
