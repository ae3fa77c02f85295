"""Fine-tuning a Decision Transformer: loss, optimiser and one update, with the authors' quirks as named options.

The paper's Table 10 and the released code disagree (faithfulness 3.7, 3.8). The defaults are what was executed:
weight decay on every parameter although Table 10 says none for the backbone, and, where the time embedding is GPT-2's
position table, two optimiser steps for it per update, because the reference lists that parameter twice.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_map

from synthlib.dt.dropout import Dropouts, draw_dropouts
from synthlib.dt.model import DecisionTransformer, predict_actions
from synthlib.dt.windows import Batch
from synthlib.kernels.adam import FusedAdam
from synthlib.machine.devices import CPU, generator, put

DECAYED = ("all", "not_backbone")
# Prefixes of the parameters that a Decision Transformer does not take from GPT-2.
_NOT_BACKBONE = ("embed_", "predict_")
Predict = Callable[..., tuple[torch.Tensor, torch.Tensor]]
"""The forward pass of a training: :func:`synthlib.dt.model.predict_actions` or its fast twin."""
ClusterLoss = Callable[[torch.Tensor], torch.Tensor]
"""Token embeddings (B, 3K, E) -> scalar: :class:`synthlib.dt.clusters.ClusterTerm`."""


@dataclass(frozen=True)
class DTTrainingConfig:
    learning_rate: float = 1e-4
    warmup_updates: int = 5000  # linear, then constant; the code's default is 10,000
    batch_size: int = 64
    gradient_clip: float = 0.25  # on the global norm
    weight_decay: float = 1e-4
    decayed: str = "all"  # "not_backbone" is what Table 10 says
    eps: float = 1e-8
    time_embedding_steps: int = 1
    cluster_weight: float = 0.0  # of the k-means term; 0.1 for DT+Wiki


def baseline_training(**changes: Any) -> DTTrainingConfig:
    """The paper's "DT"."""
    return DTTrainingConfig(**changes)


def pretrained_training(**changes: Any) -> DTTrainingConfig:
    """Every pre-trained arm and the matched control: another eps, and the position table stepped twice."""
    return DTTrainingConfig(**({"eps": 1e-6, "time_embedding_steps": 2} | changes))


class Update(NamedTuple):
    """``loss`` is what was descended on, ``action_error`` its first term, ``gradient_norm`` is before clipping.

    Scalar tensors: an update does not wait until a GPU has computed them. :func:`check_finite` checks their values.
    """

    loss: torch.Tensor
    action_error: torch.Tensor
    gradient_norm: torch.Tensor


def check_finite(losses: Mapping[str, float], updates: int) -> None:
    """Raise FloatingPointError with the name of the first of ``losses`` that is NaN or infinite."""
    for name, value in losses.items():
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{name} is {value} within the updates before {updates}; look for NaN in the data, or lower the "
                "learning rate. The checkpoint before it is kept"
            )


