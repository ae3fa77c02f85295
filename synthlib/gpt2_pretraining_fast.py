"""The fast twin of GPT-2's forward pass in pre-training: the same function of the same Hugging Face model.

A token attends to earlier ones only, so queries go in blocks, each against the tokens up to its own end: a little more
than half of the attention's work at 1024 tokens, and as much less to drop out. The projections of the attention are
merged (:mod:`synthlib.single_head`); a model with several heads is left to Hugging Face's pass. Dropout comes from the
generator given, not from torch's global one, so with dropout the twins agree in distribution only; without it, to
rounding.
"""

import math

import torch

from synthlib.decision_transformer import dropout_factors, dropped
from synthlib.decision_transformer_fast import product
from synthlib.single_head import attend, merged

BLOCK = 256


def logits(model, tokens, generator=None, block=BLOCK):
    """Next-token logits (B, T, V) of a ``GPT2LMHeadModel`` with ReLU, in float32 or float64.

    ``tokens`` (B, T) int; dropout acts, with the probabilities of the model's config, only if ``generator`` is given.
    """
    trunk, config = model.transformer, model.config
    if config.n_head > 1:
        return model(tokens, use_cache=False).logits
    x = trunk.wte(tokens) + trunk.wpe.weight[: tokens.shape[1]]
    x = dropped(x, dropout_factors(x.shape, config.embd_pdrop, generator, x.device))
    for layer in trunk.h:
        change = _causal_attention(merged(layer.attn), layer.ln_1(x), config.attn_pdrop, generator, block)
        x = _add(x, change, config.resid_pdrop, generator)
        inner = product(layer.ln_2(x), layer.mlp.c_fc, relu=True)
        x = _add(x, product(inner, layer.mlp.c_proj), config.resid_pdrop, generator)
    return trunk.ln_f(x) @ trunk.wte.weight.T


def _causal_attention(weights, states, probability, generator, block):
    """What the attention adds to the residual stream: (B, T, E) -> (B, T, E)."""
    batch, length, _ = states.shape
    like = {"dtype": states.dtype, "device": states.device}
    changes = []
    for start in range(0, length, block):
        asking, seen = states[:, start : start + block], states[:, : start + block]
        shape = asking.shape[1], seen.shape[1]
        future = torch.full(shape, -math.inf, **like).triu(start + 1)
        factors = dropout_factors((batch, *shape), probability, generator, states.device)
        changes.append(attend(weights, asking, seen, future, factors))
    return torch.cat(changes, dim=1)


def _add(x, change, probability, generator):
    factors = dropout_factors(change.shape, probability, generator, x.device)
    return x + change if factors is None else torch.addcmul(x, change, factors)
