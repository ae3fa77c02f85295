"""The same data as :mod:`synthlib.generators.mdp` in less time; every trick is exact, so the integers are the same.

For each step the authors seed a Mersenne Twister four times and build two rows, with one number per action or state.
Here:

* The draws are made in bulk. A draw uses only the first double of a freshly seeded generator. This double needs 5 of
  the 624 words of the generator's state, and seeding is one recursion. Numba compiles it for many seeds side by side:
  0.05 us per seed instead of 5 us.
* When all rows fit :data:`TABLE_BYTES`, they stand in a table, and a thousand trajectories are searched together.
* Otherwise a row is made when it is visited. Of each row, only the cumulative sums of its blocks are kept, one number
  for 1000 entries, until :data:`TABLE_BYTES` are full. The sums give the block, and the uniforms up to the block's end
  give the index. Both ignore the float32 rounding of the exact row. So an index counts only when the drawn number is
  further from the index's boundaries than this rounding can move them. Else (1 in 50) the exact row decides.

A million transitions take a sixth of a second with 100 states and actions. With 100,000 states and actions they take
about a quarter of an hour (extrapolated from 30,000 transitions).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

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

TABLE_BYTES = 256 * 2**20  # for the policy, and again for the transitions; S = A = 1000 needs 120 MB
_WORDS = (0, 1, 2, 397, 398)  # the words of the Mersenne Twister's state that give the first double
_LANES = 256  # seeds that the processor works on side by side
_BLOCK = 1000
Sampler = Callable[[np.ndarray, int], Sequence[int] | np.ndarray]
"""Takes row numbers (J,) and the time t; returns the drawn indices (J,)."""


@twin_of(generate, when=lambda config: config.kind == "mdp")
def fast_generate(config: MDPConfig) -> IndexTransitions:
    """The same integers as :func:`synthlib.generators.mdp.generate`, for kind "mdp".

    Holds a table of all rows only when it fits :data:`TABLE_BYTES`.
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


@dataclass(frozen=True)
class Rows:
    """A family of ``count`` distributions over ``width`` indices: softmax(uniforms(row, width) / temperature)."""

    count: int
    width: int
    temperature: float
    uniforms: Callable[[int, int], np.ndarray]  # (row, n) -> the row's first n uniforms, float64 (n,)


def cumulative(uniforms: np.ndarray, temperature: float) -> np.ndarray:
    """Cumulative sums of the row's softmax, float64; ``RandomState.choice`` compares them with its uniform."""
    sums = softmax(uniforms, temperature).astype(np.float64).cumsum()
    return sums / sums[-1]


def samplers(
    policy: Rows, transition: Rows, action_seeds: np.ndarray, next_state_seeds: np.ndarray
) -> tuple[Sampler, Sampler]:
    """The samplers of actions and of next states.

    ``action_seeds`` and ``next_state_seeds`` (J, L) hold the legacy generator's seed for every draw of J trajectories
    of length L.
    """
    seeds = np.stack([action_seeds.T, next_state_seeds.T])
    draws = first_doubles(seeds.reshape(-1)).reshape(seeds.shape)
    return _sampler(policy, draws[0], seeds[0]), _sampler(transition, draws[1], seeds[1])


def _sampler(rows: Rows, draws: np.ndarray, seeds: np.ndarray) -> Sampler:
    if math.isinf(rows.temperature):
        return lambda ids, t: [np.random.RandomState(seed).randint(rows.width) for seed in seeds[t]]
    if rows.count * rows.width * 8 <= TABLE_BYTES:
        table = np.stack([cumulative(rows.uniforms(row, rows.width), rows.temperature) for row in range(rows.count)])
        return lambda ids, t: search_table(table, ids, draws[t])
    search = row_search(rows)
    return lambda ids, t: [search(row, draw) for row, draw in zip(ids.tolist(), draws[t].tolist(), strict=True)]


@exact
def search_table(table: np.ndarray, rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """For each i the number of entries of ``table[rows[i]]`` that are <= draws[i], int64.

    The last entry of a row must be larger than every draw.
    """
    found, left = np.zeros(len(rows), dtype=np.int64), table.shape[1]  # the first candidate, the number of candidates
    while left > 1:
        half = left // 2
        for i in range(len(rows)):  # all rows at each step, so that no search waits for its own last comparison
            found[i] += half * (table[rows[i], found[i] + half - 1] <= draws[i])
        left -= half
    return found


def row_search(rows: Rows) -> Callable[[int, float], int]:
    """A function (row, draw in [0, 1)) -> ``searchsorted(cumulative(row), draw, "right")``."""
    starts = np.arange(0, rows.width, _BLOCK)
    sums_of_row: dict[int, np.ndarray] = {}
    room = TABLE_BYTES // (8 * len(starts) + 300)  # 300: the overhead of a small array and its key
    # Relative to its size, float32 rounding moves a weight by at most 2**-24 (exponential), 2**-24 (product) and twice
    # 2**-25 / T (argument). It moves a quotient of sums of weights by half as much. The 1.1 covers float64 rounding.
    margin = 1.1 * (2**-24 + 2**-25 / rows.temperature)

    def weigh(uniforms: np.ndarray) -> np.ndarray:
        # In place: new memory pages for a long row would cost as much as the exponential.
        return np.exp(np.divide(uniforms, rows.temperature, out=uniforms), out=uniforms)

    def search(row: int, draw: float) -> int:
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
    """``RandomState(seed).random_sample()`` for each of ``seeds``, int64 (n,) in [0, 2**32): float64 (n,)."""
    low, high = int(seeds.min()), int(seeds.max())
    # Then seeds repeat: an action of trajectory j has the seed of a next state of j + 42, 128 steps earlier.
    if high - low < len(seeds):
        return first_doubles_in_bulk(np.arange(low, high + 1))[seeds - low]
    return first_doubles_in_bulk(seeds)


@exact
def first_doubles_in_bulk(seeds: np.ndarray) -> np.ndarray:
    """The same as :func:`first_doubles`, without a look for repeated seeds.

    MT19937 (Matsumoto and Nishimura, 1998): the first two outputs need the words 0, 1, 2, 397 and 398 of the state.
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
    """An output of MT19937: one step of the twist, then the tempering, on 32-bit numbers."""
    y = partner ^ (((word & 0x80000000) | (following & 0x7FFFFFFF)) >> 1)
    if following & 1:
        y ^= 0x9908B0DF
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C5680
    y ^= (y << 15) & 0xEFC60000
    return y ^ (y >> 18)
