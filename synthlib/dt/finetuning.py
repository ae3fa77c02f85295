"""Fine-tuning a Decision Transformer: loss, optimiser and one update, with the authors' quirks as named options.

The paper's Table 10 and the released code disagree (faithfulness 3.7, 3.8). The defaults follow the executed code.
First, weight decay acts on every parameter, although Table 10 excludes the backbone. Second, where the time embedding
is GPT-2's position table, each update steps it twice, because the reference lists that parameter twice.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils._pytree import tree_map

from synthlib.dt.dropout import Dropouts, Generator, draw_dropouts
from synthlib.dt.model import DecisionTransformer, predict_actions
from synthlib.dt.windows import Batch
from synthlib.kernels.adam import FusedAdam
from synthlib.machine.devices import CPU, generator, put

DECAYED = ("all", "not_backbone")
# Name prefixes of the parameters that a Decision Transformer does not take from GPT-2.
_NOT_BACKBONE = ("embed_", "predict_")
Predict = Callable[..., tuple[torch.Tensor, torch.Tensor]]
"""The forward pass of a training: :func:`synthlib.dt.model.predict_actions` or its fast twin."""


class ClusterLoss(Protocol):
    """The k-means term of a training, such as :class:`synthlib.dt.clusters.ClusterTerm`."""

    def __call__(self, embeddings: torch.Tensor, /) -> torch.Tensor:
        """Token embeddings (B, 3K, E) -> scalar."""


@dataclass(frozen=True)
class DTTrainingConfig:
    """Hyperparameters of fine-tuning; the defaults are the paper's "DT" as the authors executed it (Table 10)."""

    learning_rate: float = 1e-4
    warmup_updates: int = 5000  # linear, then constant; the code's default is 10,000
    batch_size: int = 64
    gradient_clip: float = 0.25  # on the global norm
    weight_decay: float = 1e-4
    decayed: str = "all"  # the parameters with weight decay; Table 10 says "not_backbone"
    eps: float = 1e-8
    time_embedding_steps: int = 1  # optimiser steps of the time embedding per update
    cluster_weight: float = 0.0  # of the k-means term; 0.1 for DT+Wiki


def baseline_training(**changes: Any) -> DTTrainingConfig:
    """The paper's "DT"."""
    return DTTrainingConfig(**changes)


def pretrained_training(**changes: Any) -> DTTrainingConfig:
    """All pre-trained arms and the matched control: another eps, and two steps of the position table per update."""
    return DTTrainingConfig(**({"eps": 1e-6, "time_embedding_steps": 2} | changes))


