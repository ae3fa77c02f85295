"""Many CQL runs as one program that stays on its device (``STACKED=1`` on a GPU): seeds, arms, data sets of one shape.

Between two evaluations nothing is asked of the processor but the rows of the next minibatches. What an update needs
lies on the device: the data sets, the weights (:mod:`synthlib.cql.stacked`), and the noise, which is computed there
(:mod:`synthlib.kernels.philox`). What it makes stays there: the losses are added up until an evaluation asks for them.
The update is recorded once and replayed (:mod:`synthlib.machine.capture`).

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
from synthlib.kernels import philox
from synthlib.machine.capture import captured
from synthlib.machine.devices import put
from synthlib.offline.datasets import CQLData

DRAWN_AHEAD = 500
"""Updates whose minibatches are drawn at once: half a megabyte a data set."""


class Member(NamedTuple):
    """One run of a column. ``key`` names its noise; runs with one ``data`` object share their minibatches."""

    agent: CQL
    data: CQLData
    key: int


class Column:
    """Runs with equal configuration, widths and numbers of updates, updated together."""

    def __init__(self, members: Sequence[Member], batch_size: int) -> None:
        first = members[0].agent
        self.members, self.updates, self.batch_size = members, first.updates, batch_size
        self._device, self._dtype = first.log_alpha.device, first.log_alpha.dtype
        self._stack = StackedCQL([member.agent for member in members])
        data = [member.data for member in members]
        self._streams = _Streams(data, batch_size, self.updates, self._device, self._dtype)
        self._keys = philox.keys([member.key for member in members], self._device)
        self._update = torch.full((1,), self.updates, dtype=torch.int64, device=self._device)
        self.names = list(self._stack.losses(*self._inputs()))
        self._sums = torch.zeros(len(self.names), len(members), dtype=self._dtype, device=self._device)
        self._last = torch.zeros_like(self._sums[0])
        changed = [*self._stack.state, self._update, self._sums, self._last]
        self._run = captured(self._step, changed, self._device)

    def update(self) -> None:
        """One update of every run. Nothing waits for the device."""
        self._streams.provide(self.updates)
        self._run()
        self.updates += 1

    def settle(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Wait for the device. Return each loss, summed since the last call, and the last combined loss: (G,) each.

        The agents count their updates, and the generators of minibatches are where a run alone would have left them.
        """
        sums, last = self._sums.cpu().numpy().copy(), self._last.cpu().numpy().copy()
        self._sums.zero_()
        self._streams.settle(self.updates)
        for member in self.members:
            member.agent.updates = self.updates
        return dict(zip(self.names, sums, strict=True)), last

    def _step(self) -> None:
        losses = self._stack.update_stacked(*self._inputs())
        with torch.no_grad():
            self._sums += torch.stack([losses[name] for name in self.names])
            self._last.copy_(losses["qf_loss_total"])
            self._update += 1

    def _inputs(self) -> tuple[Batch, Noise]:
        agent = self.members[0].agent
        widths = self.batch_size, agent.action_width, agent.config.sampled_actions
        noise = (tensor.to(self._dtype) for tensor in device_noise(self._keys, self._update, *widths))
        return self._streams.batch(self._update), Noise(*noise)


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
    """The data sets of a column on its device, and the places of their next minibatches.

    Copies of the data sets' generators draw ahead. The generators themselves follow in :meth:`settle`.
    """

    def __init__(
        self, data: Sequence[CQLData], size: int, update: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._owners = list({id(one): one for one in data}.values())
        self._ahead = [_copy(one.generator) for one in self._owners]
        self._size, self._settled = size, update
        order = {id(one): place for place, one in enumerate(self._owners)}
        self._of_run = torch.tensor([order[id(one)] for one in data], device=device)
        tables = [one.batch(np.arange(len(one.rows))) for one in self._owners]
        self._table = Batch(*(torch.cat(put(device, *column)).to(dtype) for column in zip(*tables, strict=True)))
        starts = np.cumsum([0, *[len(one.rows) for one in self._owners]])[:-1]
        self._starts = torch.tensor(starts, device=device).unsqueeze(1)
        self._drawn = torch.zeros(DRAWN_AHEAD, len(self._owners), size, dtype=torch.int64, device=device)
        self._first = torch.zeros(1, dtype=torch.int64, device=device)  # the update of the first minibatch in _drawn
        self._draw_from(update)

    def provide(self, update: int) -> None:
        """Have the minibatches of ``update`` on the device; ``update`` grows by one from call to call."""
        if update == self._until:
            self._draw_from(update)

    def batch(self, update: torch.Tensor) -> Batch:
        """The minibatches (R, B, ...) of the update number ``update``, int64 with one element."""
        places = self._drawn.index_select(0, update - self._first).squeeze(0) + self._starts
        rows = places.index_select(0, self._of_run)
        return Batch(*(column[rows] for column in self._table))

    def settle(self, update: int) -> None:
        """Draw from the data sets' own generators what was used before ``update``."""
        for one in self._owners:
            one.generator.randint(len(one.rows), size=(update - self._settled, self._size))
        self._settled = update

    def _draw_from(self, update: int) -> None:
        shape = DRAWN_AHEAD, self._size
        drawn = [copy.randint(len(one.rows), size=shape) for copy, one in zip(self._ahead, self._owners, strict=True)]
        (places,) = put(self._drawn.device, np.stack(drawn, axis=1))
        self._drawn.copy_(places)
        self._first.fill_(update)
        self._until = update + DRAWN_AHEAD


def _copy(generator: np.random.RandomState) -> np.random.RandomState:
    other = np.random.RandomState()
    other.set_state(generator.get_state())
    return other
