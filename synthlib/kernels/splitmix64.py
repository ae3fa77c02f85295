"""Many random words from one key: SplitMix64 (Steele, Lea and Flood, 2014), in PyTorch.

Word i of a key is a function of the key and i, in a dozen integer operations. Philox (:mod:`synthlib.kernels.philox`)
takes 160 for as many bits, and an update of a Decision Transformer needs two million words for dropout alone. So Philox
draws one key for each run and update, and this generator draws the words.

The words are 64-bit, kept in int64 tensors, whose products and sums wrap around as those of unsigned integers do.
"""

import torch

_GAMMA = 0x9E3779B97F4A7C15 - 2**64
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


def words(keys: torch.Tensor, start: int, count: int) -> torch.Tensor:
    """Words ``start`` to ``start + count`` of each key: int64 (..., 1) -> int64 (..., count)."""
    z = keys + torch.arange(start + 1, start + count + 1, device=keys.device) * _GAMMA
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    return z ^ _shifted(z, 31)


def _shifted(z: torch.Tensor, bits: int) -> torch.Tensor:
    """A shift to the right that fills up with zeros, as of unsigned integers."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
