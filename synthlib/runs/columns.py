"""Trainings as a :class:`~synthlib.kernels.column.Column`: fine-tuning with evaluations beside it, and pre-training."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
import torch

from synthlib.kernels.column import Column
from synthlib.machine.beside import Helpers
from synthlib.runs.groups import Group, Pretrainings, naming, refuse_unequal
from synthlib.runs.job import Report


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
            with naming(f"seed {run.config['seed']}", len(self.runs)):
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


class ColumnOfPretrainings(Pretrainings):
    """Pre-trainings of equal shapes; seeds and data may differ. An algorithm says how.

    A training counts its updates, and its ``add(*losses)`` takes the sums of its losses. Every ``log_every`` updates a
    row of losses is due. A subclass gives :meth:`column_of`.
    """

    def __init__(self, trainings: Sequence[Any], log_every: int) -> None:
        refuse_unequal(trainings)
        super().__init__(trainings)
        self._column, self._log_every = self.column_of(trainings), log_every

    @abstractmethod
    def column_of(self, trainings: Sequence[Any]) -> Column:
        """The column of ``trainings``."""

    def name_of(self, training: Any) -> str:
        """What tells a pre-training from the others, for an error."""
        return f"seed {training.config.seed}"

    def after_update(self) -> None:
        """Called after each update, before it is reported; rows that are due are there."""

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return self._column.updates

    def run(self, until: int, progress: Report | None = None) -> None:
        """As :meth:`Pretrainings.run`; waits for the device when a row of losses is due.

        Raises ValueError when the pre-trainings are further already.
        """
        if until < self.updates:
            raise ValueError(f"this run has made {self.updates} updates and cannot go back to {until}: start a new one")
        while self.updates < until:
            self._column.update()
            logs = self.updates % self._log_every == 0
            if logs:
                self.settle()
            self.after_update()
            if progress is not None and logs:  # it may end the run: the rows are complete
                progress(self.updates)

    def settle(self) -> None:
        """As :meth:`Pretrainings.settle`; waits for the device."""
        if self.trainings[0].updates == self.updates:
            return
        sums, _ = self._column.settle()
        for training, losses in zip(self.trainings, zip(*sums.values(), strict=True), strict=True):
            with naming(self.name_of(training), len(self.trainings)):
                training.add(*map(float, losses))


def weights_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """A copy of a module's weights, for another process."""
    return {name: weight.detach().cpu().numpy().copy() for name, weight in module.named_parameters()}
