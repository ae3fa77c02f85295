"""The fast twins of the Decision Transformer's forward pass with one attention head: the same functions, less work.

* Only the action predictions carry loss, and they read the observation tokens. So the last layer computes its queries,
  its output projection and its feed-forward part for these tokens alone, which saves a fifth of all work. In evaluation
  it computes them for the last observation token alone.
* The projections of the attention are merged (:mod:`synthlib.dt.attention_fast`), which saves another fifth.
* In evaluation the window slides by one step. The first layer's activations of the tokens that stay are kept, which
  saves a tenth of a step's matrix products, and the embedding of these tokens.
* Each matrix product is one call, bias included, of the faster library on this processor
  (:mod:`synthlib.kernels.products`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from synthlib.dt.attention_fast import MergedWeights, attend, merged, mix, questions
from synthlib.dt.dropout import Dropouts, Factors, dropped, no_dropouts
from synthlib.dt.model import MASKED, DecisionTransformer, DTConfig, LastAction, predict_actions
from synthlib.kernels.products import affine
from synthlib.kernels.twins import twin_of
from synthlib.machine.devices import put

OBSERVATION_TOKENS = slice(1, None, 3)


def _has_one_head(config: DTConfig) -> bool:
    return config.heads == 1


@twin_of(predict_actions, when=_has_one_head)
def fast_predict_actions(
    model: DecisionTransformer,
    observations: torch.Tensor,
    actions: torch.Tensor,
    returns_to_go: torch.Tensor,
    timesteps: torch.Tensor,
    mask: torch.Tensor,
    dropouts: Dropouts | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(action predictions (B, K, A), embeddings (B, 3K, E)); the same function with the arguments written out."""
    dropouts = dropouts or no_dropouts(model.config)
    embeddings, x = model.embed(observations, actions, returns_to_go, timesteps)
    x, attentions = dropped(x, dropouts.embedding), [merged(block.attn) for block in model.h]
    return _actions(model, _trunk(model, attentions, x, _hidden(mask), dropouts, OBSERVATION_TOKENS)), embeddings


@twin_of(LastAction, when=_has_one_head)
class FastLastAction:
    """The action for the last step of each window, with attention weights that are merged once, not at each step.

    A window is often the window of the previous call moved by one step. All its tokens but the last three are then in
    both windows. The first layer's activations that depend on one of these tokens alone are kept.
    """

    @torch.no_grad()
    def __init__(self, model: DecisionTransformer) -> None:
        self.model = model
        self._attentions = [merged(block.attn) for block in model.h]
        self._first: Any = model.h[0]
        self._window: list[np.ndarray] | None = None  # of the previous call
        self._tokens: torch.Tensor | None = None  # the result of _project in the previous call

    @torch.inference_mode()
    def __call__(self, *window: np.ndarray) -> np.ndarray:
        """float32 (n, L, O), (n, L, A), (n, L, 1) and int (n, L) without padding -> actions (n, A)."""
        model = self.model
        tokens = self._project(window)
        self._window, self._tokens = [part.copy() for part in window], tokens
        x, seen, queries, values = tokens.split(model.config.width, dim=2)
        bias, dropouts = _future(x.shape[1], x)[None], no_dropouts(model.config)
        last = slice(-1, None)
        asking = last if model.config.layers == 1 else slice(None)
        mixed, _ = mix(queries[:, asking], seen, bias[:, asking], values=values)
        mixed += self._attentions[0].value_bias + self._attentions[0].bias
        x = _feed_forward(self._first, x[:, asking] + mixed)
        return _actions(model, _trunk(model, self._attentions, x, bias, dropouts, last, begin=1))[:, -1].cpu().numpy()

    def _project(self, window: Sequence[np.ndarray]) -> torch.Tensor:
        """Four vectors of each token, side by side, (n, 3L - 1, 4E).

        They are the token's embedding, and its normalised state, query and projected value in the first layer. The last
        action token is left out, because that action is to be predicted.
        """
        if self._tokens is None or not _goes_on(self._window, window):
            return self._project_tokens(window, slice(None, -1))
        # Three tokens are new: the action that the previous call predicted, and the present return and observation.
        new = self._project_tokens([part[:, -2:] for part in window], slice(2, -1))
        shared = 3 * window[3].shape[1] - 1 - new.shape[1]
        return torch.cat([self._tokens[:, -shared:], new], dim=1)

    def _project_tokens(self, window: Sequence[np.ndarray], tokens: slice) -> torch.Tensor:
        model, attention, first = self.model, self._attentions[0], self._first
        _, x = model.embed(*put(model.ln_f.weight.device, *window))
        seen = first.ln_1(x[:, tokens])
        return torch.cat([x[:, tokens], seen, questions(attention, seen), affine(seen, attention.answer)], dim=2)


