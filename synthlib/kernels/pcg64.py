"""NumPy's ``default_rng`` without its steps: output j of the generator with seed k, at the same cost for every j.

``default_rng(k).random(S)[j]`` normally costs a new generator (10 us) and j steps. Two facts reduce the cost to some
eighty operations. Numba compiles them, and the result is the same to the last bit:

* ``SeedSequence`` is a fixed chain of 32-bit multiplications and shifts.
* PCG64 steps by s <- A s + c modulo 2**128. After k steps the state is s + G_k ((A - 1) s + c), where
  G_k = 1 + A + ... + A**(k-1) is the same for all seeds. So one 128-bit product replaces k products.

A 128-bit number is a pair (high, low) of uint64. Sources: O'Neill (2014) for PCG64 and its XSL-RR output, NumPy's
documentation of SeedSequence for the hash.
"""

from functools import lru_cache

import numpy as np
from numba import uint32, uint64

from synthlib.kernels.compiled import exact

_A = 0x2360ED051FC65DA44385DF649FCCF645
_A_HIGH, _A_LOW = np.uint64(_A >> 64), np.uint64(_A % 2**64)
_LOW_32 = np.uint64(2**32 - 1)
_WORD, _ONE, _63 = np.uint64(32), np.uint64(1), np.uint64(63)


def seeded(words: np.ndarray) -> np.ndarray:
    """A freshly seeded ``default_rng(list(column))`` for each column of ``words`` (k, n), integers in [0, 2**32).

    Returns uint64 (n, 4): for each column the state s and the step (A - 1) s + c of PCG64, both as (high, low).
    """
    return _seed_columns(np.asarray(words).astype(np.uint32))


@exact
def _seed_columns(words: np.ndarray) -> np.ndarray:
    started = np.empty((words.shape[1], 4), dtype=np.uint64)
    for column in range(len(started)):
        seed(words[:, column], started[column])
    return started


@lru_cache(maxsize=4)
def jumps(count: int) -> np.ndarray:
    """G_1 ... G_count of the module's docstring, for outputs 0 ... count - 1: (high, low), uint64 (count, 2)."""
    values, value = [], 0
    for _ in range(count):
        value = (value * _A + 1) % 2**128
        values.append(value.to_bytes(16, "little"))
    return np.ascontiguousarray(np.frombuffer(b"".join(values), dtype="<u8").reshape(-1, 2)[:, ::-1].astype(np.uint64))


@exact
def doubles(started: np.ndarray, jumps: np.ndarray) -> np.ndarray:
    """The outputs of the generators ``started`` (n, 4) after each of ``jumps`` (m, 2): in [0, 1), float64 (n, m)."""
    result = np.empty((len(started), len(jumps)))
    for row in range(len(started)):
        for j in range(len(jumps)):
            result[row, j] = double(started[row], jumps[j])
    return result


@exact
def double(started: np.ndarray, jump: np.ndarray) -> float:
    """The output of the generator ``started`` (4,) after ``jump`` (2,): a uniform in [0, 1)."""
    high, low = _add(_multiply((started[2], started[3]), (jump[0], jump[1])), (started[0], started[1]))
    rotation, low = high >> uint64(58), low ^ high
    low = low >> rotation | low << (uint64(64) - rotation & _63)
    return (low >> uint64(11)) * 2.0**-53


@exact
def seed(words: np.ndarray, started: np.ndarray) -> None:
    """Seed one generator with ``words`` (k,) and write it to ``started`` (4,): one column of :func:`seeded`."""
    pool, constant = np.zeros(4, dtype=np.uint32), uint32(0x43B0D7E5)
    for i in range(4):
        pool[i], constant = _scramble(words[i] if i < len(words) else uint32(0), constant, uint32(0x931E8875))
    for source in range(4):
        for target in range(4):
            if source != target:
                value, constant = _scramble(pool[source], constant, uint32(0x931E8875))
                pool[target] = _mix(pool[target], value)
    for source in range(4, len(words)):
        for target in range(4):
            value, constant = _scramble(words[source], constant, uint32(0x931E8875))
            pool[target] = _mix(pool[target], value)
    state, constant = np.zeros(4, dtype=np.uint64), uint32(0x8B51F9DD)
    for i in range(8):
        value, constant = _scramble(pool[i % 4], constant, uint32(0x58F38DED))
        state[i // 2] |= uint64(value) << uint64(32 * (i % 2))
    increment = state[2] << _ONE | state[3] >> _63, state[3] << _ONE | _ONE
    begin = _add(_multiply(_add((state[0], state[1]), increment), (_A_HIGH, _A_LOW)), increment)
    step = _add(_multiply(begin, (_A_HIGH, _A_LOW - _ONE)), increment)
    started[0], started[1] = begin
    started[2], started[3] = step


@exact
def _scramble(value, constant, multiplier):
    value = uint32(value ^ constant)
    constant = uint32(constant * multiplier)
    value = uint32(value * constant)
    return uint32(value ^ value >> uint32(16)), constant


@exact
def _mix(x, y):
    mixed = uint32(x * uint32(0xCA01F9DD) - y * uint32(0x4973F715))
    return uint32(mixed ^ mixed >> uint32(16))


@exact
def _add(a, b):
    low = a[1] + b[1]
    return a[0] + b[0] + uint64(low < b[1]), low


@exact
def _multiply(a, b):
    """a b modulo 2**128. The product of the two low halves gets its high half from 32-bit products."""
    (a_high, a_low), (b_high, b_low) = a, b
    a1, a0, b1, b0 = a_low >> _WORD, a_low & _LOW_32, b_low >> _WORD, b_low & _LOW_32
    cross = a0 * b1
    middle = a1 * b0 + (a0 * b0 >> _WORD) + (cross & _LOW_32)  # fits 64 bits
    high = a1 * b1 + (cross >> _WORD) + (middle >> _WORD)
    return high + a_high * b_low + a_low * b_high, a_low * b_low
