"""The fast twin of GPT-2's forward pass in pre-training: the same function of the same Hugging Face model.

A token attends to earlier ones only, so queries go in blocks, each against the keys up to its own end: a little more
than half of the attention's work at 1024 tokens, and as much less to drop out. Dropout comes from the generator given,
not from torch's global one, so with dropout the twins agree in distribution only; without it, to rounding.
"""

import math

import torch

from synthlib.decision_transformer import dropout_factors, dropped
from synthlib.decision_transformer_fast import product

BLOCK = 256


def logits(model, tokens, generator=None, block=BLOCK):
    """Next-token logits (B, T, V) of a ``GPT2LMHeadModel`` with ReLU, in float32 or float64.

    ``tokens`` (B, T) int; dropout acts, with the probabilities of the model's config, only if ``generator`` is given.
    """
    trunk, config = model.transformer, model.config
    x = trunk.wte(tokens) + trunk.wpe.weight[: tokens.shape[1]]
    x = dropped(x, dropout_factors(x.shape, config.embd_pdrop, generator, x.device))
    for layer in trunk.h:
        mixed = _causal_attention(product(layer.ln_1(x), layer.attn.c_attn), config, generator, block)
        x = _add(x, product(mixed, layer.attn.c_proj), config.resid_pdrop, generator)
        inner = product(layer.ln_2(x), layer.mlp.c_fc, relu=True)
        x = _add(x, product(inner, layer.mlp.c_proj), config.resid_pdrop, generator)
    return trunk.ln_f(x) @ trunk.wte.weight.T


def _causal_attention(projected, config, generator, block):
    """(B, T, 3E) queries, keys and values -> (B, T, E)."""
    batch, length, _ = projected.shape
    query, key, value = projected.split(config.n_embd, dim=2)
    if config.n_head > 1:
        query, key, value = (_split_heads(part, config.n_head) for part in (query, key, value))
    scale = 1 / math.sqrt(query.shape[2])
    mixed = []
    for start, part in zip(range(0, length, block), query.split(block, dim=1), strict=True):
        stop = start + part.shape[1]
        shape, like = (part.shape[1], stop), {"dtype": projected.dtype, "device": projected.device}
        future = torch.full(shape, -math.inf, **like).triu(start + 1)
        scores = torch.baddbmm(future, part, key[:, :stop].transpose(1, 2), alpha=scale)
        weights = scores.softmax(dim=-1)
        weights = dropped(weights, dropout_factors(weights.shape, config.attn_pdrop, generator, weights.device))
        mixed.append(torch.bmm(weights, value[:, :stop]))
    mixed = torch.cat(mixed, dim=1)
    return mixed if config.n_head == 1 else mixed.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2)


def _split_heads(part, heads):
    return part.unflatten(2, (heads, -1)).transpose(1, 2).flatten(0, 1)


def _add(x, change, probability, generator):
    factors = dropout_factors(change.shape, probability, generator, x.device)
    return x + change if factors is None else torch.addcmul(x, change, factors)
