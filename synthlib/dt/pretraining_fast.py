"""The fast twin of GPT-2's forward pass in pre-training: the same function of the same Hugging Face model.

A token attends to earlier ones only, so queries go in blocks, each against the tokens up to its own end: a little more
than half of the attention's work at 1024 tokens, and as much less to drop out. The projections of the attention are
merged (:mod:`synthlib.dt.attention_fast`), which needs a model with one head. Dropout comes from the generator that is
given, not from torch's global one. So with dropout the twins agree in distribution only; without it, to rounding.
"""

import math
from typing import TYPE_CHECKING, Any

import torch

from synthlib.dt.attention_fast import MergedWeights, answers, merged, mix, questions
from synthlib.dt.dropout import dropout_factors, dropped
from synthlib.dt.model_fast import product
from synthlib.dt.pretraining import logits
from synthlib.kernels.twins import twin_of

if TYPE_CHECKING:  # takes seconds, and the model is given
    from transformers import GPT2LMHeadModel

BLOCK = 256


@twin_of(logits, when=lambda config: config.heads == 1)
def fast_logits(
    model: "GPT2LMHeadModel", tokens: torch.Tensor, generator: torch.Generator | None = None, block: int = BLOCK
) -> torch.Tensor:
    """Next-token logits (B, T, V) of a ``GPT2LMHeadModel`` with ReLU and one head, in float32 or float64.

    ``tokens`` (B, T) int; dropout acts, with the probabilities of the model's config, only if ``generator`` is given.
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
    generator: torch.Generator | None,
) -> torch.Tensor:
    """What the attention adds to the residual stream: (B, T, E) -> (B, T, E); ``future`` (b, b) hides it in a block."""
    block = len(future)
    mixed: list[torch.Tensor] = []
    sums: list[torch.Tensor] = []  # empty without dropout, where the shares of a token sum to 1
    for queries in questions(weights, states).split(block, dim=1):
        seen = states[:, : block * (len(mixed) + 1)]
        shape = queries.shape[1], seen.shape[1]
        factors = dropout_factors((len(states), *shape), probability, generator, states.device)
        of_block, sum_of_shares = mix(queries, seen, future[: shape[0], : shape[0]], factors)
        mixed.append(of_block)
        if sum_of_shares is not None:
            sums.append(sum_of_shares)
    return answers(weights, torch.cat(mixed, dim=1), torch.cat(sums, dim=1) if sums else None)


def _add(x: torch.Tensor, change: torch.Tensor, probability: float, generator: torch.Generator | None) -> torch.Tensor:
    factors = dropout_factors(change.shape, probability, generator, x.device)
    return x + change if factors is None else torch.addcmul(x, change, factors)