class Update(NamedTuple):
    """The total ``loss`` of one update, its first term ``action_error``, and the ``gradient_norm`` before clipping.

    They are scalar tensors, so that an update does not wait for a GPU. :func:`check_finite` checks their values later.
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
    """The learning rate of the 0-based ``update``; it is above 0 from the first update on."""
    return config.learning_rate * min((update + 1) / config.warmup_updates, 1.0)


def optimisers(model: DecisionTransformer, config: DTTrainingConfig) -> list[tuple[FusedAdam, int]]:
    """[(AdamW, its steps per update)]. The time embedding has its own AdamW, so that it can be stepped more than once.

    Raises ValueError for an unknown ``config.decayed``.
    """
    if config.decayed not in DECAYED:
        raise ValueError(f"decayed={config.decayed!r} is unknown; choose one of {', '.join(DECAYED)}")
    time = model.time_embedding.weight
    fresh = [p for name, p in model.named_parameters() if name.startswith(_NOT_BACKBONE)]
    trunk = [p for name, p in model.named_parameters() if not name.startswith(_NOT_BACKBONE) and p is not time]
    trunk_decay = config.weight_decay if config.decayed == "all" else 0.0
    # GPT-2's position table belongs to the backbone, a time embedding drawn for the Decision Transformer does not.
    time_decay = trunk_decay if model.config.wpe_as_time_embedding else config.weight_decay

    def group(weights: Sequence[torch.Tensor], decay: float) -> dict[str, Any]:
        return {"params": weights, "lr": config.learning_rate, "eps": config.eps, "weight_decay": decay}

    return [
        (FusedAdam([group(trunk, trunk_decay), group(fresh, config.weight_decay)]), 1),
        (FusedAdam([group([time], time_decay)]), config.time_embedding_steps),
    ]


def model_inputs(
    model: DecisionTransformer, batch: Batch, generator: Generator | None
) -> tuple[list[torch.Tensor], Dropouts]:
    """(the model's inputs for ``batch``, dropout factors), on the device and in the dtype of the model.

    ``generator`` draws the dropout factors; None means no dropout.
    """
    like = model.ln_f.weight
    parts = (batch.observations, batch.actions, batch.returns_to_go[:, :-1], batch.timesteps, batch.mask)
    inputs = [part.to(like.dtype) if part.is_floating_point() else part for part in put(like.device, *parts)]
    size, steps = batch.timesteps.shape
    return inputs, draw_dropouts(model.config, size, steps, generator, like.device)


def dt_loss(
    model: DecisionTransformer,
    config: DTTrainingConfig,
    annealing: float | torch.Tensor,
    inputs: list[torch.Tensor],
    dropouts: Dropouts,
    predict: Predict = predict_actions,
    cluster_term: ClusterLoss | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(total loss, action error), differentiable. ``inputs`` and ``dropouts`` come from :func:`model_inputs`.

    ``annealing`` is the factor of ``cluster_term`` in this update (:func:`cluster_annealing`). A function of tensors
    alone, so that ``torch.func`` can map it over several runs.
    """
    _, actions, _, _, mask = inputs
    predicted, embeddings = predict(model, *inputs, dropouts=dropouts)
    error = action_error(predicted, actions, mask)
    if cluster_term is None or not config.cluster_weight:
        return error, error
    return error + config.cluster_weight * annealing * cluster_term(embeddings), error


class DTTraining:
    """A model with its optimisers, trained one :meth:`update` at a time.

    ``predict`` is the forward pass; a fast twin gives the same numbers up to rounding. Raises ValueError when
    ``config.cluster_weight`` is not 0 and there is no ``cluster_term``.
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

    def loss(self, batch: Batch, generator: Generator | None) -> tuple[torch.Tensor, torch.Tensor]:
        """(total loss, action error) of ``batch``; differentiable."""
        inputs, dropouts = model_inputs(self.model, batch, generator)
        annealing = cluster_annealing(self.updates + 1)
        return dt_loss(self.model, self.config, annealing, inputs, dropouts, self.predict, self.cluster_term)

    def update(self, batch: Batch, generator: Generator | None) -> Update:
        """Make one update on ``batch``; ``generator`` draws the dropout factors (None: no dropout)."""
        return self.step(*self.loss(batch, generator))

    def step(self, loss: torch.Tensor, error: torch.Tensor) -> Update:
        """Make one update from its total loss, which is differentiable, and its action error."""
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
        # The weights of a stacked run are views, and torch.save would write the whole tensor behind each view.
        return tree_map(lambda leaf: leaf.cpu().clone() if isinstance(leaf, torch.Tensor) else leaf, state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a value of :meth:`state_dict`."""
        self.updates = state["updates"]
        self.model.load_state_dict(state["model"])
        for (optimiser, _), saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)


def cluster_annealing(step: int) -> float:
    """Factor of the k-means term at the 1-based ``step``: near 1, 0.5 at 2500, near 0 by 5000 (faithfulness 3.10)."""
    return 1 / (1 + math.exp(min(5 - (5000 - step) / 500, 700.0)))


def dropout_generator(seed: int, update: int, device: torch.device = CPU) -> torch.Generator:
    """The generator of one update's dropout factors: a resumed run repeats them without any saved generator state.

    The authors seed torch once per run instead, so our dropout differs from theirs.
    """
    return generator(device, seed, update)
