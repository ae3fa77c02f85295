"""Fine-tuning runs as a :class:`~synthlib.kernels.column.Column`, and their evaluations beside it."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
import torch

from synthlib.kernels.column import Column
from synthlib.machine.beside import Helpers
from synthlib.runs.groups import Group, naming, refuse_unequal


class Evaluation(NamedTuple):
    """An evaluation for another process: ``function(*arguments)`` returns the row; the weights are copies."""

    function: Callable[..., dict[str, Any]]
    arguments: tuple[Any, ...]


class ColumnOfRuns(Group):
    """Runs with equal shapes and settings; seeds, arms and data sets may differ. An algorithm says how."""

    evaluates_beside = True
    runs: Sequence[Any]

    def __init__(self, runs: Sequence[Any]) -> None:
        refuse_unequal(runs)
        super().__init__(runs)
        self._column = self.column_of(runs)
        self._helpers = Helpers()
        self._settled = runs[0].updates
        self._playing: list[Future[dict[str, Any]]] = []

    @abstractmethod
    def column_of(self, runs: Sequence[Any]) -> Column:
        """The column of ``runs``."""

    @abstractmethod
    def evaluation_of(self, run: Any) -> Evaluation:
        """The evaluation of a run as it is now."""

    def update(self) -> None:
        """One update of every run. Nothing waits for the device."""
        self._column.update()

    def settle(self) -> None:
        """As :meth:`Group.settle`; waits for the device."""
        count = self._column.updates - self._settled
        if not count:
            return
        losses = self._column.settle()
        self._settled = self._column.updates
        for place, run in enumerate(self.runs):
            sums, last = ({name: torch.tensor(values[place]) for name, values in one.items()} for one in losses)
            with naming(run.config["seed"], len(self.runs)):
                run.add(count, sums, last)

    def evaluate(self) -> None:
        """Copy every policy and have it evaluated by other processes. An evaluation before must have ended: waits."""
        self.collect()
        evaluations = map(self.evaluation_of, self.runs)
        self._playing = [self._helpers.call(one.function, *one.arguments) for one in evaluations]

    def collect(self) -> None:
        """As :meth:`Group.collect`. Raises FloatingPointError when a policy answers NaN."""
        for run, row in zip(self.runs, self._playing, strict=bool(self._playing)):
            run.evaluations.append(row.result())
        self._playing = []

    def close(self) -> None:
        """End the processes that evaluate."""
        self._helpers.close()


def weights_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """A copy of a module's weights, for another process."""
    return {name: weight.detach().cpu().numpy().copy() for name, weight in module.named_parameters()}
