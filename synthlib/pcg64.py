"""NumPy's ``default_rng`` on whole arrays: output number j of the generator with seed k, for many (k, j) at once.

``default_rng(k).random(S)[j]`` normally costs a new generator (10 us) and j steps. Two facts make it about forty
array operations, whatever j is, equal to the last bit:

* ``SeedSequence`` is a fixed chain of 32-bit multiplications and shifts, so many seeds are hashed together.
* PCG64 steps by s <- A s + c modulo 2**128. After k steps the state is s + G_k ((A - 1) s + c), where
  G_k = 1 + A + ... + A**(k-1) is the same for all seeds: one 128-bit product instead of k.

128-bit numbers are pairs (high, low) of uint64 arrays. Sources: O'Neill (2014) for PCG64 with its XSL-RR output,
NumPy's documentation of SeedSequence for the hash.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

_A = 0x2360ED051FC65DA44385DF649FCCF645
_LOW_32 = np.uint64(2**32 - 1)
_WORD = np.uint64(32)


class Generators(NamedTuple):
    """Freshly seeded PCG64 generators, uint64 arrays of one shape: the state s and the step (A - 1) s + c."""

    state_high: np.ndarray
    state_low: np.ndarray
    step_high: np.ndarray
    step_low: np.ndarray


def seeded(words):
    """:class:`Generators` of ``default_rng(list(column))`` for the columns of ``words``, uint32 of shape (k, n)."""
    initial_high, initial_low, increment_high, increment_low = _seed_sequence(words)
    increment = increment_high << np.uint64(1) | increment_low >> np.uint64(63), increment_low << np.uint64(1)
    increment = increment[0], increment[1] | np.uint64(1)
    a, a_minus_1 = _constant(_A), _constant(_A - 1)
    state = _add(_multiply(_add((initial_high, initial_low), increment), a), increment)
    return Generators(*state, *_add(_multiply(state, a_minus_1), increment))


@lru_cache(maxsize=4)
def jumps(count):
    """G_1 ... G_count of the module's head, which lead to outputs 0 ... count - 1: (high, low), uint64 (count,)."""
    values, value = [], 0
    for _ in range(count):
        value = (value * _A + 1) % 2**128
        values.append(value.to_bytes(16, "little"))
    pairs = np.frombuffer(b"".join(values), dtype="<u8").reshape(-1, 2).astype(np.uint64)
    return np.ascontiguousarray(pairs[:, 1]), np.ascontiguousarray(pairs[:, 0])


def doubles(generators, jump):
    """The uniforms in [0, 1), float64, to which ``jump`` = (high, low) leads; both broadcast like arrays."""
    high, low = _add(
        _multiply((generators.step_high, generators.step_low), jump), (generators.state_high, generators.state_low)
    )
    rotation = high >> np.uint64(58)
    low ^= high
    low = low >> rotation | low << (-rotation & np.uint64(63))
    return (low >> np.uint64(11)) * 2.0**-53


def _constant(value):
    return np.uint64(value >> 64), np.uint64(value % 2**64)


def _add(a, b):
    low = a[1] + b[1]
    return a[0] + b[0] + (low < b[1]), low


def _multiply(a, b):
    """a b modulo 2**128. The high half of low times low is put together from 32-bit halves."""
    (a_high, a_low), (b_high, b_low) = a, b
    a1, a0, b1, b0 = a_low >> _WORD, a_low & _LOW_32, b_low >> _WORD, b_low & _LOW_32
    cross = a0 * b1
    middle = a1 * b0 + (a0 * b0 >> _WORD) + (cross & _LOW_32)  # fits 64 bits
    high = a1 * b1 + (cross >> _WORD) + (middle >> _WORD)
    return high + a_high * b_low + a_low * b_high, a_low * b_low


def _seed_sequence(words):
    """``SeedSequence(column).generate_state(4, np.uint64)`` for the columns of ``words``: four uint64 (n,)."""
    words = np.asarray(words, dtype=np.uint32)
    constant = 0x43B0D7E5

    def scramble(value, multiplier):
        nonlocal constant
        value = value ^ np.uint32(constant)
        constant = constant * multiplier % 2**32
        value = value * np.uint32(constant)
        return value ^ value >> np.uint32(16)

    def mix(x, y):
        mixed = x * np.uint32(0xCA01F9DD) - y * np.uint32(0x4973F715)
        return mixed ^ mixed >> np.uint32(16)

    zero = np.zeros(words.shape[1:], dtype=np.uint32)
    pool = [scramble(words[i] if i < len(words) else zero, 0x931E8875) for i in range(4)]
    for source in range(4):
        for target in range(4):
            if source != target:
                pool[target] = mix(pool[target], scramble(pool[source], 0x931E8875))
    for word in words[4:]:
        pool = [mix(value, scramble(word, 0x931E8875)) for value in pool]
    constant = 0x8B51F9DD
    state = [scramble(pool[i % 4], 0x58F38DED).astype(np.uint64) for i in range(8)]
    return [low | high << _WORD for low, high in zip(state[::2], state[1::2], strict=True)]
