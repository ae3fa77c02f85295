"""Critic pre-trainings of one shape as one program that stays on its device: for a GPU, one pre-training or all arms.

On the device lie the transitions of all pre-trainings, their vectors, the weights and Adam's moments. All 2 G critics
of G pre-trainings are computed at once. :mod:`synthlib.kernels.column` says what all columns have in common.

There is no noise, and the minibatches are those of a pre-training on the processor. So the numbers are the processor's,
up to rounding.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from synthlib.cql import pretraining
from synthlib.cql.networks import QNetwork
from synthlib.cql.pretraining import CriticPretraining, data_in_words, prediction_error
from synthlib.kernels import column
from synthlib.kernels.adam import views
from synthlib.kernels.column import RowsAhead, starts_of
from synthlib.kernels.stacking import mapped, stack_weights, stacked_optimiser
from synthlib.machine.devices import put, sent
from synthlib.runs.columns import ColumnOfPretrainings

DRAWN_AHEAD = 100
"""Updates whose minibatches are drawn at once: 200 kB a pre-training."""


class Column(column.Column):
    """Pre-trainings with equal widths and settings and equal numbers of updates, updated together.

    Data and seeds may differ. Their own ``update`` must not be called any more.
    """

    def __init__(self, trainings: Sequence[CriticPretraining]) -> None:
        first = trainings[0]
        self.trainings = trainings
        self._data = _Data(trainings)
        self._error = _Error(copy.deepcopy(first.q1))
        self._shapes = {name: weight.shape for name, weight in self._error.named_parameters() if weight.requires_grad}
        groups = [{**group, "params": ["trained"]} for group in first.optimiser.param_groups]
        states = {"trained": [training.optimiser.state[training.trained] for training in trainings]}
        stacked = stack_weights(["trained"], [{"trained": training.trained} for training in trainings])
        for training in trainings:
            weights = training.trained_weights()
            for weight, value in zip(weights, views(training.trained.data, weights), strict=True):
                weight.data, weight.grad = value, None
            training.trained.grad = None
        self._trained, self._optimiser = stacked["trained"], stacked_optimiser(groups, stacked, states)
        state = [self._trained, *(tensor for adam in self._optimiser.states() for tensor in adam.values())]
        names = ["qf1_loss", "qf2_loss"]
        super().__init__(first.updates, len(trainings), names, state, first.device, torch.float64)

    def provide(self, update: int) -> None:
        """As :meth:`synthlib.kernels.column.Column.provide`."""
        self._data.ahead.provide(update)

    def settle(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """As :meth:`synthlib.kernels.column.Column.settle`.

        The pre-trainings count their updates, and their generators of minibatches are where one alone has left them.
        """
        losses = super().settle()
        self._data.ahead.settle(self.updates)
        for training in self.trainings:
            training.updates = self.updates
        return losses

    def losses_of(self, update: torch.Tensor) -> dict[str, torch.Tensor]:
        """As :meth:`synthlib.kernels.column.Column.losses_of`."""
        critics = self._trained.view(2 * len(self.trainings), -1)
        parts = critics.split([shape.numel() for shape in self._shapes.values()], dim=1)
        weights = {
            name: part.unflatten(1, shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }
        both = tuple(part.repeat_interleave(2, dim=0) for part in self._data.batch(update))  # one batch for q1 and q2
        losses = mapped(self._error, weights, both)
        (self._trained.grad,) = torch.autograd.grad(losses.sum(), [self._trained])
        self._optimiser.step()
        return dict(zip(self.names, losses.detach().view(-1, 2).unbind(dim=1), strict=True))


class _Error(nn.Module):
    """The error of one critic as a module, because ``functional_call`` needs a module."""

    def __init__(self, critic: QNetwork) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, states: torch.Tensor, actions: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return prediction_error(self.critic, states, actions, wanted)


class _Data:
    """The transitions and vectors of all pre-trainings on their device, and the next minibatches."""

    def __init__(self, trainings: Sequence[CriticPretraining]) -> None:
        first = trainings[0]
        device, dtype = first.device, first.trained.dtype
        tables = [(training.state_table, training.action_table) for training in trainings]
        self._tables = [torch.cat(put(device, *parts)).to(dtype) for parts in zip(*tables, strict=True)]
        starts = zip(*(starts_of([len(table) for table in parts]) for parts in zip(*tables, strict=True)), strict=True)
        numbers = [_numbers(training, *own) for training, own in zip(trainings, starts, strict=True)]
        self._numbers = sent(device, torch.from_numpy(np.concatenate(numbers)))
        lengths = [len(one) for one in numbers]
        self._starts = torch.tensor(starts_of(lengths), device=device).unsqueeze(1)
        generators, size = [training.batches for training in trainings], first.config.batch_size
        self.ahead = RowsAhead(generators, lengths, size, first.updates, DRAWN_AHEAD, device)

    def batch(self, update: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The minibatches (G, B, ...) of the update number ``update``, int64 with one element."""
        numbers = self._numbers[self.ahead.rows(update) + self._starts].long()
        states, actions, *wanted = (
            table[number] for table, number in zip(self._tables * 2, numbers.unbind(dim=2), strict=False)
        )
        return states, actions, torch.cat(wanted, dim=2)


def _numbers(training: CriticPretraining, states: int, actions: int) -> np.ndarray:
    """int32 (M, 3 or 4): the state and the action of each transition, and whose vectors are its target.

    They are rows of the tables of all pre-trainings, in which this one's begin at ``states`` and ``actions``.
    """
    data = training.transitions
    targets = training.target_indices(np.arange(len(data.observations)))
    columns = zip((data.observations, data.actions, *targets), (states, actions) * 2, strict=False)
    return np.stack([column + start for column, start in columns], axis=1).astype(np.int32)


class ColumnOfCritics(ColumnOfPretrainings):
    """Pre-trainings as a :class:`Column`."""

    def __init__(self, trainings: Sequence[CriticPretraining]) -> None:
        super().__init__(trainings, pretraining.LOG_EVERY)

    def column_of(self, trainings: Sequence[CriticPretraining]) -> Column:
        """As :meth:`ColumnOfPretrainings.column_of`."""
        return Column(trainings)

    def name_of(self, training: CriticPretraining) -> str:
        """As :meth:`ColumnOfPretrainings.name_of`: arms share their seed."""
        return f"{data_in_words(training.config.mdp)}, seed {training.config.seed},"
