"""The progress bar of trainings, and how long they will still take.

At first nothing is known but the plan, whose costs were measured on this machine when it had time. Later the trainings
themselves show how fast they go. The estimate begins with the plan's and moves to what is measured: processes that
are starting, or other people's work, do not make hours of minutes.
"""

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tqdm.auto import tqdm
from tqdm.notebook import tqdm as tqdm_notebook

from synthlib.study.workers import Message

_TRUST = 1 / 10  # of the time that the plan expects: for so long it weighs as much as what is measured,
_LEAST, _MOST = 60.0, 600.0  # within these bounds, in seconds
_DONE = 0.999  # a share that counts as the whole


def seconds_left(planned: float, workers: int, done: float, elapsed: float) -> float:
    """How long trainings will still take.

    ``planned``: seconds of one process that the plan expected of them at first; ``done`` of these have been trained in
    ``elapsed`` seconds by ``workers`` processes.
    """
    trust = min(max(planned / workers * _TRUST, _LEAST), _MOST)
    return (planned - done) * (elapsed + trust) / (done + trust * workers)


class ProgressBar:
    """A bar over trainings that advance at once; leave it as a context.

    ``weights``: {key of a training: seconds that the plan expects}; ``done``: {key: seconds' worth of it that is
    trained already}.
    """

    def __init__(self, weights: Mapping[str, float], done: Mapping[str, float], workers: int) -> None:
        self._weights, self._reached = weights, dict(done)
        self._start = f", {workers} process{'es' if workers > 1 else ''} starting"
        self._bar = _Bar(
            workers,
            total=sum(weights.values()),
            initial=sum(done.values()),
            bar_format="{percentage:3.0f} %|{bar}| {elapsed} elapsed, about {left} to go{postfix}",
            mininterval=0.5 if _is_watched() else 30,  # a log file wants few lines
            miniters=0,
            postfix=self._words(""),
        )

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, messages: Iterable[Message], note: str) -> None:
        """Take the messages of workers in; ``note`` is added to the words behind the bar."""
        for key, fraction in messages:
            self._start = ""
            if key in self._weights:  # else a run of another shard
                reached = max(fraction * self._weights[key], self._reached[key])
                more, self._reached[key] = reached - self._reached[key], reached
                self._bar.update(min(more, self._bar.total - self._bar.n))
        self._bar.set_postfix_str(self._words(note), refresh=False)
        self._bar.update(0)

    def write(self, line: str) -> None:
        """A line above the bar."""
        self._bar.write(line, file=sys.stderr)

    def _words(self, note: str) -> str:
        finished = sum(reached >= self._weights[key] * _DONE for key, reached in self._reached.items())
        return f"{finished} of {len(self._reached)} trainings{self._start}{note}"


class _Bar(tqdm):
    """tqdm with ``{left}``, the estimate of :func:`seconds_left`; its own goes by the last seconds alone."""

    def __init__(self, workers: int, **options: Any) -> None:
        self._workers, self._began = workers, time.monotonic()
        super().__init__(**options)

    @property
    def format_dict(self) -> dict[str, Any]:
        known: dict[str, Any] = super().format_dict
        planned, done = known["total"] - known["initial"], known["n"] - known["initial"]
        left = seconds_left(planned, self._workers, done, time.monotonic() - self._began)
        return {**known, "left": self.format_interval(left)}


def _is_watched() -> bool:
    """Whether the bar is drawn on a terminal or in a notebook, and not line by line into a file."""
    return sys.stderr.isatty() or issubclass(tqdm, tqdm_notebook)
