"""The Decision Transformer in the two configurations behind the paper's Table 1 (faithfulness section 3).

Each timestep becomes three tokens: return-to-go, observation, action. A GPT-2 trunk reads the tokens causally, and the
action is predicted from the *observation* token. The baseline and the pre-trained arms differ in more than their
weights (faithfulness 0.4a): the pre-trained arms take the time embedding from GPT-2's position table and tie the output
heads to the input embeddings. :func:`baseline_config` and :func:`pretrained_config` are these two configurations. The
matched control has the second configuration and the weights of an untrained GPT-2.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from synthlib.dt.dropout import Dropouts, Factors, dropped, no_dropouts
from synthlib.dt.windows import CONTEXT, RETURN_SCALE
from synthlib.machine.devices import put
from synthlib.runs.identity import added_later
from synthlib.tasks import MAX_EPISODE_STEPS

GPT2_POSITIONS = 1024
GPT2_STD = 0.02
MASKED = -1e4  # what the reference writes into hidden attention scores (faithfulness 3.13)


@dataclass(frozen=True)
class DTConfig:
    """Shape and inputs of a model.

    Raises ValueError when ``context``, ``return_scale`` or ``time_limit`` is not positive, and when ``time_limit``
    exceeds the rows of the time embedding, or ``width`` cannot be divided among the ``heads``.
    """

    observation_width: int
    action_width: int
    width: int = 128
    layers: int = 3
    heads: int = 1
    timesteps: int = 1000  # rows of the time embedding
    wpe_as_time_embedding: bool = False  # the time embedding is GPT-2's position table (`extend_positions`)
    tied_projections: bool = False  # heads are the transposed input embeddings (`share_input_output_proj`)
    # Add the time before the layer norm, as in the first Decision Transformer paper. The authors add it after the norm.
    time_before_norm: bool = False
    residual_dropout: float = 0.2
    attention_dropout: float = 0.1
    embedding_dropout: float = 0.1
    context: int = added_later(CONTEXT)  # steps of a window, K in the paper's Table 10
    return_scale: float = added_later(RETURN_SCALE)  # the unit of the returns-to-go that the model reads
    time_limit: int = added_later(MAX_EPISODE_STEPS)  # steps of an episode; all later steps have the last timestep

    def __post_init__(self) -> None:
        if min(self.context, self.return_scale, self.time_limit) <= 0:
            raise ValueError(f"context, return_scale and time_limit must be positive: {self.window}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided among {self.heads} heads")
        # The default limit is allowed with every table: where all episodes are short, a short table is enough.
        if self.time_limit > max(self.timesteps, MAX_EPISODE_STEPS):
            raise ValueError(
                f"a time limit of {self.time_limit} steps needs as many rows of the time embedding, not "
                f"{self.timesteps}: say timesteps too, and positions of the pre-training"
            )

    @property
    def window(self) -> dict[str, Any]:
        """The keywords for a :class:`synthlib.dt.windows.BatchBuilder` of windows for this model."""
        return {"context": self.context, "return_scale": self.return_scale, "time_limit": self.time_limit}


def baseline_config(observation_width: int, action_width: int, **changes: Any) -> DTConfig:
    """The paper's "DT": a time embedding of its own, drawn from N(0, 1), and output heads of its own."""
    return DTConfig(observation_width, action_width, **changes)


def pretrained_config(observation_width: int, action_width: int, **changes: Any) -> DTConfig:
    """All pre-trained arms and the matched control: GPT-2's position table as time embedding, tied output heads."""
    flags = {"timesteps": GPT2_POSITIONS, "wpe_as_time_embedding": True, "tied_projections": True}
    return DTConfig(observation_width, action_width, **(flags | changes))


class Predictions(NamedTuple):
    """The outputs of a Decision Transformer for K steps of B trajectories.

    ``action`` (B, K, A) is in (-1, 1). ``observation`` (B, K, O) and ``return_to_go`` (B, K, 1) are the reference's
    unused heads and carry no loss. ``embeddings`` (B, 3K, E) are the normalised tokens before the time is added.
    """

    action: torch.Tensor
    observation: torch.Tensor
    return_to_go: torch.Tensor
    embeddings: torch.Tensor


class Projection(nn.Module):
    """y = x W + b with W of shape (in, out), as GPT-2 stores its weights; ``torch.nn.Linear`` has (out, in)."""

    def __init__(self, inputs: int, outputs: int, std: float = GPT2_STD) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) * std)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