def _goes_on(known: list[np.ndarray] | None, window: Sequence[np.ndarray]) -> bool:
    """Whether ``window`` is the window ``known`` moved by one step; the last action in ``known`` does not count."""
    shared = window[3].shape[1] - 1
    if known is None or not 0 < shared <= known[3].shape[1] or len(known[3]) != len(window[3]):
        return False
    pairs = [(before[:, -shared:], now[:, :shared]) for before, now in zip(known, window, strict=True)]
    pairs[1] = pairs[1][0][:, :-1], pairs[1][1][:, :-1]
    return all(np.array_equal(before, now) for before, now in pairs)


def _hidden(mask: torch.Tensor) -> torch.Tensor:
    """The bias of the attention scores, (B, 3K, 3K): large and negative for future and padded tokens, else 0."""
    tokens = mask.repeat_interleave(3, dim=1)
    return _future(tokens.shape[1], mask) + ((1 - tokens) * MASKED)[:, None, :]


def _future(tokens: int, like: torch.Tensor) -> torch.Tensor:
    """The causal part of this bias, (tokens, tokens), with the dtype and device of ``like``."""
    return torch.full((tokens, tokens), MASKED, dtype=like.dtype, device=like.device).triu(1)


def _trunk(
    model: DecisionTransformer,
    attentions: Sequence[MergedWeights],
    x: torch.Tensor,
    bias: torch.Tensor,
    dropouts: Dropouts,
    wanted: slice,
    begin: int = 0,
) -> torch.Tensor:
    """The layers from ``begin`` on; returns final hidden states of the ``wanted`` tokens. (B, T, E) -> (B, W, E)."""
    everything = slice(None)
    for layer in range(begin, model.config.layers):
        block: Any = model.h[layer]
        tokens = wanted if layer == model.config.layers - 1 else everything
        attention, mixed, fed = (table[layer] for table in (dropouts.attention, dropouts.mixed, dropouts.fed))
        seen = block.ln_1(x)
        attention = None if attention is None else attention[:, 0, tokens]
        change = attend(attentions[layer], seen[:, tokens], seen, bias[:, tokens], attention)
        x = _feed_forward(block, _add(x[:, tokens], change, mixed, tokens), fed, tokens)
    return model.ln_f(x)


def _feed_forward(block: Any, x: torch.Tensor, factors: Factors = None, tokens: slice | None = None) -> torch.Tensor:
    inner = product(block.ln_2(x), block.mlp.c_fc, relu=True)
    return _add(x, product(inner, block.mlp.c_proj), factors, tokens)


def product(x: torch.Tensor, projection: Any, relu: bool = False) -> torch.Tensor:
    """x W + b for a GPT-2 ``projection``: (..., I) -> (..., O)."""
    return affine(x, projection.weight, projection.bias, relu)


def _add(x: torch.Tensor, change: torch.Tensor, factors: Factors, tokens: slice | None) -> torch.Tensor:
    return x + change if factors is None else torch.addcmul(x, change, factors[:, tokens])


def _actions(model: DecisionTransformer, hidden: torch.Tensor) -> torch.Tensor:
    if model.config.tied_projections:
        return torch.tanh(hidden @ model.embed_action.weight)
    return torch.tanh(model.predict_action(hidden))
