"""The quick parts of :mod:`synthlib.mdp`; every trick is exact, so the data are the same integers.

Per step the authors seed a Mersenne Twister four times and build two rows, one number per action or state. Here:

* First numbers in bulk. A draw uses only the first double of a freshly seeded generator. That needs 5 of the 624
  words of its state, and seeding is one recursion, done for 65,536 seeds at once: 0.15 us each instead of 5 us.
* Rows in a table, where all of them fit :data:`TABLE_BYTES`: a thousand trajectories are searched together.
* Otherwise a row is made when it is visited and only the running sums of its blocks are kept, one number for 1000
  entries, while :data:`TABLE_BYTES` last. They settle the block, and the uniforms up to its end settle the index.
  Both ignore the float32 roundings of the exact row, so an index is believed only where the drawn number is further
  from the index's boundaries than those roundings can move them; else (1 in 50) the exact row decides.

A million transitions take half a second with 100 states and actions; with 100,000 about a quarter of an hour, as
extrapolated from 30,000 of them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

TABLE_BYTES = 256 * 2**20  # for each of policy and transitions; S = A = 1000 needs 120 MB
_SEEDS_AT_ONCE = 65536
_BLOCK = 1000


class Rows(NamedTuple):
    """A family of ``count`` distributions over ``width`` indices: softmax(uniforms(row, width) / temperature)."""

    count: int
    width: int
    temperature: float
    uniforms: Callable[[int, int], np.ndarray]  # (row, n) -> the row's first n uniforms, float64 (n,)


def softmax(uniforms, temperature):
    """softmax(uniforms / temperature), float32, same shape.

    The authors round u / T to float32 and take a float32 softmax, whose last bits depend on the processor. Here the
    exponential and the sum are taken in float64 and then rounded, so that any processor gives the golden transitions.
    """
    logits = (uniforms / temperature).astype(np.float32)
    weights = np.exp((logits - logits.max()).astype(np.float64)).astype(np.float32)
    return weights * (1 / weights.sum(dtype=np.float64).astype(np.float32))


def cumulative(uniforms, temperature):
    """Running sums of :func:`softmax` as ``RandomState.choice`` compares them with its uniform, float64."""
    sums = softmax(uniforms, temperature).astype(np.float64).cumsum()
    return sums / sums[-1]


def samplers(policy, transition, action_seeds, next_state_seeds):
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


def search_table(table, rows, draws):
    """For each i the number of entries of ``table[rows[i]]`` that are <= draws[i]: one binary search for all."""
    width = table.shape[1]
    flat, start = table.reshape(-1), rows * width
    found = np.zeros(len(rows), dtype=np.int64)
    step = 1 << (width.bit_length() - 1)
    while step:
        # A probe beyond the row reads its last entry, which is 1 and above every draw.
        probe = np.minimum(found + (step - 1), width - 1)
        found += step * (flat[start + probe] <= draws)
        step >>= 1
    return found


def row_search(rows):
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


def first_doubles(seeds):
    """``RandomState(seed).random_sample()`` of every seed, int64 (n,) in [0, 2**32): float64 (n,)."""
    low, high = int(seeds.min()), int(seeds.max())
    if high - low < len(seeds):  # then seeds repeat: an action's of trajectory j + 42 is a next state's of j
        return first_doubles_in_bulk(np.arange(low, high + 1))[seeds - low]
    return first_doubles_in_bulk(seeds)


def first_doubles_in_bulk(seeds):
    """As :func:`first_doubles`, each seed on its own."""
    parts = [_first_doubles(seeds[i : i + _SEEDS_AT_ONCE]) for i in range(0, len(seeds), _SEEDS_AT_ONCE)]
    return np.concatenate(parts)


def _first_doubles(seeds):
    """MT19937 (Matsumoto and Nishimura, 1998): the first two outputs need state words 0, 1, 2, 397 and 398."""
    word = seeds.astype(np.uint32)
    shifted = np.empty_like(word)
    kept = {0: word.copy()}
    for i in range(1, 399):
        np.right_shift(word, np.uint32(30), out=shifted)
        np.bitwise_xor(word, shifted, out=word)
        np.multiply(word, np.uint32(1812433253), out=word)
        np.add(word, np.uint32(i), out=word)
        if i in (1, 2, 397, 398):
            kept[i] = word.copy()
    high = _output(kept[0], kept[1], kept[397]) >> np.uint32(5)
    low = _output(kept[1], kept[2], kept[398]) >> np.uint32(6)
    return (high * 2.0**26 + low) * 2.0**-53


def _output(word, following, partner):
    """One step of the twist, then the tempering; all uint32."""
    joined = (word & np.uint32(0x80000000)) | (following & np.uint32(0x7FFFFFFF))
    y = partner ^ (joined >> np.uint32(1)) ^ ((joined & np.uint32(1)) * np.uint32(0x9908B0DF))
    y ^= y >> np.uint32(11)
    y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
    y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
    return y ^ (y >> np.uint32(18))
