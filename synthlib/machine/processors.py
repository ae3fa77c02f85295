"""How many processors a command may use."""

import os


def usable_processors() -> int:
    """The processors that this process may run on: a container or a batch queue may give it fewer than the machine has.

    All of the machine's where the system does not say (macOS, Windows); at least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
