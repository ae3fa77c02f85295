"""The fast twin of the Decision Transformer's forward pass: the same function, less work.

Only the action predictions carry loss, and they read the observation tokens. So the last layer's queries, its output
projection and its feed-forward part are computed for these tokens alone (a fifth of all work), and in evaluation for
the last one alone. Products run as one call each, bias and ReLU included, by the library that is quicker on this
processor (:mod:`synthlib.products`).
"""

import math

import torch

from synthlib.decision_transformer import MASKED, dropped, no_dropouts
from synthlib.devices import put
from synthlib.products import affine

OBSERVATION_TOKENS = slice(1, None, 3)


def predict_actions(model, observations, actions, returns_to_go, timesteps, mask, dropouts=None):
    """(action predictions (B, K, A), embeddings (B, 3K, E)): arguments and values as of the model's ``forward``."""
    dropouts = dropouts or no_dropouts(model.config)
    embeddings, x = model.embed(observations, actions, returns_to_go, timesteps)
    hidden = _trunk(model, dropped(x, dropouts.embedding), _attention_bias(mask), dropouts, OBSERVATION_TOKENS)
    return _actions(model, hidden), embeddings


@torch.no_grad()
def predict_last_action(model, observations, actions, returns_to_go, timesteps):
    """Twin of :func:`synthlib.dt_evaluation.predict_last_action`: NumPy windows in, actions (n, A) out."""
    device = model.ln_f.weight.device
    _, x = model.embed(*put(device, observations, actions, returns_to_go, timesteps))
    x = x[:, :-1]  # the last action token is the question, and no earlier token sees it
    hidden = _trunk(model, x, _future(x.shape[1], x)[None], no_dropouts(model.config), slice(-1, None))
    return _actions(model, hidden)[:, -1].cpu().numpy()


def _attention_bias(mask):
    """What is added to the scores: (B, 3K, 3K), huge and negative on the future and on padding."""
    tokens = mask.repeat_interleave(3, dim=1)
    return _future(tokens.shape[1], mask) + ((1 - tokens) * MASKED)[:, None, :]


def _future(tokens, like):
    return torch.full((tokens, tokens), MASKED, dtype=like.dtype, device=like.device).triu(1)


def _trunk(model, x, bias, dropouts, wanted):
    """Final hidden states of the ``wanted`` tokens (a slice): (B, 3K, E) -> (B, W, E)."""
    everything = slice(None)
    for layer, block in enumerate(model.h):
        tokens = wanted if layer == model.config.layers - 1 else everything
        attention, mixed, fed = (table[layer] for table in (dropouts.attention, dropouts.mixed, dropouts.fed))
        heads = _attend(block.attn, block.ln_1(x), bias, tokens, attention)
        x = _add(x[:, tokens], product(heads, block.attn.c_proj), mixed, tokens)
        inner = product(block.ln_2(x), block.mlp.c_fc, relu=True)
        x = _add(x, product(inner, block.mlp.c_proj), fed, tokens)
    return model.ln_f(x)


def _attend(attention, x, bias, tokens, factors):
    """Mixed values (B, W, E) for the queries of ``tokens``, keys and values of all."""
    config = attention.config
    batch, _, width = x.shape
    if tokens == slice(None):
        query, key, value = product(x, attention.c_attn).split(width, dim=2)
    else:
        query = product(x[:, tokens], attention.c_attn, slice(0, width))
        key, value = product(x, attention.c_attn, slice(width, None)).split(width, dim=2)
        bias = bias[:, tokens]
        factors = None if factors is None else factors[:, :, tokens]
    if config.heads > 1:
        query, key, value = (
            part.unflatten(2, (config.heads, -1)).transpose(1, 2).flatten(0, 1) for part in (query, key, value)
        )
        bias = bias.expand(batch, -1, -1).repeat_interleave(config.heads, dim=0)
    weights = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=1 / math.sqrt(query.shape[2])).softmax(dim=-1)
    mixed = torch.bmm(dropped(weights, None if factors is None else factors.flatten(0, 1)), value)
    if config.heads > 1:
        mixed = mixed.unflatten(0, (batch, config.heads)).transpose(1, 2).flatten(2)
    return mixed


def product(x, projection, outputs=slice(None), relu=False):
    """x W + b for a GPT-2 ``projection``, or for a slice of its ``outputs``: (..., I) -> (..., W)."""
    return affine(x, projection.weight[:, outputs], projection.bias[outputs], relu)


def _add(x, change, factors, tokens):
    return x + change if factors is None else torch.addcmul(x, change, factors[:, tokens])


def _actions(model, hidden):
    if model.config.tied_projections:
        return torch.tanh(hidden @ model.embed_action.weight)
    return torch.tanh(model.predict_action(hidden))
