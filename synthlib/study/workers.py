"""The processes of one command that train: each has a pipe of its own, and one that does not advance is ended.

One queue for all workers would have one lock: a worker that is killed while it holds the lock would keep the others,
and the command, waiting for ever. A pipe with one writer has no lock.

A worker sends (key of a training, share done) when it has advanced, and :data:`IDLE` while there is nothing that it
could train. Its heartbeats come from a thread and go on when its training hangs, on a stuck network disk for instance.
So a worker that has sent nothing for an hour is ended: its locks are then free, and the training can go on from its
last checkpoint.

A worker that is told to end saves first (:mod:`synthlib.machine.signals`). One that is killed can be replaced.
"""

import datetime
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from synthlib.machine.signals import TO_END

HANGING_SECONDS = 3600  # the longest step without a report, such as making tokens of WikiText-103, takes minutes
_WARN_AFTER = 1 / 6  # of that time
_SAVING_SECONDS = 30  # for a worker that was told to end: the updates to the next report, or an evaluation, and saving
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
        self._work, self._arguments, self._daemon = work, arguments, daemon
        self.hanging: list[Worker] = []
        """Those that were ended because they did not advance."""
        self.pids: set[int] = set()
        """The process ids of all workers, also of those that have ended."""
        self._all: list[Worker] = []
        self._open: dict[Connection, Worker] = {}
        self._killed: list[Worker] = []
        for _ in range(count):
            self.add()

    def add(self) -> None:
        """Start one more worker."""
        context = get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=self._work, args=(*self._arguments, sender), daemon=self._daemon)
        _start_deaf(process)
        sender.close()  # else the end of the worker would not end the pipe
        worker = Worker(process, receiver)
        self._all.append(worker)
        self._open[receiver] = worker
        assert process.pid is not None
        self.pids.add(process.pid)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.tell_to_end()
        try:
            wait_for([worker.process for worker in self._all], _SAVING_SECONDS)
        finally:
            for worker in self._all:
                worker.process.kill()  # a process that was stopped does not see the first signal
                worker.process.join()

    def tell_to_end(self) -> None:
        """Have every worker save and end."""
        for worker in self._all:
            worker.process.terminate()

    @property
    def exit_codes(self) -> list[int]:
        """The exit codes of the workers that have ended; minus the signal that killed a worker."""
        return [worker.process.exitcode or 0 for worker in self._all if worker not in self.hanging]

    def killed(self) -> Iterator[Worker]:
        """The workers that were found killed since the last call. All that they have sent is read by now.

        A signal that tells a worker to end is no killing.
        """
        for worker in self._all:
            code = worker.process.exitcode or 0
            is_read = worker.connection not in self._open
            if code < 0 and -code not in TO_END and is_read and worker not in (*self._killed, *self.hanging):
                self._killed.append(worker)
                yield worker

    def go_on(self) -> bool:
        """Whether a worker is alive or has left messages."""
        return any(worker.process.is_alive() for worker in self._all) or self._has_messages()

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


def wait_for(processes: Sequence[BaseProcess], seconds: float) -> None:
    """Return when all ``processes`` have ended, after so many ``seconds`` at the latest."""
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0))


def end_all() -> None:
    """Have all workers of this process save and end, and wait for it: for a handler of signals."""
    processes = active_children()
    for process in processes:
        process.terminate()
    wait_for(processes, _SAVING_SECONDS)


def _start_deaf(process: BaseProcess) -> None:
    """Start a process that no Ctrl-C reaches, not even while it imports: at Ctrl-C its parent ends it.

    Jupyter sends the signal to the kernel and to all processes that the kernel has started.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()  # it inherits what is blocked
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
