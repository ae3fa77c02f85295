"""The fast twin of GPT-2's forward pass in pre-training: the same function of the same Hugging Face model.

A token attends only to itself and earlier tokens. So the queries are divided into blocks, and each block attends to the
tokens up to its own end. At 1024 tokens this leaves a little more than half of the attention's work, and as many
dropout factors to draw. The projections of the attention are merged (:mod:`synthlib.dt.attention_fast`), which needs a
model with one head. Dropout draws from the given generator in the order of the readable pass, so the twins agree up to
rounding with dropout as well.
"""

import math
from typing import TYPE_CHECKING, Any

import torch

from synthlib.dt.attention_fast import MergedWeights, answers, merged, mix, questions
from synthlib.dt.dropout import ATTENTION_BLOCK, Generator, dropout_factors, dropped
from synthlib.dt.model_fast import product
from synthlib.dt.pretraining import logits
from synthlib.kernels.twins import twin_of

if TYPE_CHECKING:  # the import takes seconds, and is not needed: the model is an argument
    from transformers import GPT2LMHeadModel


@twin_of(logits, when=lambda config: config.heads == 1)
def fast_logits(
    model: "GPT2LMHeadModel",
    tokens: torch.Tensor,
    generator: Generator | None = None,
    block: int = ATTENTION_BLOCK,
) -> torch.Tensor:
    """Next-token logits (B, T, V) of a ``GPT2LMHeadModel`` with ReLU and one head, in float32 or float64.

    ``tokens`` (B, T) int. Dropout has the probabilities of the model's config; there is none without ``generator``.
    ``block`` is the number of queries in a block.
    """
    trunk: Any = model.transformer
    config = model.config
    x = trunk.wte(tokens) + trunk.wpe.weight[: tokens.shape[1]]
    x = dropped(x, dropout_factors(x.shape, config.embd_pdrop, generator, x.device))
    future = torch.full((block, block), -math.inf, dtype=x.dtype, device=x.device).triu(1)
    for layer in trunk.h:
        change = _causal_attention(merged(layer.attn), layer.ln_1(x), future, config.attn_pdrop, generator)
        x = _add(x, change, config.resid_pdrop, generator)
        inner = product(layer.ln_2(x), layer.mlp.c_fc, relu=True)
        x = _add(x, product(inner, layer.mlp.c_proj), config.resid_pdrop, generator)
    return trunk.ln_f(x) @ trunk.wte.weight.T


def _causal_attention(
    weights: MergedWeights,
    states: torch.Tensor,
    future: torch.Tensor,
    probability: float,
    generator: Generator | None,
) -> torch.Tensor:
    """What the attention layer adds to the residual stream: normalised ``states`` (B, T, E) -> (B, T, E).

    ``future`` (b, b) hides future tokens in a block of b queries; ``probability`` is for dropout.
    """
    block = len(future)
    mixed: list[torch.Tensor] = []
    sums: list[torch.Tensor] = []  # empty without dropout, where the attention weights of a token sum to 1
    for queries in questions(weights, states).split(block, dim=1):
        seen = states[:, : block * (len(mixed) + 1)]
        shape = queries.shape[1], seen.shape[1]
        factors = dropout_factors((len(states), *shape), probability, generator, states.device)
        mixed_block, sums_block = mix(queries, seen, future[: shape[0], : shape[0]], factors)
        mixed.append(mixed_block)
        if sums_block is not None:
            sums.append(sums_block)
    return answers(weights, torch.cat(mixed, dim=1), torch.cat(sums, dim=1) if sums else None)


def _add(x: torch.Tensor, change: torch.Tensor, probability: float, generator: Generator | None) -> torch.Tensor:
    factors = dropout_factors(change.shape, probability, generator, x.device)
    return x + change if factors is None else torch.addcmul(x, change, factors)
