"""Not in the paper: nested brackets, a language that asks for memory.

Brackets of several kinds are opened and closed as in a formula: the last one that was opened is closed first. A chain
has nothing beyond the last token (:mod:`synthlib.generators.dial_chain`). Here the kind of a closing bracket was said
when it was opened, which may be hundreds of tokens ago, and all that lies between has to be matched to know it.

All kinds are equally likely, so tokens are nearly equally frequent.
"""

import math
from typing import NamedTuple

import numpy as np

from synthlib.generators.registry import token_generator


@token_generator(version=1)
def brackets(
    seed: int, sequences: int, length: int, vocabulary: int = 100, opening: float = 0.5, deepest: int = 8
) -> np.ndarray:
    """Sequences that begin outside of all brackets, int64. Kind k is opened by the token k, closed by k + V / 2.

    Where both are possible, a bracket is opened with probability ``opening``. No more than ``deepest`` are open. Raises
    ValueError for numbers that make no brackets.
    """
    kinds = _kinds(vocabulary, opening, deepest)
    draw, every = np.random.default_rng(seed), np.arange(sequences)
    opened, depth = np.empty((sequences, deepest + 1), dtype=np.int64), np.zeros(sequences, dtype=np.int64)
    tokens = np.empty((sequences, length), dtype=np.int64)
    for t in range(length):
        opens = (depth == 0) | ((depth < deepest) & (draw.random(sequences) < opening))
        kind = draw.integers(kinds, size=sequences)
        tokens[:, t] = np.where(opens, kind, kinds + opened[every, depth - 1])
        opened[every, depth] = kind  # above the brackets that are open: where one is closed, nobody reads it
        depth += np.where(opens, 1, -1)
    return tokens


class Losses(NamedTuple):
    """The best possible losses of three readers, in nats per token of a long sequence."""

    blind: float  # knows nothing
    last_token: float  # knows the last token
    all_open: float  # knows all brackets that are open: the entropy rate


def losses(vocabulary: int = 100, opening: float = 0.5, deepest: int = 8) -> Losses:
    """What there is to learn, exactly. Raises ValueError for numbers that make no brackets.

    The number of open brackets is a random walk from 0 to ``deepest``. Its stationary distribution balances, for each
    depth, the steps up from it and those down to it.
    """
    kinds = math.log(_kinds(vocabulary, opening, deepest))
    up = np.array([1.0, *[opening] * (deepest - 1), 0.0])
    weights = np.cumprod([1.0, *(up[:-1] / (1 - up[1:]))])
    occupied = weights / weights.sum()
    opens, closes = occupied * up, occupied * (1 - up)
    # Chances to close after an opening and after a closing bracket: a depth is reached from below, or from above.
    after_opening = float(opens[:-1] @ (1 - up[1:]) / opens.sum())
    after_closing = float(closes[1:] @ (1 - up[:-1]) / closes.sum())
    one = 0.5 * (_two(after_opening) + (1 - after_opening) * kinds) + 0.5 * (_two(after_closing) + kinds)
    every = float(occupied @ [_two(p) + p * kinds for p in up])
    return Losses(math.log(vocabulary), one, every)


def _two(probability: float) -> float:
    """The entropy of two outcomes."""
    return -sum(p * math.log(p) for p in (probability, 1 - probability) if p > 0)


def _kinds(vocabulary: int, opening: float, deepest: int) -> int:
    if vocabulary < 2 or vocabulary % 2:
        raise ValueError(f"vocabulary must be even, two tokens for each kind of bracket, not {vocabulary}")
    if not 0 < opening < 1:
        raise ValueError(f"opening must lie between 0 and 1, not {opening}")
    if deepest < 1:
        raise ValueError(f"deepest must be at least 1, not {deepest}")
    return vocabulary // 2
