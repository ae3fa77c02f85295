"""Runs that are trained together: one after the other, or as one computation.

The loop (:func:`synthlib.runs.loop.finetune`) asks a group for updates, and before it looks at the runs themselves, to
settle them: to bring each run's counts and losses up to date.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from synthlib.runs.job import Report, Run, StackableRun


class Group:
    """Runs that are equally far, updated one after the other; the other groups change how."""

    evaluates_beside = False
    """Whether the updates go on during an evaluation. If so, its rows are there after :meth:`collect` only."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs

    def update(self) -> None:
        """One update of every run. Raises FloatingPointError when a loss is NaN or infinite."""
        for run in self.runs:
            run.update()

    def settle(self) -> None:
        """Bring every run up to date. Raises FloatingPointError when a loss is NaN or infinite."""

    def evaluate(self) -> None:
        """Evaluate every run with its present policy; the runs are settled."""
        for run in self.runs:
            run.evaluate()

    def collect(self) -> None:
        """Wait for the rows of evaluations that have not ended."""

    def close(self) -> None:
        """Give back what the group holds beside its runs."""


GroupOf = Callable[[Sequence[Any]], Group]
"""Makes a group of runs that can be trained together (:attr:`synthlib.runs.job.Training.alike`)."""


class Stacked(Group):
    """Runs updated as one computation, each with what it drew itself (:mod:`synthlib.kernels.stacking`).

    ``stack`` holds the stacked runs. Its ``update`` takes one list per argument of an update, each with the values that
    the runs drew. It returns a list with the value that each run logs. Raises ValueError when the runs have not made
    equally many updates.
    """

    runs: Sequence[StackableRun]

    def __init__(self, runs: Sequence[StackableRun], stack: Any) -> None:
        refuse_unequal(runs)
        super().__init__(runs)
        self._stack = stack

    def update(self) -> None:
        """As :meth:`Group.update`. A FloatingPointError of one run stops all of them; its message names the seed."""
        drawn = zip(*(run.draw() for run in self.runs), strict=True)
        for run, done in zip(self.runs, self._stack.update(*drawn), strict=True):
            with naming(f"seed {run.config['seed']}", len(self.runs)):
                run.log(done)


class Pretrainings:
    """Pre-trainings that are equally far, advanced one after the other; others change how."""

    def __init__(self, trainings: Sequence[Any]) -> None:
        self.trainings = trainings

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return self.trainings[0].updates

    def run(self, until: int, progress: Report | None = None) -> None:
        """Advance each to ``until`` updates in all."""
        for training in self.trainings:
            training.run(until, progress)

    def settle(self) -> None:
        """Bring every pre-training up to date: its weights, losses and number of updates."""


def refuse_unequal(runs: Sequence[Any]) -> None:
    """Raises ValueError when the runs have not made equally many updates."""
    if len({run.updates for run in runs}) > 1:  # a run whose checkpoint cannot be read starts again from 0
        raise ValueError("these runs are not equally far and cannot be stacked; run again without STACKED=1")


@contextlib.contextmanager
def naming(which: str, count: int) -> Iterator[None]:
    """A context in which a FloatingPointError says ``which`` run it is of, one of ``count`` stacked ones."""
    try:
        yield
    except FloatingPointError as diverged:
        where = f"{which} of {count} stacked ones (without STACKED=1 the others go on)"
        raise FloatingPointError(f"{where}: {diverged}") from diverged
