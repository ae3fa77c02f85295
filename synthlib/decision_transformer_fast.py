"""The fast twin of the Decision Transformer's forward pass: the same function, less work.

Only the action predictions carry loss, and they read the observation tokens. So the last layer's queries, its output
projection and its feed-forward part are computed for these tokens alone (a fifth of all work), and in evaluation for
the last one alone. The projections of the attention are merged (:mod:`synthlib.single_head`, another fifth); a model
with several heads is left to the readable pass. Products run as one call each, bias included, by the library
that is quicker on this processor (:mod:`synthlib.products`).
"""

import torch

from synthlib import dt_evaluation
from synthlib.decision_transformer import MASKED, dropped, no_dropouts
from synthlib.devices import put
from synthlib.products import affine
from synthlib.single_head import attend, merged

OBSERVATION_TOKENS = slice(1, None, 3)


def predict_actions(model, observations, actions, returns_to_go, timesteps, mask, dropouts=None):
    """(action predictions (B, K, A), embeddings (B, 3K, E)): arguments and values as of the model's ``forward``."""
    if model.config.heads > 1:
        predictions = model(observations, actions, returns_to_go, timesteps, mask, dropouts)
        return predictions.action, predictions.embeddings
    dropouts = dropouts or no_dropouts(model.config)
    embeddings, x = model.embed(observations, actions, returns_to_go, timesteps)
    x, attentions = dropped(x, dropouts.embedding), [merged(block.attn) for block in model.h]
    return _actions(model, _trunk(model, attentions, x, _hidden(mask), dropouts, OBSERVATION_TOKENS)), embeddings


def predict_last_action(model, observations, actions, returns_to_go, timesteps):
    """Twin of :func:`synthlib.dt_evaluation.predict_last_action`: NumPy windows in, actions (n, A) out."""
    return LastAction(model)(observations, actions, returns_to_go, timesteps)


class LastAction:
    """:func:`predict_last_action` of a model whose weights stay as they are: merged once, not at each step."""

    @torch.no_grad()
    def __init__(self, model):
        self.model = model
        self._attentions = [merged(block.attn) for block in model.h]

    @torch.inference_mode()
    def __call__(self, observations, actions, returns_to_go, timesteps):
        model = self.model
        if model.config.heads > 1:
            return dt_evaluation.predict_last_action(model, observations, actions, returns_to_go, timesteps)
        _, x = model.embed(*put(model.ln_f.weight.device, observations, actions, returns_to_go, timesteps))
        x = x[:, :-1]  # the last action token is the question, and no earlier token sees it
        bias = _future(x.shape[1], x)[None]
        hidden = _trunk(model, self._attentions, x, bias, no_dropouts(model.config), slice(-1, None))
        return _actions(model, hidden)[:, -1].cpu().numpy()


def _hidden(mask):
    """What is added to the scores: (B, 3K, 3K), huge and negative on the future and on padding."""
    tokens = mask.repeat_interleave(3, dim=1)
    return _future(tokens.shape[1], mask) + ((1 - tokens) * MASKED)[:, None, :]


def _future(tokens, like):
    return torch.full((tokens, tokens), MASKED, dtype=like.dtype, device=like.device).triu(1)


def _trunk(model, attentions, x, bias, dropouts, wanted):
    """Final hidden states of the ``wanted`` tokens (a slice): (B, 3K, E) -> (B, W, E)."""
    everything = slice(None)
    for layer, (block, attention) in enumerate(zip(model.h, attentions, strict=True)):
        tokens = wanted if layer == model.config.layers - 1 else everything
        of_shares, mixed, fed = (table[layer] for table in (dropouts.attention, dropouts.mixed, dropouts.fed))
        seen = block.ln_1(x)
        of_shares = None if of_shares is None else of_shares[:, 0, tokens]
        change = attend(attention, seen[:, tokens], seen, bias[:, tokens], of_shares)
        x = _add(x[:, tokens], change, mixed, tokens)
        inner = product(block.ln_2(x), block.mlp.c_fc, relu=True)
        x = _add(x, product(inner, block.mlp.c_proj), fed, tokens)
    return model.ln_f(x)


def product(x, projection, relu=False):
    """x W + b for a GPT-2 ``projection``: (..., I) -> (..., O)."""
    return affine(x, projection.weight, projection.bias, relu)


def _add(x, change, factors, tokens):
    return x + change if factors is None else torch.addcmul(x, change, factors[:, tokens])


def _actions(model, hidden):
    if model.config.tied_projections:
        return torch.tanh(hidden @ model.embed_action.weight)
    return torch.tanh(model.predict_action(hidden))
