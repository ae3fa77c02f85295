"""Work for all processors beside a process that is busy with a GPU."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import Any

from synthlib.machine.processes import prepare_process
from synthlib.machine.processors import usable_processors
from synthlib.machine.signals import leave_to_parent


class Helpers:
    """Processes that call functions beside this one: as many as there are processors, less this one's.

    They end with :meth:`close`, and when this process ends in whatever way.
    """

    def __init__(self) -> None:
        count = max(1, usable_processors() - 1)
        self._pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_start)

    def call(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Have ``function(*arguments)`` called; function, arguments and result must be picklable."""
        return self._pool.submit(function, *arguments)

    def close(self) -> None:
        """End the processes; what they have not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    leave_to_parent()
    prepare_process()
    end_with_parent()


def end_with_parent() -> None:
    """End this process, started by ``multiprocessing``, when its parent is killed."""
    parent = parent_process()
    assert parent is not None, "only a process that another one has started has a parent"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
