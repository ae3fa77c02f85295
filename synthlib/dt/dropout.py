"""Dropout whose factors are an argument of the forward pass: one given generator draws them for a whole update.

So an update can be repeated with a generator of the same seed, and the readable and the fast forward pass have the same
masks. The generator is torch's, or :class:`KeyedBits`, with which many runs draw at once, each its own factors. Hugging
Face's modules draw from torch's global generator; inside :class:`DrawnDropout` they do not.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from synthlib.kernels import splitmix64
from synthlib.machine.devices import CPU

if TYPE_CHECKING:  # the model imports this file
    from synthlib.dt.model import DTConfig

ATTENTION_BLOCK = 256
"""The factors of a causal attention over many tokens are drawn for so many queries at a time."""
Factors = torch.Tensor | None
"""0 or 1/(1-p) for each number that dropout acts on; None for no dropout."""


DROPOUT = "SplitMix64 under keys of Philox-4x32-10, by run and update, on the device"
"""Where the dropout factors of a column come from, for the record of its runs."""


class KeyedBits:
    """A generator of random bits that depend on a key and their place alone: on the key's device, or mapped over keys.

    ``key`` is int64 (..., 1); what is drawn has the leading axes of ``key``.
    """

    def __init__(self, key: torch.Tensor) -> None:
        self._key, self._drawn = key, 0

    def words(self, count: int) -> torch.Tensor:
        """The next ``count`` words of 64 random bits, int64 (..., count)."""
        self._drawn += count
        return splitmix64.words(self._key, self._drawn - count, count)


Generator = torch.Generator | KeyedBits


class Dropouts(NamedTuple):
    """The dropout factors of one forward pass of a Decision Transformer.

    ``embedding`` (B, 3K, E) is for the input tokens. Per layer, ``attention`` (B, H, 3K, 3K) is for the attention
    weights, ``mixed`` (B, 3K, E) for the output of the attention, and ``fed`` (B, 3K, E) for the output of the
    feed-forward part.
    """

    embedding: Factors
    attention: list[Factors]
    mixed: list[Factors]
    fed: list[Factors]


def draw_dropouts(
    config: "DTConfig", batch: int, steps: int, generator: Generator | None, device: torch.device = CPU
) -> Dropouts:
    """:class:`Dropouts` for ``batch`` windows of ``steps`` steps on ``device``; no dropout if ``generator`` is None."""

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
    shape: tuple[int, ...], probability: float, generator: Generator | None, device: torch.device = CPU
) -> Factors:
    """float32 of ``shape``: 0 with ``probability`` p, else 1/(1-p). None for no dropout: p = 0, or no generator."""
    if generator is None or probability == 0:
        return None
    # Each 64 random bits decide four numbers: torch's own Bernoulli draws cost four times as much on a CPU.
    count, threshold = math.prod(shape), round(probability * 2**16) - 2**15
    if isinstance(generator, KeyedBits):
        kept = generator.words((count + 3) // 4).view(torch.int16)[..., :count] >= threshold
        return torch.where(kept, 1 / (1 - probability), 0.0).reshape(*kept.shape[:-1], *shape)
    bits = torch.empty((count + 3) // 4, dtype=torch.int64, device=device)
    bits.random_(-(2**63), None, generator=generator)
    factors = torch.empty(count, device=device)
    # The comparison writes 0 and 1 as floats directly: by way of booleans it takes five times as long.
    torch.ge(bits.view(torch.int16)[:count], threshold, out=factors)
    return factors.view(shape).mul_(1 / (1 - probability))


def dropped(x: torch.Tensor, factors: Factors) -> torch.Tensor:
    """``x`` times the dropout ``factors`` of the same shape."""
    return x if factors is None else x * factors


class DrawnDropout(TorchFunctionMode):
    """Inside the context, every dropout of PyTorch takes its factors from ``generator``, in the order of the calls.

    There is no dropout if ``generator`` is None, nor outside of ``train()`` mode.
    """

    def __init__(self, generator: Generator | None) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace ``torch.nn.functional.dropout``, and leave every other function as it is."""
        kwargs = dict(kwargs or {})
        if func is not F.dropout:
            return func(*args, **kwargs)
        x, probability, training = _dropout_arguments(*args, **kwargs)
        generator = self.generator if training else None
        is_attention = x.dim() == 4  # weights (B, H, T, T) of queries and keys
        return dropped(
            x, (_causal_factors if is_attention else dropout_factors)(x.shape, probability, generator, x.device)
        )


def _dropout_arguments(x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """The arguments of ``torch.nn.functional.dropout`` that matter here."""
    return x, p, training


def _causal_factors(
    shape: Sequence[int], probability: float, generator: Generator | None, device: torch.device
) -> Factors:
    """Factors (B, H, T, T) of attention weights; no factor is drawn for the keys after a block of queries."""
    if generator is None or probability == 0:
        return None
    *outer, tokens, _ = shape
    factors = torch.zeros(tuple(shape), device=device)  # the future has weight 0, whatever its factor
    for start in range(0, tokens, ATTENTION_BLOCK):
        end = min(start + ATTENTION_BLOCK, tokens)
        block = dropout_factors((*outer, end - start, end), probability, generator, device)
        factors[..., start:end, :end] = 1.0 if block is None else block
    return factors
