"""The quick parts of :mod:`synthlib.generators.mdp`; every trick is exact, so the data are the same integers.

Per step the authors seed a Mersenne Twister four times and build two rows, one number per action or state. Here:

* First numbers in bulk. A draw uses only the first double of a freshly seeded generator. That needs 5 of the 624
  words of its state, and seeding is one recursion, compiled by Numba for many seeds side by side: 0.05 us each instead
  of 5 us.
* Rows in a table, where all of them fit :data:`TABLE_BYTES`: a thousand trajectories are searched together.
* Otherwise a row is made when it is visited and only the running sums of its blocks are kept, one number for 1000
  entries, while :data:`TABLE_BYTES` last. They settle the block, and the uniforms up to its end settle the index.
  Both ignore the float32 roundings of the exact row, so an index is believed only where the drawn number is further
  from the index's boundaries than those roundings can move them; else (1 in 50) the exact row decides.

A million transitions take a sixth of a second with 100 states and actions; with 100,000 about a quarter of an hour, as
extrapolated from 30,000 of them.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from synthlib.generators.mdp import (
    IndexTransitions,
    MDPConfig,
    action_seed,
    generate,
    next_state_seed,
    policy_uniforms,
    softmax,
    start_states,
    transition_row,
    transition_uniforms,
)
from synthlib.kernels.compiled import exact
from synthlib.kernels.twins import twin_of

TABLE_BYTES = 256 * 2**20  # for each of policy and transitions; S = A = 1000 needs 120 MB
_WORDS = (0, 1, 2, 397, 398)  # of the Mersenne Twister's state: those that the first double is made of
_LANES = 256  # seeds that the processor works on side by side
_BLOCK = 1000
Sampler = Callable[[np.ndarray, int], np.ndarray]


@twin_of(generate, when=lambda config: config.kind == "mdp")
def fast_generate(config: MDPConfig) -> IndexTransitions:
    """As :func:`synthlib.generators.mdp.generate`, the same integers, for kind "mdp".

    Never holds a table of all rows unless it fits :data:`TABLE_BYTES`.
    """
    time = np.arange(config.length)
    trajectory = np.arange(config.trajectories)[:, None]
    last_row = transition_row(config, config.states - 1, config.actions - 1)
    draw_action, draw_next_state = samplers(
        Rows(config.states, config.actions, config.policy_temperature, partial(policy_uniforms, config)),
        Rows(last_row + 1, config.states, config.transition_temperature, partial(transition_uniforms, config)),
        action_seed(trajectory, time),
        next_state_seed(trajectory, time),
    )
    observations = np.empty((config.length + 1, config.trajectories), dtype=np.int64)
    actions = np.empty((config.length, config.trajectories), dtype=np.int64)
    observations[0] = start_states(config)
    for t in range(config.length):
        actions[t] = draw_action(observations[t], t)
        observations[t + 1] = draw_next_state(transition_row(config, observations[t], actions[t]), t)
    return IndexTransitions(*(array.T.reshape(-1) for array in (observations[:-1], actions, observations[1:])))


class Rows(NamedTuple):
    """A family of ``count`` distributions over ``width`` indices: softmax(uniforms(row, width) / temperature)."""

    count: int
    width: int
    temperature: float
    uniforms: Callable[[int, int], np.ndarray]  # (row, n) -> the row's first n uniforms, float64 (n,)


def cumulative(uniforms: np.ndarray, temperature: float) -> np.ndarray:
    """Running sums of the row's softmax as ``RandomState.choice`` compares them with its uniform, float64."""
    sums = softmax(uniforms, temperature).astype(np.float64).cumsum()
    return sums / sums[-1]


def samplers(
    policy: Rows, transition: Rows, action_seeds: np.ndarray, next_state_seeds: np.ndarray
) -> tuple[Sampler, Sampler]:
    """Two functions (rows (J,), time t) -> drawn indices (J,), one for each of the two :class:`Rows`.

    ``action_seeds``, ``next_state_seeds`` (J, L) hold the legacy generator's seed for every draw.
    """
    seeds = np.stack([action_seeds.T, next_state_seeds.T])
    draws = first_doubles(seeds.reshape(-1)).reshape(seeds.shape)
    return _sampler(policy, draws[0], seeds[0]), _sampler(transition, draws[1], seeds[1])


def _sampler(rows, draws, seeds):
    if math.isinf(rows.temperature):
        return lambda ids, t: [np.random.RandomState(seed).randint(rows.width) for seed in seeds[t]]
    if rows.count * rows.width * 8 <= TABLE_BYTES:
        table = np.stack([cumulative(rows.uniforms(row, rows.width), rows.temperature) for row in range(rows.count)])
        return lambda ids, t: search_table(table, ids, draws[t])
    search = row_search(rows)
    return lambda ids, t: [search(row, draw) for row, draw in zip(ids.tolist(), draws[t].tolist(), strict=True)]


