"""Decision Transformers of one shape, fine-tuned as one computation (:mod:`synthlib.kernels.stacking`)."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from synthlib.dt.dropout import Dropouts, Generator
from synthlib.dt.finetuning import (
    ClusterLoss,
    DTTraining,
    DTTrainingConfig,
    Predict,
    Update,
    cluster_annealing,
    dt_loss,
    learning_rate,
    model_inputs,
)
from synthlib.dt.model import DecisionTransformer
from synthlib.dt.windows import Batch
from synthlib.kernels.adam import FusedAdam
from synthlib.kernels.stacking import leaves_of, mapped, stack_trees, stack_weights, stacked_optimiser


class StackedDT:
    """Several :class:`~synthlib.dt.finetuning.DTTraining` with equal configurations and equal numbers of updates.

    Their own ``update`` must not be called any more. ``state`` are the tensors that an update changes in place.
    """

    def __init__(self, trainings: Sequence[DTTraining]) -> None:
        first = trainings[0]
        self.trainings, self.config = trainings, first.config
        self._loss = _DTLoss(copy.deepcopy(first.model), first.config, first.predict)
        names = [name for name, _ in first.model.named_parameters()]
        self._weights = stack_weights(names, [dict(training.model.named_parameters()) for training in trainings])
        self._optimisers = []
        for place, (_, steps) in enumerate(first.optimisers):
            alike = [training.optimisers[place][0] for training in trainings]
            moments = zip(*map(FusedAdam.states, alike), strict=True)
            states: dict[Any, Any] = dict(zip(alike[0].weights(), moments, strict=True))
            leaves: dict[Any, nn.Parameter] = leaves_of(first.model.named_parameters(), self._weights)
            self._optimisers.append((stacked_optimiser(alike[0].param_groups, leaves, states), steps))
        terms = [training.cluster_term for training in trainings]
        self._cluster_terms = None if terms[0] is None else stack_trees(terms)
        adams = [adam for optimiser, _ in self._optimisers for adam in optimiser.states()]
        self.state: list[torch.Tensor] = [*self._weights.values(), *(part for adam in adams for part in adam.values())]

    def update(self, batches: Sequence[Batch], generators: Sequence[Generator | None]) -> list[Update]:
        """Make one update of each run, with one minibatch and one generator of dropout factors per run."""
        models = (training.model for training in self.trainings)
        drawn = [model_inputs(*one) for one in zip(models, batches, generators, strict=True)]
        inputs, dropouts = (stack_trees(part) for part in zip(*drawn, strict=True))
        updates = self.trainings[0].updates
        rate, annealing = learning_rate(self.config, updates), cluster_annealing(updates + 1)
        done = self.update_stacked(inputs, dropouts, rate, annealing)
        for training in self.trainings:
            training.updates += 1
        return [Update(*one) for one in zip(*done, strict=True)]

    def update_stacked(
        self,
        inputs: list[torch.Tensor],
        dropouts: Dropouts,
        rate: float | torch.Tensor,
        annealing: float | torch.Tensor,
    ) -> Update:
        """One update of all G runs, whose inputs have a leading axis G; returns tensors (G,).

        ``rate`` is the learning rate and ``annealing`` the factor of the cluster term, as numbers or as tensors without
        axes. With tensors nothing is asked of the processor. The runs do not count the update.
        """
        if isinstance(annealing, torch.Tensor):
            annealing = annealing.expand(len(self.trainings))
        arguments = (annealing, inputs, dropouts, self._cluster_terms)
        loss, error = mapped(self._loss, {f"model.{name}": leaf for name, leaf in self._weights.items()}, arguments)
        for leaf in self._weights.values():
            leaf.grad = None
        loss.sum().backward()
        norms = self._clip()
        for optimiser, steps in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            for _ in range(steps):
                optimiser.step()
        return Update(loss.detach(), error.detach(), norms)

    def _clip(self) -> torch.Tensor:
        """Clip the gradients of each of the G runs by the run's own norm; returns the norms (G,) before clipping."""
        gradients = [leaf.grad for leaf in self._weights.values() if leaf.grad is not None]
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        factors = (self.config.gradient_clip / (norms + 1e-6)).clamp(max=1.0)  # as in torch's clip_grad_norm_
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))
        return norms


class _DTLoss(nn.Module):
    """The loss of one Decision Transformer as a module, because ``functional_call`` needs a module."""

    def __init__(self, model: DecisionTransformer, config: DTTrainingConfig, predict: Predict) -> None:
        super().__init__()
        self.model, self.config, self.predict = model, config, predict

    def forward(
        self, annealing: Any, inputs: list[torch.Tensor], dropouts: Dropouts, cluster_term: ClusterLoss | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return dt_loss(self.model, self.config, annealing, inputs, dropouts, self.predict, cluster_term)
