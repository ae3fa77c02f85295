"""What a command reports in words instead of a traceback."""

import contextlib
from collections.abc import Iterator


class Failed(RuntimeError):
    """A command could not finish its work; the message says what happened and what to do next."""


class Stopped(KeyboardInterrupt):
    """Work was stopped: by Ctrl-C, or by the stop button of a notebook, which then shows one line."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [str(self)]


KEPT = "every training keeps its last checkpoint: run this again, and it goes on from there"


@contextlib.contextmanager
def stopping_in_words(then: str = KEPT) -> Iterator[None]:
    """A context that turns KeyboardInterrupt into :class:`Stopped`; ``then`` says what is left, and what to do."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {then}") from None
