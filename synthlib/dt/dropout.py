"""Dropout whose factors are an argument: drawn for a whole update at once, from a generator that is given.

So an update repeats whenever its generator is made again, and the readable and the fast forward pass can be compared
with dropout. Hugging Face's modules draw from torch's global generator instead.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from synthlib.machine.devices import CPU

if TYPE_CHECKING:  # the model imports this file
    from synthlib.dt.model import DTConfig

Factors = torch.Tensor | None
"""0 or 1/(1-p) for each number that dropout acts on; None where nothing is dropped."""


class Dropouts(NamedTuple):
    """The dropout factors of one pass of a Decision Transformer.

    ``embedding`` (B, 3K, E), and per layer ``attention`` (B, H, 3K, 3K), ``mixed`` and ``fed`` (B, 3K, E) for what
    the attention and the feed-forward part add to the residual stream.
    """

    embedding: Factors
    attention: list[Factors]
    mixed: list[Factors]
    fed: list[Factors]


def draw_dropouts(
    config: "DTConfig", batch: int, steps: int, generator: torch.Generator | None, device: torch.device = CPU
) -> Dropouts:
    """:class:`Dropouts` for ``batch`` windows of ``steps`` steps on ``device``; ``generator`` None draws none."""

    def factors(shape: tuple[int, ...], probability: float) -> Factors:
        return dropout_factors(shape, probability, generator, device)

    tokens = (batch, 3 * steps, config.width)
    pairs = (batch, config.heads, 3 * steps, 3 * steps)
    layers = range(config.layers)
    return Dropouts(
        embedding=factors(tokens, config.embedding_dropout),
        attention=[factors(pairs, config.attention_dropout) for _ in layers],
        mixed=[factors(tokens, config.residual_dropout) for _ in layers],
        fed=[factors(tokens, config.residual_dropout) for _ in layers],
    )


def no_dropouts(config: "DTConfig") -> Dropouts:
    """:class:`Dropouts` that drop nothing."""
    return draw_dropouts(config, 0, 0, generator=None)


def dropout_factors(
    shape: tuple[int, ...], probability: float, generator: torch.Generator | None, device: torch.device = CPU
) -> Factors:
    """float32 of ``shape``, 0 with ``probability`` and 1/(1-p) otherwise; None when nothing is to be dropped."""
    if generator is None or probability == 0:
        return None
    # Four decisions from each 64 random bits: torch's own Bernoulli draws cost four times as much on a CPU.
    count = math.prod(shape)
    bits = torch.empty((count + 3) // 4, dtype=torch.int64, device=device)
    bits.random_(-(2**63), None, generator=generator)
    factors = torch.empty(count, device=device)
    # Straight to 0 and 1: by way of booleans it takes five times as long.
    torch.ge(bits.view(torch.int16)[:count], round(probability * 2**16) - 2**15, out=factors)
    return factors.view(shape).mul_(1 / (1 - probability))


def dropped(x: torch.Tensor, factors: Factors) -> torch.Tensor:
    """``x`` with dropout ``factors`` of its shape applied."""
    return x if factors is None else x * factors
