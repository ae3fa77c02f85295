"""Who owns a lock: a process that another process can recognise, and look up where it runs on the same machine.

A process number alone says little: containers of one name have numbers of their own, two machines may have one name,
and a number is given again after the process has ended. So an owner is also known by the boot of its machine, by its
process namespace, and by the time at which it was started.
"""

import contextlib
import os
import socket
from functools import cache
from pathlib import Path
from typing import Any

_START_FIELD = 19  # of /proc/<pid>/stat, counted after the command's name: the start, in ticks since the boot


def owner_of_this_process() -> dict[str, Any]:
    """``host`` (with the process namespace), ``boot``, ``pid`` and ``started`` of this process, JSON types only.

    ``boot`` is "" and ``started`` None on a system that does not tell them.
    """
    return {"host": _host(), "boot": _boot(), "pid": os.getpid(), "started": _stat(os.getpid())[1]}


def is_here(owner: dict[str, Any]) -> bool:
    """Whether the owner's process can be looked up: it runs, or ran, under this boot and in this process namespace.

    An owner without a boot was noted by code from before it was: its host has to do.
    """
    return owner["host"] == _host() and owner.get("boot", _boot()) == _boot()


def is_running(owner: dict[str, Any]) -> bool:
    """Whether the process of an owner that :func:`is_here` runs still, stopped or not."""
    try:
        os.kill(owner["pid"], 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    state, now = _stat(owner["pid"])
    if state in ("Z", "X"):  # it has ended, and its parent has not asked how
        return False
    then = owner.get("started")
    return now is None or then is None or now == then


def _host() -> str:
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {os.stat('/proc/self/ns/pid').st_ino}"
    return socket.gethostname()


@cache
def _boot() -> str:
    """A number that is drawn at every start of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, int | None]:
    """(the state's letter, the start in ticks since the boot) of a process; ("", None) where that is not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", None
    return fields[0], int(fields[_START_FIELD])
