"""The number of processors that a command may use."""

import os


def usable_processors() -> int:
    """The number of processors that this process may run on, at least 1.

    A container or a batch queue may allow fewer than the machine has. On macOS and Windows, which do not tell, it is
    the number of all processors of the machine.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
