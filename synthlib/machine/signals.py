"""Being told to end: a process that trains notes the signal, saves, and then ends by it.

SIGTERM is what ``kill``, containers and queues send. SIGUSR2 is what Slurm is asked to send before a time limit, to
every process of the job. Unless it listens, a process dies at once of either.
"""

import os
import signal
import sys
import threading
from types import FrameType

TO_END = (signal.SIGTERM, signal.SIGUSR2)


class ToldToEnd:
    """The signal that told this process to end, if one has."""

    def __init__(self) -> None:
        self.number = 0
        """The signal; 0 while none has come."""

    def listen(self) -> None:
        """From now on note :data:`TO_END` instead of dying. Signals that somebody else handles here stay theirs.

        Only a program's main thread can do so; nothing happens in another one.
        """
        if threading.current_thread() is threading.main_thread():
            for number in TO_END:
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, self._note)

    def listen_no_more(self) -> None:
        """Give the signals back that :meth:`listen` took."""
        if threading.current_thread() is threading.main_thread():
            for number in TO_END:
                if signal.getsignal(number) == self._note:
                    signal.signal(number, signal.SIG_DFL)

    def end(self) -> None:
        """End this process by the signal that has come, so that its parent can tell; return where none has."""
        if self.number:
            sys.stdout.flush()
            sys.stderr.flush()
            signal.signal(self.number, signal.SIG_DFL)
            os.kill(os.getpid(), self.number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number


def leave_to_parent() -> None:
    """Ignore :data:`TO_END` in this process: its parent, which gets them too, still needs it to save."""
    for number in TO_END:
        signal.signal(number, signal.SIG_IGN)
