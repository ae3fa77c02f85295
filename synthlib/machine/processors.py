"""The number of processors that a command may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_processors(system: Path = Path("/")) -> int:
    """The number of processors that this process may keep busy, at least 1.

    A batch queue or ``taskset`` may allow fewer than the machine has, a container less of their time (``docker run
    --cpus 1``). On macOS, which does not tell, it is the number of all processors of the machine. ``system`` is the
    folder below which Linux's /proc and /sys are read.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(share) for share in _shares_of_time(system))]))


def _shares_of_time(system: Path) -> Iterator[float]:
    """How many processors' time each control group of this process may use, where it has a limit."""
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has no names of controllers. In a container, the path may be one that only the host has; then the
        # top folder is the container's own.
        top = system / "sys/fs/cgroup" / controllers
        inner = top / group.lstrip("/")
        for folder in (inner, *(parent for parent in inner.parents if parent.is_relative_to(top))):
            yield from _limit(folder)


def _limit(folder: Path) -> list[float]:
    """Quota over period, of either version of control groups; empty without a limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return [int(quota) / int(period)] if int(quota) > 0 else []
    except (OSError, ValueError):  # no such file; "max"
        return []
