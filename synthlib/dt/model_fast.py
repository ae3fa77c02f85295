"""The fast twin of the Decision Transformer's forward pass: the same function, less work.

Only the action predictions carry loss, and they read the observation tokens. So the last layer's queries, its output
projection and its feed-forward part are computed for these tokens alone (a fifth of all work), and in evaluation for
the last one alone. The projections of the attention are merged (:mod:`synthlib.dt.attention_fast`, another fifth); a
model with several heads is left to the readable pass. In evaluation, while the window slides, what a token is to the
first layer is kept (a tenth of a step's products, and its embedding). Products run as one call each, bias included, by
the library that is quicker on this processor (:mod:`synthlib.kernels.products`).
"""

import numpy as np
import torch

from synthlib.dt import evaluation as dt_evaluation
from synthlib.dt.attention_fast import attend, merged, mix, questions
from synthlib.dt.model import MASKED, dropped, no_dropouts
from synthlib.kernels.products import affine
from synthlib.machine.devices import put

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
    """Twin of :func:`synthlib.dt.evaluation.predict_last_action`: NumPy windows in, actions (n, A) out."""
    return LastAction(model)(observations, actions, returns_to_go, timesteps)


class LastAction:
    """:func:`predict_last_action` of a model whose weights stay as they are.

    They are merged once, not at each step. A window that is that of the call before, one step further, shares all but
    its last three tokens with it; these keep what the first layer makes of each token alone.
    """

    @torch.no_grad()
    def __init__(self, model):
        self.model = model
        self._attentions = [merged(block.attn) for block in model.h]
        self._window = self._tokens = None  # of the call before

    @torch.inference_mode()
    def __call__(self, *window):
        model = self.model
        if model.config.heads > 1:
            return dt_evaluation.predict_last_action(model, *window)
        self._window, self._tokens = [part.copy() for part in window], self._project(window)
        x, seen, queries, values = self._tokens.split(model.config.width, dim=2)
        bias, dropouts = _future(x.shape[1], x)[None], no_dropouts(model.config)
        last = slice(-1, None)
        asking = last if model.config.layers == 1 else slice(None)
        mixed, _ = mix(queries[:, asking], seen, bias[:, asking], values=values)
        mixed += self._attentions[0].value_bias + self._attentions[0].bias
        x = _feed_forward(model.h[0], x[:, asking] + mixed)
        return _actions(model, _trunk(model, self._attentions, x, bias, dropouts, last, begin=1))[:, -1].cpu().numpy()

    def _project(self, window):
        """Side by side for every token but the last action's, which is the question: its embedding, normalised state,
        question and answer in the first layer, (n, 3L - 1, 4E)."""
        if not _goes_on(self._window, window):
            return self._of_tokens(window, slice(None, -1))
        # New are the last action, which the call before asked for, and the return and observation since.
        new = self._of_tokens([part[:, -2:] for part in window], slice(2, -1))
        shared = 3 * window[3].shape[1] - 1 - new.shape[1]
        return torch.cat([self._tokens[:, -shared:], new], dim=1)

    def _of_tokens(self, window, tokens):
        model, attention = self.model, self._attentions[0]
        _, x = model.embed(*put(model.ln_f.weight.device, *window))
        seen = model.h[0].ln_1(x[:, tokens])
        return torch.cat([x[:, tokens], seen, questions(attention, seen), affine(seen, attention.answer)], dim=2)


def _goes_on(known, window):
    """Whether ``window`` is the ``known`` one, one step further; the last action of that was still unknown."""
    shared = window[3].shape[1] - 1
    if known is None or not 0 < shared <= known[3].shape[1] or len(known[3]) != len(window[3]):
        return False
    pairs = [(before[:, -shared:], now[:, :shared]) for before, now in zip(known, window, strict=True)]
    pairs[1] = [actions[:, :-1] for actions in pairs[1]]
    return all(np.array_equal(before, now) for before, now in pairs)


def _hidden(mask):
    """What is added to the scores: (B, 3K, 3K), huge and negative on the future and on padding."""
    tokens = mask.repeat_interleave(3, dim=1)
    return _future(tokens.shape[1], mask) + ((1 - tokens) * MASKED)[:, None, :]


def _future(tokens, like):
    return torch.full((tokens, tokens), MASKED, dtype=like.dtype, device=like.device).triu(1)


def _trunk(model, attentions, x, bias, dropouts, wanted, begin=0):
    """Final hidden states of the ``wanted`` tokens (a slice), from layer ``begin`` on: (B, 3K, E) -> (B, W, E)."""
    everything = slice(None)
    for layer in range(begin, model.config.layers):
        block, attention = model.h[layer], attentions[layer]
        tokens = wanted if layer == model.config.layers - 1 else everything
        of_shares, mixed, fed = (table[layer] for table in (dropouts.attention, dropouts.mixed, dropouts.fed))
        seen = block.ln_1(x)
        of_shares = None if of_shares is None else of_shares[:, 0, tokens]
        change = attend(attention, seen[:, tokens], seen, bias[:, tokens], of_shares)
        x = _feed_forward(block, _add(x[:, tokens], change, mixed, tokens), fed, tokens)
    return model.ln_f(x)


def _feed_forward(block, x, factors=None, tokens=None):
    inner = product(block.ln_2(x), block.mlp.c_fc, relu=True)
    return _add(x, product(inner, block.mlp.c_proj), factors, tokens)


def product(x, projection, relu=False):
    """x W + b for a GPT-2 ``projection``: (..., I) -> (..., O)."""
    return affine(x, projection.weight, projection.bias, relu)


def _add(x, change, factors, tokens):
    return x + change if factors is None else torch.addcmul(x, change, factors[:, tokens])


def _actions(model, hidden):
    if model.config.tied_projections:
        return torch.tanh(hidden @ model.embed_action.weight)
    return torch.tanh(model.predict_action(hidden))
