"""Many CQL runs as one program that stays on its device (``STACKED=1`` on a GPU): seeds, arms, data sets of one shape.

On the device lie the data sets, the weights (:mod:`synthlib.cql.stacked`), and the noise, which is computed there
(:mod:`synthlib.kernels.philox`). :mod:`synthlib.kernels.column` says what all columns have in common.

Minibatches are those of a run on the processor. The noise is another stream of the same distribution, keyed by run and
update, so runs of both kinds are two samples of one configuration. The record of a run says which one it is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from synthlib.cql.agent import CQL
from synthlib.cql.batches import Batch, Noise
from synthlib.cql.stacked import StackedCQL
from synthlib.kernels import column, philox
from synthlib.kernels.column import RowsAhead, starts_of
from synthlib.machine.devices import put
from synthlib.offline.datasets import CQLData

DRAWN_AHEAD = 500
"""Updates whose minibatches are drawn at once: half a megabyte a data set."""


class Member(NamedTuple):
    """One run of a column. ``key`` names its noise; runs with one ``data`` object share their minibatches."""

    agent: CQL
    data: CQLData
    key: int


class Column(column.Column):
    """Runs with equal configuration, widths and numbers of updates, updated together."""

    def __init__(self, members: Sequence[Member], batch_size: int) -> None:
        first = members[0].agent
        self.members, self.batch_size = members, batch_size
        device, self._dtype = first.log_alpha.device, first.log_alpha.dtype
        self._stack = StackedCQL([member.agent for member in members])
        data = [member.data for member in members]
        self._streams = _Streams(data, batch_size, first.updates, device, self._dtype)
        self._keys = philox.keys([member.key for member in members], device)
        names = list(self._stack.losses(*self._inputs(torch.full((1,), first.updates, device=device))))
        super().__init__(first.updates, len(members), names, self._stack.state, device, self._dtype)

    def provide(self, update: int) -> None:
        """As :meth:`synthlib.kernels.column.Column.provide`."""
        self._streams.ahead.provide(update)

    def settle(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """As :meth:`synthlib.kernels.column.Column.settle`.

        The agents count their updates, and the generators of minibatches are where a run alone would have left them.
        """
        losses = super().settle()
        self._streams.ahead.settle(self.updates)
        for member in self.members:
            member.agent.updates = self.updates
        return losses

    def losses_of(self, update: torch.Tensor) -> dict[str, torch.Tensor]:
        """As :meth:`synthlib.kernels.column.Column.losses_of`."""
        return self._stack.update_stacked(*self._inputs(update))

    def _inputs(self, update: torch.Tensor) -> tuple[Batch, Noise]:
        agent = self.members[0].agent
        widths = self.batch_size, agent.action_width, agent.config.sampled_actions
        noise = (tensor.to(self._dtype) for tensor in device_noise(self._keys, update, *widths))
        return self._streams.batch(update), Noise(*noise)


def device_noise(
    keys: philox.Keys, update: torch.Tensor, batch_size: int, action_width: int, sampled_actions: int
) -> Noise:
    """The float32 :class:`Noise` of one update of R runs on the device of ``keys``; each field has a leading axis R."""
    single, several = (batch_size, action_width), (batch_size, sampled_actions, action_width)
    shapes = {"policy": single, "target": single, "current": several, "next": several}
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    normals = sum(sizes) + sum(sizes) % 2
    words = philox.words(keys, update, normals + sizes[-1])
    parts = philox.normal(words[:, :normals], torch.float32)[:, : sum(sizes)].split(sizes, dim=1)
    fields = {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
    uniform = 2 * philox.unit(words[:, normals:], torch.float32) - 1
    return Noise(uniform=uniform.unflatten(1, several), **fields)


class _Streams:
    """The data sets of a column on its device, and the places of their next minibatches."""

    def __init__(
        self, data: Sequence[CQLData], size: int, update: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        owners = list({id(one): one for one in data}.values())
        order = {id(one): place for place, one in enumerate(owners)}
        self._of_run = torch.tensor([order[id(one)] for one in data], device=device)
        tables = [one.batch(np.arange(len(one.rows))) for one in owners]
        self._table = Batch(*(torch.cat(put(device, *column)).to(dtype) for column in zip(*tables, strict=True)))
        lengths = [len(one.rows) for one in owners]
        self._starts = torch.tensor(starts_of(lengths), device=device).unsqueeze(1)
        self.ahead = RowsAhead([one.generator for one in owners], lengths, size, update, DRAWN_AHEAD, device)

    def batch(self, update: torch.Tensor) -> Batch:
        """The minibatches (R, B, ...) of the update number ``update``, int64 with one element."""
        rows = (self.ahead.rows(update) + self._starts).index_select(0, self._of_run)
        return Batch(*(column[rows] for column in self._table))
