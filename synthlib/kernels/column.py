"""Runs of one shape as one program that stays on its device: what the columns of all algorithms have in common.

Between two evaluations nothing is asked of the processor but what it draws for the next updates, many at once, while
the device computes (:class:`DrawnAhead`). What an update needs lies on the device, and what an update makes stays
there: the losses are added up until an evaluation asks for them. The update is recorded once and replayed
(:mod:`synthlib.machine.capture`).
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import numpy as np
import torch

from synthlib.machine.capture import captured
from synthlib.machine.devices import sent


class Column(ABC):
    """G runs that have made equally many ``updates`` and are updated together.

    ``names`` are the losses that :meth:`losses_of` returns. ``state`` are the tensors that it changes in place. A
    subclass calls this constructor last, because the constructor records an update.
    """

    def __init__(
        self,
        updates: int,
        runs: int,
        names: Sequence[str],
        state: Sequence[torch.Tensor],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.updates, self.names = updates, list(names)
        self._update = torch.full((1,), updates, dtype=torch.int64, device=device)
        self._sums = torch.zeros(len(self.names), runs, dtype=dtype, device=device)
        self._last = torch.zeros_like(self._sums)
        self._run = captured(self._step, [*state, self._update, self._sums, self._last], device)

    def update(self) -> None:
        """One update of every run. Nothing waits for the device."""
        self.provide(self.updates)
        self._run()
        self.updates += 1

    def settle(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Wait for the device. Return each loss, (G,), summed since the last call, and of the last update."""
        sums, last = (losses.cpu().numpy().copy() for losses in (self._sums, self._last))
        self._sums.zero_()
        return dict(zip(self.names, sums, strict=True)), dict(zip(self.names, last, strict=True))

    @abstractmethod
    def provide(self, update: int) -> None:
        """Have on the device what the processor draws for ``update``, which grows by one from call to call."""

    @abstractmethod
    def losses_of(self, update: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Make the update number ``update``, int64 with one element; return each loss as a tensor (G,)."""

    def _step(self) -> None:
        losses = self.losses_of(self._update)
        with torch.no_grad():
            torch.stack([losses[name].to(self._sums.dtype) for name in self.names], out=self._last)
            self._sums += self._last
            self._update += 1


class DrawnAhead:
    """What the processor draws for the updates from ``update`` on, sent to ``device`` for ``count`` updates at once.

    ``draw(first, count)`` returns arrays (count, ...) for the updates from ``first`` on. It is called for one stretch
    of updates after the other, while the device still has updates of the stretch before to make.
    """

    def __init__(
        self, draw: Callable[[int, int], Sequence[np.ndarray]], update: int, count: int, device: torch.device
    ) -> None:
        self._draw, self._count, self._device = draw, count, device
        self._next: Sequence[np.ndarray] | None = None
        self._drawn = [sent(device, torch.from_numpy(array)) for array in draw(update, count)]
        self._first = torch.full((1,), update, dtype=torch.int64, device=device)
        self._until = update + count

    def provide(self, update: int) -> None:
        """Have what was drawn for ``update`` on the device; ``update`` grows by one from call to call."""
        if update == self._until:
            drawn, self._next = self._next or self._draw(update, self._count), None
            for tensor, array in zip(self._drawn, drawn, strict=True):
                tensor.copy_(sent(self._device, torch.from_numpy(array)))
            self._first.fill_(update)
            self._until = update + self._count
        elif update == self._until - 1:
            self._next = self._draw(self._until, self._count)

    def at(self, update: torch.Tensor) -> list[torch.Tensor]:
        """What was drawn for the update number ``update``, int64 with one element."""
        return [tensor.index_select(0, update - self._first).squeeze(0) for tensor in self._drawn]


class RowsAhead(DrawnAhead):
    """Rows of minibatches of ``size``, as NumPy's legacy ``generators`` draw them from data sets of these ``lengths``.

    Copies of the generators draw ahead. The generators themselves follow in :meth:`settle`.
    """

    def __init__(
        self,
        generators: Sequence[np.random.RandomState],
        lengths: Sequence[int],
        size: int,
        update: int,
        count: int,
        device: torch.device,
    ) -> None:
        self._own, self._copies = generators, [copy.deepcopy(one) for one in generators]
        self._lengths, self._size, self._settled = lengths, size, update
        super().__init__(self._rows, update, count, device)

    def rows(self, update: torch.Tensor) -> torch.Tensor:
        """The rows (generators, B) of the update number ``update``, int64 with one element."""
        (drawn,) = self.at(update)
        return drawn

    def settle(self, update: int) -> None:
        """Draw from the generators themselves what was used before ``update``."""
        self._draws(self._own, update - self._settled)
        self._settled = update

    def _rows(self, first: int, count: int) -> list[np.ndarray]:
        return [np.stack(self._draws(self._copies, count), axis=1)]

    def _draws(self, generators: Sequence[np.random.RandomState], count: int) -> list[np.ndarray]:
        pairs = zip(generators, self._lengths, strict=True)
        return [one.randint(length, size=(count, self._size)) for one, length in pairs]


def starts_of(lengths: Sequence[int]) -> list[int]:
    """Where each of several tables of these lengths begins when they are concatenated."""
    return [0, *accumulate(lengths)][:-1]