class Attention(nn.Module):
    """Causal self-attention with GPT-2's parameter names."""

    def __init__(self, config: DTConfig) -> None:
        super().__init__()
        self.config = config
        self.c_attn = Projection(config.width, 3 * config.width)
        self.c_proj = Projection(config.width, config.width, _residual_std(config))

    def forward(self, x: torch.Tensor, mask: torch.Tensor, factors: Factors) -> torch.Tensor:
        """x (B, T, E), ``mask`` (B, T) with 1 on real tokens, dropout ``factors`` (B, H, T, T) -> (B, T, E)."""
        batch, length, width = x.shape
        head_shape = (batch, length, self.config.heads, width // self.config.heads)
        query, key, value = (part.view(head_shape).transpose(1, 2) for part in self.c_attn(x).split(width, dim=2))
        scores = query @ key.transpose(2, 3) / math.sqrt(head_shape[-1])
        future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        scores = scores.masked_fill(future, MASKED) + (1 - mask)[:, None, None, :] * MASKED
        weights = dropped(scores.softmax(dim=-1), factors)
        return self.c_proj((weights @ value).transpose(1, 2).reshape(batch, length, width))


class FeedForward(nn.Module):
    """GPT-2's two-layer network for each token, here with ReLU; (..., E) -> (..., E)."""

    def __init__(self, config: DTConfig) -> None:
        super().__init__()
        self.c_fc = Projection(config.width, 4 * config.width)
        self.c_proj = Projection(4 * config.width, config.width, _residual_std(config))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c_proj(F.relu(self.c_fc(x)))


class Block(nn.Module):
    """One pre-norm GPT-2 layer; parameter names are GPT-2's."""

    def __init__(self, config: DTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.width)
        self.mlp = FeedForward(config)

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor,
        attention_factors: Factors = None,
        mixed_factors: Factors = None,
        fed_factors: Factors = None,
    ) -> torch.Tensor:
        x = x + dropped(self.attn(self.ln_1(x), mask, attention_factors), mixed_factors)
        return x + dropped(self.mlp(self.ln_2(x)), fed_factors)