def action_error(predicted: torch.Tensor, actions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared error over the real steps and all action components; (B, K, A), (B, K, A), (B, K) -> scalar."""
    real = (mask > 0)[:, :, None]
    squares = torch.where(real, (predicted - actions).square(), 0.0)
    return squares.sum() / (real.sum() * actions.shape[2])


def learning_rate(config: DTTrainingConfig, update: int) -> float:
    """The rate of 0-based ``update``: the first update already moves the weights."""
    return config.learning_rate * min((update + 1) / config.warmup_updates, 1.0)


def optimisers(model: DecisionTransformer, config: DTTrainingConfig) -> list[tuple[FusedAdam, int]]:
    """[(AdamW, its steps per update)]: the time embedding apart, so that it can be stepped more than once.

    Raises ValueError for an unknown ``config.decayed``.
    """
    if config.decayed not in DECAYED:
        raise ValueError(f"decayed={config.decayed!r} is unknown; choose one of {', '.join(DECAYED)}")
    time = model.time_embedding.weight
    fresh = [p for name, p in model.named_parameters() if name.startswith(_NOT_BACKBONE)]
    trunk = [p for name, p in model.named_parameters() if not name.startswith(_NOT_BACKBONE) and p is not time]
    trunk_decay = config.weight_decay if config.decayed == "all" else 0.0
    # A time embedding of its own belongs to the Decision Transformer, GPT-2's table to the backbone.
    time_decay = trunk_decay if model.config.wpe_as_time_embedding else config.weight_decay

    def group(weights: Sequence[torch.Tensor], decay: float) -> dict[str, Any]:
        return {"params": weights, "lr": config.learning_rate, "eps": config.eps, "weight_decay": decay}

    return [
        (FusedAdam([group(trunk, trunk_decay), group(fresh, config.weight_decay)]), 1),
        (FusedAdam([group([time], time_decay)]), config.time_embedding_steps),
    ]


def model_inputs(
    model: DecisionTransformer, batch: Batch, generator: torch.Generator | None
) -> tuple[list[torch.Tensor], Dropouts]:
    """(the model's arguments for ``batch``, drawn dropouts), on the device and in the dtype of the model."""
    like = model.ln_f.weight
    parts = (batch.observations, batch.actions, batch.returns_to_go[:, :-1], batch.timesteps, batch.mask)
    inputs = [part.to(like.dtype) if part.is_floating_point() else part for part in put(like.device, *parts)]
    size, steps = batch.timesteps.shape
    return inputs, draw_dropouts(model.config, size, steps, generator, like.device)


def dt_loss(
    model: DecisionTransformer,
    config: DTTrainingConfig,
    updates: int,
    inputs: list[torch.Tensor],
    dropouts: Dropouts,
    predict: Predict = predict_actions,
    cluster_term: ClusterLoss | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(total loss, action error) after ``updates`` updates; a function of tensors alone, differentiable."""
    _, actions, _, _, mask = inputs
    predicted, embeddings = predict(model, *inputs, dropouts=dropouts)
    error = action_error(predicted, actions, mask)
    if cluster_term is None or not config.cluster_weight:
        return error, error
    return error + config.cluster_weight * cluster_annealing(updates + 1) * cluster_term(embeddings), error


class DTTraining:
    """A model with its optimisers, one :meth:`update` at a time.

    ``predict`` is the forward pass; a fast twin gives the same numbers to rounding. ``cluster_term`` is needed when
    ``config.cluster_weight`` is set, else ValueError.
    """

    def __init__(
        self,
        model: DecisionTransformer,
        config: DTTrainingConfig,
        predict: Predict = predict_actions,
        cluster_term: ClusterLoss | None = None,
    ) -> None:
        if config.cluster_weight and cluster_term is None:
            raise ValueError(f"cluster_weight={config.cluster_weight} needs the cluster term of the token embeddings")
        self.model = model
        self.config = config
        self.predict = predict
        self.updates = 0
        self.cluster_term = cluster_term
        self.optimisers = optimisers(model, config)
        """[(AdamW, its steps per update)]"""

    def loss(self, batch: Batch, generator: torch.Generator | None) -> tuple[torch.Tensor, torch.Tensor]:
        """(total loss, action error) of ``batch``; differentiable."""
        inputs, dropouts = model_inputs(self.model, batch, generator)
        return dt_loss(self.model, self.config, self.updates, inputs, dropouts, self.predict, self.cluster_term)

    def update(self, batch: Batch, generator: torch.Generator | None) -> Update:
        """One update; ``generator`` draws the dropout masks (None: no dropout). Returns :class:`Update`."""
        loss, error = self.loss(batch, generator)
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        rate = learning_rate(self.config, self.updates)
        for optimiser, steps in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            for _ in range(steps):
                optimiser.step()
        self.updates += 1
        return Update(loss.detach(), error.detach(), norm)

    def state_dict(self) -> dict[str, Any]:
        """A copy of everything that the next update depends on, as tensors and plain values."""
        state = {
            "updates": self.updates,
            "model": dict(self.model.state_dict()),
            "optimisers": [optimiser.state_dict() for optimiser, _ in self.optimisers],
        }
        # The weights of a stacked run are views, and torch saves a view with the whole tensor behind it.
        return tree_map(lambda leaf: leaf.cpu().clone() if isinstance(leaf, torch.Tensor) else leaf, state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.updates = state["updates"]
        self.model.load_state_dict(state["model"])
        for (optimiser, _), saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)


def cluster_annealing(step: int) -> float:
    """Factor of the k-means term at 1-based ``step``: near 1, a half at 2500, gone by 5000 (faithfulness 3.10)."""
    return 1 / (1 + math.exp(min(5 - (5000 - step) / 500, 700.0)))


def dropout_generator(seed: int, update: int, device: torch.device = CPU) -> torch.Generator:
    """The generator of one update's dropout masks: a resumed run repeats them without any saved state.

    The authors seed torch once per run instead, so our masks could not be theirs anyway.
    """
    return generator(device, seed, update)
