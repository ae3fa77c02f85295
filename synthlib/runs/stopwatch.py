"""How long a training took: wall time and processor time, added up over all its starts.

The time is saved together with the updates that it was spent on. So the hours between a stop and the next start do not
count, nor does work that was lost because it had not been saved.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Spent:
    """Seconds that a training has taken, from its start to its last save.

    Processor time is that of the training's process, all its threads together. On a GPU it is the time of the
    processor, not of the GPU.
    """

    wall_seconds: float = 0.0
    processor_seconds: float = 0.0
    evaluation_wall_seconds: float = 0.0
    """The part of ``wall_seconds`` that the evaluations took."""
    evaluation_processor_seconds: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        mine, theirs = asdict(self), asdict(other)
        return Spent(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def update_wall_seconds(self) -> float:
        """Wall seconds without the evaluations: loading, compiling, updates and saving."""
        return self.wall_seconds - self.evaluation_wall_seconds

    @property
    def update_processor_seconds(self) -> float:
        """Processor seconds without the evaluations."""
        return self.processor_seconds - self.evaluation_processor_seconds

    def to_json(self) -> dict[str, float]:
        """The fields as a file keeps them, rounded to milliseconds."""
        return {name: round(seconds, 3) for name, seconds in asdict(self).items()}


class Stopwatch:
    """The time since it was made or restarted. ``shared_by`` runs that are one computation take equal parts of it."""

    def __init__(self) -> None:
        self.shared_by = 1
        self.restart()

    def restart(self) -> None:
        """Begin again from 0."""
        self._began = _clocks()
        self._evaluated = (0.0, 0.0)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """A context: its time is that of evaluations."""
        began = _clocks()
        try:
            yield
        finally:
            wall, processor = _since(began)
            self._evaluated = self._evaluated[0] + wall, self._evaluated[1] + processor

    def elapsed(self) -> Spent:
        """The time so far; inside :meth:`evaluating`, without the evaluation that goes on."""
        seconds = (*_since(self._began), *self._evaluated)
        return Spent(*(value / self.shared_by for value in seconds))


def spent_from(saved: dict[str, Any] | None) -> Spent | None:
    """What :meth:`Spent.to_json` gave. None where nothing was kept: the training is older than this record."""
    return None if saved is None else Spent(**saved)


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> tuple[float, float]:
    wall, processor = _clocks()
    return wall - began[0], processor - began[1]