@exact
def search_table(table: np.ndarray, rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """For each i the number of entries of ``table[rows[i]]`` that are <= draws[i], int64; the last is above all."""
    found, left = np.zeros(len(rows), dtype=np.int64), table.shape[1]  # where and in how many places it may be
    while left > 1:
        half = left // 2
        for i in range(len(rows)):  # all rows at each step: no search waits for its own last look
            found[i] += half * (table[rows[i], found[i] + half - 1] <= draws[i])
        left -= half
    return found


def row_search(rows: Rows) -> Callable[[int, float], int]:
    """A function (row, draw in [0, 1)) -> ``searchsorted(cumulative(row), draw, "right")``."""
    starts = np.arange(0, rows.width, _BLOCK)
    sums_of_row = {}
    room = TABLE_BYTES // (8 * len(starts) + 300)  # 300: what a small array and its key take besides
    # float32 moves a weight by 2**-24 of itself (exponential), 2**-24 (product) and 2**-25 / T twice (argument), at
    # most; a quotient of sums of weights by half of that. The 1.1 covers float64.
    margin = 1.1 * (2**-24 + 2**-25 / rows.temperature)

    def weigh(uniforms):
        # In place: fresh pages for a long row cost as much as the exponential.
        return np.exp(np.divide(uniforms, rows.temperature, out=uniforms), out=uniforms)

    def search(row, draw):
        sums, weights = sums_of_row.get(row), None
        if sums is None:
            weights = weigh(rows.uniforms(row, rows.width))
            sums = np.add.reduceat(weights, starts).cumsum()
            if len(sums_of_row) < room:
                sums_of_row[row] = sums
        aim = draw * sums[-1]
        block = min(int(sums.searchsorted(aim, side="right")), len(sums) - 1)
        first, end = block * _BLOCK, min((block + 1) * _BLOCK, rows.width)
        inside = weigh(rows.uniforms(row, end)[first:]) if weights is None else weights[first:end]
        before = sums[block - 1] if block else 0.0
        inside = before + inside.cumsum()
        index = min(int(inside.searchsorted(aim, side="right")), len(inside) - 1)
        below = inside[index - 1] if index else before
        if below + margin * sums[-1] < aim < inside[index] - margin * sums[-1]:
            return first + index
        return int(cumulative(rows.uniforms(row, rows.width), rows.temperature).searchsorted(draw, side="right"))

    return search


def first_doubles(seeds: np.ndarray) -> np.ndarray:
    """``RandomState(seed).random_sample()`` of every seed, int64 (n,) in [0, 2**32): float64 (n,)."""
    low, high = int(seeds.min()), int(seeds.max())
    if high - low < len(seeds):  # then seeds repeat: an action's of trajectory j + 42 is a next state's of j
        return first_doubles_in_bulk(np.arange(low, high + 1))[seeds - low]
    return first_doubles_in_bulk(seeds)


@exact
def first_doubles_in_bulk(seeds: np.ndarray) -> np.ndarray:
    """As :func:`first_doubles`, each seed on its own.

    MT19937 (Matsumoto and Nishimura, 1998): the first two outputs need state words 0, 1, 2, 397 and 398.
    """
    result = np.empty(len(seeds))
    words = np.zeros((len(_WORDS), _LANES), dtype=np.uint32)
    word = np.zeros(_LANES, dtype=np.uint32)
    for start in range(0, len(seeds), _LANES):
        lanes = min(_LANES, len(seeds) - start)
        for lane in range(lanes):
            word[lane] = seeds[start + lane]
        known = 0
        for i in range(_WORDS[-1] + 1):
            if i:
                for lane in range(_LANES):
                    word[lane] = (word[lane] ^ (word[lane] >> np.uint32(30))) * np.uint32(1812433253) + np.uint32(i)
            if i == _WORDS[known]:
                words[known] = word
                known += 1
        for lane in range(lanes):
            first, second, third, partner, next_partner = words[:, lane]
            high = _output(first, second, partner) >> 5
            low = _output(second, third, next_partner) >> 6
            result[start + lane] = (high * 2.0**26 + low) * 2.0**-53
    return result


@exact
def _output(word, following, partner):
    """One step of the twist, then the tempering, of 32-bit numbers."""
    y = partner ^ (((word & 0x80000000) | (following & 0x7FFFFFFF)) >> 1)
    if following & 1:
        y ^= 0x9908B0DF
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C5680
    y ^= (y << 15) & 0xEFC60000
    return y ^ (y >> 18)
