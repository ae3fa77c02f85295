"""What a command reports in words instead of a traceback."""

import contextlib
from collections.abc import Iterator


class Failed(RuntimeError):
    """A command could not finish its work; the message says what happened and what to do next."""


class Stopped(KeyboardInterrupt):
    """Trainings were stopped: by Ctrl-C, or by the stop button of a notebook, which then shows one line."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [str(self)]


@contextlib.contextmanager
def stopping_in_words() -> Iterator[None]:
    """A context that turns KeyboardInterrupt into :class:`Stopped`."""
    try:
        yield
    except KeyboardInterrupt:
        words = "stopped; every training keeps its last checkpoint: run this again, and it goes on from there"
        raise Stopped(words) from None
