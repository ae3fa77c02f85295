"""The quick parts of :mod:`synthlib.mdp`; every trick is exact, so the data are the same integers.

Per step the authors seed a Mersenne Twister four times and build two rows. Here (figures: one core, one thread):

* First numbers in bulk. A draw only uses the first double of a freshly seeded generator. That needs 5 of the 624
  words of its state, and seeding is one recursion, done here for many seeds at once: 0.15 us instead of 5 us.
* Rows in a table, where all of them fit :data:`TABLE_BYTES`: a thousand trajectories are searched together.
* Otherwise a row is drawn when it is visited and forgotten. Softmax, rounding and running sums of the full row are
  only needed when the drawn number is nearly on a boundary; else block sums of a rough row settle the index, because
  the distance to the boundary exceeds what rounding can do. A row of 100,000 then costs little more than its uniforms.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

TABLE_BYTES = 256 * 2**20  # of one table; S = A = 1000 needs 120 MB
_SEEDS_AT_ONCE = 65536
_BLOCK = 250  # entries of a row summed at once: about the square root of the longest row


class Rows(NamedTuple):
    """A family of ``count`` distributions over ``width`` indices: softmax(uniforms(row) / temperature)."""

    count: int
    width: int
    temperature: float
    uniforms: Callable[[int], np.ndarray]


def softmax(uniforms, temperature):
    """softmax(uniforms / temperature) in float32, or None for an infinite temperature.

    The authors round u / T to float32 and take a float32 softmax. Its last bit depends on the processor, so it is
    taken in float64 and rounded once, which gives their million transitions (the golden digests).
    """
    if math.isinf(temperature):
        return None
    logits = (uniforms / temperature).astype(np.float32).astype(np.float64)
    weights = np.exp(logits - logits.max())
    return (weights / weights.sum()).astype(np.float32)


def cumulative(uniforms, temperature):
    """Running sums of :func:`softmax` as ``RandomState.choice`` compares them with its uniform, float64."""
    sums = softmax(uniforms, temperature).astype(np.float64).cumsum()
    return sums / sums[-1]


def samplers(policy, transition, action_seeds, next_state_seeds):
    """Two functions (rows (J,), time t) -> drawn indices (J,); the seeds (J, L) hold one seed per draw."""
    seeds = np.stack([action_seeds, next_state_seeds])
    draws = first_doubles(seeds.reshape(-1)).reshape(seeds.shape)
    return tuple(
        _sampler(rows, np.ascontiguousarray(u.T), s.T)
        for rows, u, s in zip((policy, transition), draws, seeds, strict=True)
    )


def _sampler(rows, draws, seeds):
    if math.isinf(rows.temperature):
        return lambda ids, t: [np.random.RandomState(seed).randint(rows.width) for seed in seeds[t]]
    if rows.count * rows.width * 8 <= TABLE_BYTES:
        table = np.stack([cumulative(rows.uniforms(row), rows.temperature) for row in range(rows.count)])
        return lambda ids, t: search_table(table, ids, draws[t])
    return lambda ids, t: [
        search_row(rows.uniforms(row), rows.temperature, u) for row, u in zip(ids.tolist(), draws[t], strict=True)
    ]


def search_table(table, rows, draws):
    """For each i the number of entries of ``table[rows[i]]`` that are <= draws[i]: one binary search for all."""
    width = table.shape[1]
    flat, start = table.reshape(-1), rows * width
    found = np.zeros(len(rows), dtype=np.int64)
    step = 1 << (width.bit_length() - 1)
    while step:
        # An index beyond the row reads its last entry, which is 1 and above every draw.
        probe = np.minimum(found + (step - 1), width - 1)
        found += step * (flat[start + probe] <= draws)
        step >>= 1
    return found


def search_row(uniforms, temperature, draw):
    """Index drawn from softmax(uniforms / temperature) by ``draw``, a float in [0, 1): searchsorted(cumulative)."""
    rough = np.multiply(uniforms, 1 / temperature, dtype=np.float32)
    rough -= np.float32(1 / temperature)
    np.exp(rough, out=rough)
    ends = np.add.reduceat(rough, np.arange(0, len(rough), _BLOCK), dtype=np.float64).cumsum()
    aim = draw * ends[-1]
    block = min(int(ends.searchsorted(aim, side="right")), len(ends) - 1)
    inside = rough[block * _BLOCK : (block + 1) * _BLOCK].cumsum(dtype=np.float64)
    before = ends[block - 1] if block else 0.0
    inside += before
    index = min(int(inside.searchsorted(aim, side="right")), len(inside) - 1)
    below = inside[index - 1] if index else before
    # Weights are off by a relative 2**-21 at most for rounding and exp in float32, and by 2**-22 / T for the argument.
    margin = ends[-1] * (2**-21 + 2**-22 / temperature)
    if below + margin < aim < inside[index] - margin:
        return block * _BLOCK + index
    return int(cumulative(uniforms, temperature).searchsorted(draw, side="right"))


def first_doubles(seeds):
    """``RandomState(seed).random_sample()`` for each of ``seeds``, int64 (n,), in [0, 2**32): float64 (n,)."""
    low, high = int(seeds.min()), int(seeds.max())
    if high - low < len(seeds):  # seeds repeat: the draws of trajectory j + 42 meet again in trajectory j
        return first_doubles_of_distinct(np.arange(low, high + 1))[seeds - low]
    return first_doubles_of_distinct(seeds)


def first_doubles_of_distinct(seeds):
    """As :func:`first_doubles`, without looking for repeated seeds."""
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
