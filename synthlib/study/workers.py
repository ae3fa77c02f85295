"""The processes of one command that train: each has a pipe of its own, and one that does not advance is ended.

One queue for all workers would have one lock: a worker that is killed while it holds the lock would keep the others,
and the command, waiting for ever. A pipe with one writer has no lock.

A worker sends (key of a training, share done) when it has advanced, and :data:`IDLE` while there is nothing that it
could train. Its heartbeats come from a thread and go on when its training hangs, on a stuck network disk for instance.
So a worker that has sent nothing for an hour is ended: its locks are then free, and the training can go on from its
last checkpoint.
"""

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

HANGING_SECONDS = 3600  # the longest step without a report, such as making tokens of WikiText-103, takes minutes
_WARN_AFTER = 1 / 6  # of that time
IDLE = ("", 0.0)
Message = tuple[str, float]


class Worker:
    """One process, with what it was heard of last."""

    def __init__(self, process: BaseProcess, connection: Connection) -> None:
        self.process, self.connection = process, connection
        self.heard, self.key, self.was_warned_of = time.monotonic(), "", False

    @property
    def silent(self) -> float:
        """Seconds since its last message."""
        return time.monotonic() - self.heard


class Workers:
    """Processes that run ``work(*arguments, connection)``; they are ended when the context is left.

    A ``daemon`` may not have processes of its own, such as those that evaluate beside a GPU.
    """

    def __init__(self, work: Callable[..., None], arguments: Sequence[object], count: int, daemon: bool = True) -> None:
        context = get_context("spawn")
        self.hanging: list[Worker] = []
        """Those that were ended because they did not advance."""
        self._all = []
        for _ in range(count):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(*arguments, sender), daemon=daemon)
            process.start()
            sender.close()  # else the end of the worker would not end the pipe
            self._all.append(Worker(process, receiver))
        self._open = {worker.connection: worker for worker in self._all}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.process.terminate()
        for worker in self._all:
            worker.process.join(5)
            worker.process.kill()  # a process that was stopped does not see the first signal
            worker.process.join()

    @property
    def pids(self) -> set[int]:
        """The process ids of all workers."""
        return {worker.process.pid for worker in self._all if worker.process.pid is not None}

    @property
    def exit_codes(self) -> list[int]:
        """The exit codes of the workers that have ended; minus the signal that killed a worker."""
        return [worker.process.exitcode or 0 for worker in self._all if worker not in self.hanging]

    def go_on(self) -> bool:
        """Whether a worker is alive or has left messages."""
        return bool(self._open) and (any(worker.process.is_alive() for worker in self._all) or self._has_messages())

    def messages(self, seconds: float) -> Iterator[Message]:
        """The messages that are there, after waiting for the first one for at most so many ``seconds``."""
        if not self._open:
            time.sleep(seconds)
        for connection in wait(list(self._open), seconds):
            assert isinstance(connection, Connection)
            worker = self._open[connection]
            try:
                while connection.poll():
                    message = connection.recv()
                    worker.heard, worker.key, worker.was_warned_of = time.monotonic(), message[0], False
                    if message != IDLE:
                        yield message
            except (EOFError, OSError):  # it has ended, perhaps in the middle of a message
                del self._open[connection]
                connection.close()

    def look(self, describe: Callable[[str], str]) -> str:
        """A line about a worker that does not advance, else ""; ends the worker that has not done so for an hour.

        ``describe`` gives the words for a training's key.
        """
        for worker in self._open.values():
            if worker.silent < HANGING_SECONDS * _WARN_AFTER or worker in self.hanging:
                continue
            silent, limit = (datetime.timedelta(seconds=round(time)) for time in (worker.silent, HANGING_SECONDS))
            what = f" ({describe(worker.key)})" if worker.key else ""
            name = f"worker process {worker.process.pid}{what}"
            if worker.silent > HANGING_SECONDS:
                self.hanging.append(worker)
                worker.process.kill()
                return f"{name} has not advanced for {silent} and was ended; its training keeps its last checkpoint"
            if not worker.was_warned_of:
                worker.was_warned_of = True
                return f"{name} has not advanced for {silent}; it is ended after {limit}"
        return ""

    def _has_messages(self) -> bool:
        return bool(wait(list(self._open), 0))