class DecisionTransformer(nn.Module):
    """The model with weights drawn from the integer ``seed``; torch's global generator keeps its state."""

    def __init__(self, config: DTConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._build(config)

    def _build(self, config: DTConfig) -> None:
        width = config.width
        self.time_embedding = nn.Embedding(config.timesteps, width)  # N(0, 1)
        if config.wpe_as_time_embedding:
            nn.init.normal_(self.time_embedding.weight, std=GPT2_STD)
        self.h = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.ln_f = nn.LayerNorm(width)
        self.embed_return = nn.Linear(1, width)
        self.embed_state = nn.Linear(config.observation_width, width)
        self.embed_action = nn.Linear(config.action_width, width)
        self.embed_ln = nn.LayerNorm(width)
        if not config.tied_projections:
            self.predict_state = nn.Linear(width, config.observation_width)
            self.predict_action = nn.Linear(width, config.action_width)
            self.predict_return = nn.Linear(width, 1)

    def embed(
        self, observations: torch.Tensor, actions: torch.Tensor, returns_to_go: torch.Tensor, timesteps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(normalised tokens before the time is added (B, 3K, E), input of the trunk (B, 3K, E))."""
        batch, steps = timesteps.shape
        embedded = (self.embed_return(returns_to_go), self.embed_state(observations), self.embed_action(actions))
        tokens = torch.stack(embedded, dim=2).reshape(batch, 3 * steps, self.config.width)
        time = self.time_embedding(timesteps).repeat_interleave(3, dim=1)
        if self.config.time_before_norm:
            tokens = self.embed_ln(tokens + time)
            return tokens, tokens
        tokens = self.embed_ln(tokens)
        return tokens, tokens + time

    def hidden(
        self,
        observations: torch.Tensor,
        actions: torch.Tensor,
        returns_to_go: torch.Tensor,
        timesteps: torch.Tensor,
        mask: torch.Tensor,
        dropouts: Dropouts | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(final hidden states (B, K, 3, E), embeddings (B, 3K, E)); arguments as in :meth:`forward`.

        The third axis has each step's return, observation and action token.
        """
        batch, steps = timesteps.shape
        dropouts = dropouts or no_dropouts(self.config)
        embeddings, x = self.embed(observations, actions, returns_to_go, timesteps)
        x = dropped(x, dropouts.embedding)
        token_mask = mask.to(x.dtype).repeat_interleave(3, dim=1)
        for block, *factors in zip(self.h, dropouts.attention, dropouts.mixed, dropouts.fed, strict=True):
            x = block(x, token_mask, *factors)
        return self.ln_f(x).view(batch, steps, 3, self.config.width), embeddings

    def forward(
        self,
        observations: torch.Tensor,
        actions: torch.Tensor,
        returns_to_go: torch.Tensor,
        timesteps: torch.Tensor,
        mask: torch.Tensor,
        dropouts: Dropouts | None = None,
    ) -> Predictions:
        """:class:`Predictions` for K steps of B trajectories.

        ``observations`` (B, K, O) normalised, ``actions`` (B, K, A), ``returns_to_go`` (B, K, 1) divided by the
        return scale, ``timesteps`` (B, K) int, ``mask`` (B, K) 1 on real steps. There is no dropout without
        ``dropouts`` (from :func:`synthlib.dt.dropout.draw_dropouts`). Predictions on padded steps are meaningless.
        """
        hidden, embeddings = self.hidden(observations, actions, returns_to_go, timesteps, mask, dropouts)
        at_observation, at_action = hidden[:, :, 1], hidden[:, :, 2]
        if self.config.tied_projections:
            action = at_observation @ self.embed_action.weight
            observation = at_action @ self.embed_state.weight
            return_to_go = at_action @ self.embed_return.weight
        else:
            action = self.predict_action(at_observation)
            observation = self.predict_state(at_action)
            return_to_go = self.predict_return(at_action)
        return Predictions(torch.tanh(action), observation, return_to_go, embeddings)

    def backbone(self) -> dict[str, torch.Tensor]:
        """{GPT-2 name: parameter} of the GPT-2 part; it has ``wpe.weight`` only where this is the time embedding."""
        parameters: dict[str, torch.Tensor] = {
            name: p for name, p in self.named_parameters() if name.startswith(("h.", "ln_f."))
        }
        if self.config.wpe_as_time_embedding:
            parameters["wpe.weight"] = self.time_embedding.weight
        return parameters


def predict_actions(
    model: DecisionTransformer, *inputs: torch.Tensor, dropouts: Dropouts | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(action predictions (B, K, A), embeddings (B, 3K, E)) for ``inputs``: the only outputs that carry loss."""
    predictions = model(*inputs, dropouts=dropouts)
    return predictions.action, predictions.embeddings


class LastAction:
    """``model`` in evaluation: predicts the action for the last step of each window.

    The model's weights must not change after construction, because the fast twin keeps values computed from them.
    """

    def __init__(self, model: DecisionTransformer) -> None:
        self.model = model

    @torch.no_grad()
    def __call__(
        self, observations: np.ndarray, actions: np.ndarray, returns_to_go: np.ndarray, timesteps: np.ndarray
    ) -> np.ndarray:
        """float32 (n, L, O), (n, L, A), (n, L, 1) and int (n, L) without padding -> actions (n, A)."""
        window = observations, actions, returns_to_go, timesteps, np.ones(timesteps.shape)
        return self.model(*put(self.model.ln_f.weight.device, *window)).action[:, -1].cpu().numpy()


def load_backbone(model: DecisionTransformer, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy GPT-2 ``weights`` ({GPT-2 name: tensor}) into ``model``; heads and input embeddings stay unchanged.

    The token table ``wte.weight`` is not needed and is ignored (faithfulness 3.6). Raises ValueError with the name of
    the first tensor that is missing, has another shape, or holds NaN or infinity, and for a GPT-2 with more layers.
    """
    with torch.no_grad():
        for name, parameter in model.backbone().items():
            if name not in weights:
                raise ValueError(
                    f"the pre-trained weights have no {name!r}; are they a GPT-2 of {model.config.layers} layers?"
                )
            tensor = weights[name]
            if tensor.shape != parameter.shape:
                raise ValueError(
                    f"pre-trained {name} has shape {tuple(tensor.shape)}, the model needs {tuple(parameter.shape)}; "
                    "give DTConfig the width, layers and positions of the pre-training"
                )
            if not torch.isfinite(tensor).all():
                raise ValueError(f"pre-trained {name} holds NaN or infinity: that pre-training has diverged")
            parameter.copy_(tensor)
    extra = [name for name in weights if name.startswith(f"h.{model.config.layers}.")]
    if extra:
        raise ValueError(f"the pre-trained weights have more than {model.config.layers} layers ({extra[0]})")


def _residual_std(config: DTConfig) -> float:
    """GPT-2 divides the std of projections into the residual stream by the square root of their number."""
    return GPT2_STD / math.sqrt(2 * config.layers)
