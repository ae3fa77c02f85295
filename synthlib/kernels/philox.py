"""Random numbers that depend on a key and a counter alone: Philox-4x32-10 (Salmon et al., 2011), in PyTorch.

A generator with a state must be drawn from in one order. Here number i of update t of a run is a function of run, t and
i. So a run draws the same numbers whichever runs are computed beside it, and a resumed run goes on without a saved
state. All runs draw in one operation, on the device that needs the numbers.

The words are 32-bit, kept in int64 tensors, since PyTorch has no arithmetic of unsigned 32-bit integers.
"""

import math
from typing import NamedTuple

import torch

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_WORD = 0xFFFFFFFF


class Keys(NamedTuple):
    """The keys of R runs: the low and the high 32 bits of each, int64 (R, 1)."""

    low: torch.Tensor
    high: torch.Tensor


def keys(numbers: list[int], device: torch.device) -> Keys:
    """The :class:`Keys` of runs that are named by non-negative integers below 2^64."""
    low, high = ([number >> shift & _WORD for number in numbers] for shift in (0, 32))
    return Keys(*(torch.tensor(words, dtype=torch.int64, device=device).unsqueeze(1) for words in (low, high)))


def words(of: Keys, update: torch.Tensor, count: int) -> torch.Tensor:
    """``count`` random 32-bit words of each run for one update: int64 (R, count).

    ``update``, its number, is an int64 tensor of one element. A longer draw begins with the shorter one.
    """
    blocks = torch.arange(-(-count // 4), device=of.low.device).unsqueeze(0)
    counter = [blocks, torch.zeros_like(blocks), (update & _WORD).expand_as(blocks), (update >> 32).expand_as(blocks)]
    drawn = torch.stack(philox(counter, of), dim=-1)
    return drawn.flatten(1)[:, :count]


def keys_of_update(of: Keys, update: torch.Tensor, count: int = 1) -> torch.Tensor:
    """``count`` 64-bit keys of each run for one update, for longer draws by another generator: int64 (R, count)."""
    low, high = words(of, update, 2 * count).unflatten(1, (count, 2)).unbind(dim=2)
    return low | high << 32


def philox(counter: list[torch.Tensor], of: Keys) -> list[torch.Tensor]:
    """The four output words of each counter: four tensors in, four out; shapes broadcast against the keys'."""
    c0, c1, c2, c3 = counter
    k0, k1 = of
    for _ in range(_ROUNDS):
        high_0, low_0 = _product(_MULTIPLIERS[0], c0)
        high_1, low_1 = _product(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high_1 ^ c1 ^ k0, low_1, high_0 ^ c3 ^ k1, low_0
        k0, k1 = (k0 + _KEY_STEPS[0]) & _WORD, (k1 + _KEY_STEPS[1]) & _WORD
    return list(torch.broadcast_tensors(c0, c1, c2, c3))


def _product(multiplier: int, word: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """High and low 32 bits of a product of two words. int64 wraps around at 2^63, which changes none of its 64 bits."""
    product = word * multiplier
    return product >> 32 & _WORD, product & _WORD


def unit(of_words: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Words as numbers in (0, 1], from their upper 24 bits, which float32 holds exactly."""
    return ((of_words >> 8) + 1).to(dtype) * 2.0**-24


def normal(of_words: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """An even number of words (R, n) as standard normal numbers (R, n), by Box and Muller: at most 5.8 in size."""
    first, second = unit(of_words, dtype).chunk(2, dim=-1)
    radius, angle = (-2 * first.log()).sqrt(), 2 * math.pi * second
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=-1)
