"""GPT-2 pre-trainings of one shape as one program that stays on its device: for a GPU, one pre-training or several.

The tokens come ahead from the processor, which draws a chain faster than a GPU reads it. Weights, moments and dropout
factors are on the device. :mod:`synthlib.kernels.column` says what all columns have in common. The dropout factors are
another stream than the processor's, keyed by pre-training and update; the record says which one it is.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from synthlib.dt.dropout import KeyedBits
from synthlib.dt.pretraining import (
    LOG_EVERY,
    GPT2Pretraining,
    Logits,
    checked_tokens,
    default_micro_batch,
    learning_rate,
    token_loss,
)
from synthlib.dt.transformers_adam import bias_correction
from synthlib.kernels import column, philox
from synthlib.kernels.adam import flatten, views
from synthlib.kernels.column import DrawnAhead
from synthlib.kernels.stacking import mapped, stack_weights
from synthlib.runs.columns import ColumnOfPretrainings

MICRO_BATCH_TIMES = 4
"""The micro-batch of a column, in those of a processor: 16 sequences of 1,024 tokens, a gigabyte of activations."""


class Column(column.Column):
    """Pre-trainings with equal configurations, but for their seeds, and equal numbers of updates, updated together.

    ``keys`` name their dropout. Their own ``update`` must not be called any more. Needs the fast forward pass, which
    ``torch.func`` can map over pre-trainings.
    """

    def __init__(self, trainings: Sequence[GPT2Pretraining], keys: Sequence[int]) -> None:
        first = trainings[0]
        self.trainings, self._config = trainings, first.config
        self._micro_batch = default_micro_batch(first.config, MICRO_BATCH_TIMES)
        self._loss = _Loss(copy.deepcopy(first.model).train(), first.logits, first.target_table)
        names = [name for name, _ in first.model.named_parameters()]
        self._weights = stack_weights(names, [dict(training.model.named_parameters()) for training in trainings])
        self._flat = flatten(list(self._weights.values()))
        self._moments = {name: torch.zeros_like(self._flat.data) for name in ("first", "second")}
        self._share()
        self._keys = philox.keys(list(keys), first.device)
        self._ahead = DrawnAhead(self._draw, first.updates, LOG_EVERY, first.device)
        state = [self._flat, *self._moments.values()]
        super().__init__(first.updates, len(trainings), ["loss"], state, first.device, torch.float64)

    def provide(self, update: int) -> None:
        """As :meth:`synthlib.kernels.column.Column.provide`."""
        self._ahead.provide(update)

    def settle(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """As :meth:`synthlib.kernels.column.Column.settle`. The pre-trainings count their updates."""
        losses = super().settle()
        for training in self.trainings:
            training.updates = self.updates
            for adam in training.optimiser.state.values():
                adam["step"] = self.updates
        return losses

    def losses_of(self, update: torch.Tensor) -> dict[str, torch.Tensor]:
        """As :meth:`synthlib.kernels.column.Column.losses_of`."""
        tokens, *schedule = self._ahead.at(update)
        parts = tokens.long().split(self._micro_batch, dim=1)
        keys = philox.keys_of_update(self._keys, update, len(parts))
        total = torch.zeros(len(self.trainings), dtype=torch.float64, device=update.device)
        assert self._flat.grad is not None  # flatten has made it
        self._flat.grad.zero_()  # in place: each weight's grad is a view of it
        weights = {f"model.{name}": weight for name, weight in self._weights.items()}
        for part, key in zip(parts, keys.split(1, dim=1), strict=True):
            loss = mapped(self._loss, weights, (part, key)) * (part.shape[1] / tokens.shape[1])
            loss.sum().backward()
            total += loss.detach()
        self._adam(*schedule)
        return {"loss": total}

    @torch.no_grad()
    def _adam(self, rate: torch.Tensor, kept: torch.Tensor) -> None:
        """As :class:`~synthlib.dt.transformers_adam.TransformersAdamW`, for all weights of all pre-trainings."""
        gradient, (first, second) = self._flat.grad, self._moments.values()
        assert gradient is not None
        first.lerp_(gradient, 1 - 0.9)
        second.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
        self._flat.sub_(first / second.sqrt().add_(self._config.eps) * rate)
        self._flat.mul_(kept)

    def _share(self) -> None:
        """Make the weights and moments of each pre-training views of those of all, which have their values."""
        stacked = list(self._weights.values())
        pieces = {name: views(moments, stacked) for name, moments in self._moments.items()}
        for place, training in enumerate(self.trainings):
            own = dict(training.model.named_parameters())
            for number, (name, weight) in enumerate(self._weights.items()):
                own[name].data = weight.data[place]
                adam = training.optimiser.state[own[name]]
                for moment, piece in pieces.items():
                    if moment in adam:
                        piece[number][place].copy_(adam[moment])
                    adam[moment] = piece[number][place]
                adam["step"] = training.updates

    def _draw(self, first: int, count: int) -> list[np.ndarray]:
        """Tokens (count, runs, B, T), Adam's rate with its bias correction, and what weight decay leaves, (count,)."""
        updates, config = range(first, first + count), self._config
        tokens = [[checked_tokens(config, one.batches(update)) for one in self.trainings] for update in updates]
        rates = np.array([learning_rate(config, update) for update in updates])
        corrected = rates * [bias_correction(update + 1) for update in updates]
        return [np.array(tokens, dtype=np.int32), corrected, 1 - rates * config.weight_decay]


class _Loss(nn.Module):
    """The loss of one pre-training as a module, because ``functional_call`` needs a module."""

    def __init__(self, model: Any, logits: Logits, target_table: torch.Tensor | None) -> None:
        super().__init__()
        self.model, self.logits, self.target_table = model, logits, target_table

    def forward(self, tokens: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return token_loss(self.model, self.logits, tokens, self.target_table, KeyedBits(key))


class ColumnOfGPT2(ColumnOfPretrainings):
    """Pre-trainings as a :class:`Column`; every ``every`` updates each gets a row of validation from ``validate``."""

    def __init__(
        self,
        trainings: Sequence[GPT2Pretraining],
        keys: Sequence[int],
        every: int,
        validate: Callable[[Any], None],
    ) -> None:
        self._keys, self._every, self._validate = keys, every, validate
        super().__init__(trainings, LOG_EVERY)

    def column_of(self, trainings: Sequence[GPT2Pretraining]) -> Column:
        """As :meth:`ColumnOfPretrainings.column_of`."""
        return Column(trainings, self._keys)

    def after_update(self) -> None:
        """As :meth:`ColumnOfPretrainings.after_update`."""
        if self.updates % self._every == 0:
            self.settle()
            for training in self.trainings:
                self._validate(training)
