"""Many fine-tuning runs of the Decision Transformer as one program that stays on its device (``STACKED=1`` on a GPU).

On the device lie the data sets, the weights (:mod:`synthlib.dt.stacked`), and the dropout factors, which are computed
there. :mod:`synthlib.kernels.column` says what all columns have in common.

Windows are those of a run on the processor. The dropout factors are another stream of the same distribution, keyed by
run and update, so runs of both kinds are two samples of one configuration. The record of a run says which one it is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from synthlib.dt.dropout import KeyedBits, draw_dropouts
from synthlib.dt.finetuning import DTTraining, Update, cluster_annealing, learning_rate
from synthlib.dt.stacked import StackedDT
from synthlib.dt.windows import BatchBuilder, draw, update_generators
from synthlib.dt.windows_fast import FastBatchBuilder, cut
from synthlib.kernels import column, philox
from synthlib.kernels.column import DrawnAhead, starts_of
from synthlib.machine.devices import put

DRAWN_AHEAD = 100
"""Updates whose windows are drawn at once: 150 kB for a data set and seed."""
LOSSES = {"train_loss": "action_error", "total_loss": "loss", "gradient_norm": "gradient_norm"}
"""The columns of losses.csv and the fields of :class:`~synthlib.dt.finetuning.Update`: the authors log the action error
as the training loss (faithfulness 9.5)."""


class Member(NamedTuple):
    """One run of a column. ``key`` names its dropout; runs with one builder and ``seed`` share their windows."""

    training: DTTraining
    builder: BatchBuilder | FastBatchBuilder
    seed: int
    key: int


class Column(column.Column):
    """Runs with equal configuration, widths and numbers of updates, updated together."""

    def __init__(self, members: Sequence[Member]) -> None:
        first = members[0].training
        self.members, self._model, self._config = members, first.model.config, first.config
        weight = first.model.ln_f.weight
        self._stack = StackedDT([member.training for member in members])
        self._windows = _Windows(members, weight.device, weight.dtype)
        self._keys = philox.keys([member.key for member in members], weight.device)
        self._schedule = DrawnAhead(self._drawn_schedule, first.updates, DRAWN_AHEAD, weight.device)
        super().__init__(first.updates, len(members), list(LOSSES), self._stack.state, weight.device, torch.float64)

    def provide(self, update: int) -> None:
        """As :meth:`synthlib.kernels.column.Column.provide`."""
        self._windows.ahead.provide(update)
        self._schedule.provide(update)

    def settle(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """As :meth:`synthlib.kernels.column.Column.settle`. The trainings count their updates."""
        losses = super().settle()
        for member in self.members:
            member.training.updates = self.updates
        return losses

    def losses_of(self, update: torch.Tensor) -> dict[str, torch.Tensor]:
        """As :meth:`synthlib.kernels.column.Column.losses_of`."""
        size = self._config.batch_size, self._model.context
        dropouts = draw_dropouts(self._model, *size, device_bits(self._keys, update), update.device)
        rate, annealing = self._schedule.at(update)
        inputs = self._windows.inputs(update)
        done = self._stack.update_stacked(inputs, dropouts, rate, annealing.to(inputs[0].dtype))
        return {name: getattr(done, field) for name, field in LOSSES.items()}

    def _drawn_schedule(self, first: int, count: int) -> list[np.ndarray]:
        """The learning rate, in float32 as the fused kernel reads it on a GPU, and the cluster term's factor."""
        updates = range(first, first + count)
        rates = np.array([learning_rate(self._config, update) for update in updates], dtype=np.float32)
        return [rates, np.array([cluster_annealing(update + 1) for update in updates])]


def device_bits(keys: philox.Keys, update: torch.Tensor) -> KeyedBits:
    """The generator of the dropout factors of one update of R runs, on the device of ``keys``."""
    return KeyedBits(philox.keys_of_update(keys, update))


def losses_of_update(done: Update) -> dict[str, torch.Tensor]:
    """The losses of an update by their columns in losses.csv, in float64."""
    return {name: getattr(done, field).double() for name, field in LOSSES.items()}


class _Windows:
    """The data sets of a column on its device, and its next windows."""

    def __init__(self, members: Sequence[Member], device: torch.device, dtype: torch.dtype) -> None:
        first = members[0].training
        self._size, self._dtype = first.config.batch_size, dtype
        streams = {(id(member.builder), member.seed): member for member in members}
        order = {name: place for place, name in enumerate(streams)}
        self._of_run = torch.tensor([order[id(member.builder), member.seed] for member in members], device=device)
        builders = {id(member.builder): _with_tables(member.builder) for member in members}
        self._time_limit = first.model.config.time_limit
        self._columns = torch.arange(first.model.config.context + 1, device=device)
        tables = [(one.observations, one.actions, one.returns_to_go) for one in builders.values()]
        parts = [torch.cat(put(device, *parts)).to(dtype) for parts in zip(*tables, strict=True)]
        self._observations, self._actions, self._returns_to_go = parts
        starts = starts_of([len(one.observations) for one in builders.values()])
        start_of = dict(zip(builders, starts, strict=True))
        self._starts = torch.tensor([start_of[id(member.builder)] for member in members], device=device)[:, None, None]
        self._streams = [(builders[name], seed) for name, seed in streams]
        self.ahead = DrawnAhead(self._draw, first.updates, DRAWN_AHEAD, device)

    def inputs(self, update: torch.Tensor) -> list[torch.Tensor]:
        """The models' inputs (R, B, K, ...) in the update number ``update``, int64 with one element."""
        (drawn,) = self.ahead.at(update)
        starts, lengths, first = drawn.index_select(0, self._of_run).unbind(dim=1)
        places, timesteps, inside = cut(starts, lengths, first, self._columns, self._time_limit)
        # The model reads the first K returns-to-go. Padding is the first row of each table: its mean is its own.
        places = self._starts + places[..., :-1]
        floats = [table[places] for table in (self._observations, self._actions, self._returns_to_go)]
        return [*floats, timesteps, inside.to(self._dtype)]

    def _draw(self, first: int, count: int) -> list[np.ndarray]:
        """(count, streams, 3, B): for each window its start, and the length and the first row of its trajectory."""
        drawn = np.empty((count, len(self._streams), 3, self._size), dtype=np.int64)
        for update in range(count):
            for place, (builder, seed) in enumerate(self._streams):
                rows, starts = draw(builder.data, self._size, *update_generators(seed, first + update))
                drawn[update, place] = starts, builder.lengths[rows], builder.first[rows]
        return [drawn]


def _with_tables(builder: BatchBuilder | FastBatchBuilder) -> FastBatchBuilder:
    """The builder of the same windows that has its trajectories in tables."""
    if isinstance(builder, FastBatchBuilder):
        return builder
    return FastBatchBuilder(builder.data, builder.context, builder.return_scale, builder.time_limit)
