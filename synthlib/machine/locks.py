"""Locks on folders, for processes of one machine or of several machines that share a disk.

The lock is the file ``claim.json`` in the folder. It is created exclusively and names the host, the process and a
random token. Its owner touches it every 10 seconds, the heartbeat. The lock is dead, and another process may take it,

* at once, when the owner ran on this host and its process is gone;
* otherwise when the heartbeat has stopped for two minutes, measured by the clock of the disk.

An owner that was suspended for so long finds another token in the file: :meth:`Claim.check` raises ClaimLost. A lock
that is dated ahead of the disk's clock (the clock was set back, or files were copied) gets the present date from the
first process that sees it. A living owner does not mind, and of a dead one the heartbeat has stopped two minutes later.

Why not ``filelock.SoftFileLease``, which has an owner record and a heartbeat too (version 4.2.11, tried):

* A process must itself watch a lease for its whole duration before it may take the lease over. So a command that was
  just started waits two minutes for a machine that was switched off yesterday, and meanwhile cannot report that the
  training is free. Here the file's modification time is the last heartbeat, so its age is known at once.
* The takeover swaps two names (renameat2 with RENAME_EXCHANGE). NFS and some other shared file systems refuse this
  operation. A dead lease stays there for ever, even the lease of a killed process of this host.
* It cannot tell whether a path is locked without trying to lock it.

So this file would still have to decide which locks are dead and take them over. The lease could replace only creation,
heartbeat and release, about 25 lines, and its own takeover rule would then run beside the rule below.
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthlib.machine.files import may_not_write

HEARTBEAT_SECONDS = 10
STALE_SECONDS = 120
_NAME = "claim.json"


class ClaimLost(RuntimeError):
    """Another process has taken the lock over: this process must stop writing."""


@dataclass(frozen=True)
class Holder:
    """The living process that holds a lock."""

    host: str
    """Empty, like ``pid`` 0, while the process is still writing the lock file."""
    pid: int
    silent: float
    """Seconds since its last heartbeat."""

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine, in this container."""
        return self.host == _host()

    def __str__(self) -> str:
        if not self.host:
            return "another process"
        return f"process {self.pid} on {'this machine' if self.is_here else self.host.split()[0]}"


class Claim:
    """A lock that this process holds on ``folder``: :func:`try_claim` acquires it, :meth:`release` releases it."""

    def __init__(self, folder: str | os.PathLike[str], token: str) -> None:
        self.path = Path(folder) / _NAME
        self._token = token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a shared disk that fails now may work at the next heartbeat
                if self._is_ours():
                    os.utime(self.path)

    def _is_ours(self) -> bool:
        claim = _read(self.path)
        return claim is not None and claim["token"] == self._token

    def check(self) -> None:
        """Raise ClaimLost when another process has taken the lock over, for instance while this one was suspended."""
        if not self._is_ours():
            raise ClaimLost(f"{self.path.parent} was taken over by another process; this one stops and writes no more")

    def release(self) -> None:
        """Stop the heartbeat, and remove the lock file unless it belongs to another process by now."""
        self._stop.set()
        self._thread.join()
        if self._is_ours():
            self.path.unlink(missing_ok=True)


def try_claim(folder: str | os.PathLike[str]) -> Claim | None:
    """Lock an existing folder without waiting. Returns None when a living process holds the lock."""
    path = Path(folder) / _NAME
    token = _create(path)
    if token is None and is_stale(folder):
        # One process at a time may check and replace a dead lock. Otherwise two processes could both see the dead lock,
        # and the slower process would remove the new lock of the quicker process.
        with open(path.with_name(".takeover"), "w") as takeover:
            fcntl.flock(takeover, fcntl.LOCK_EX)
            if is_stale(folder):
                path.unlink(missing_ok=True)
            token = _create(path)
    return Claim(folder, token) if token else None


def is_claimed(folder: str | os.PathLike[str]) -> bool:
    """Whether a living process holds the lock on ``folder``."""
    return (Path(folder) / _NAME).exists() and not is_stale(folder)


def holder(folder: str | os.PathLike[str]) -> Holder | None:
    """The living process that holds the lock on ``folder``, or None."""
    path = Path(folder) / _NAME
    if not path.exists() or is_stale(folder):
        return None
    claim = _read(path) or {"host": "", "pid": 0}
    try:
        return Holder(claim["host"], claim["pid"], _silence(path))
    except FileNotFoundError:  # released by now
        return None


def is_stale(folder: str | os.PathLike[str]) -> bool:
    """Whether there is a lock on ``folder`` whose owner is gone, or has not touched it for two minutes."""
    path = Path(folder) / _NAME
    claim = _read(path)
    try:
        silence = _silence(path)
    except FileNotFoundError:
        return False
    if silence > STALE_SECONDS:
        return True
    if claim is None:
        return False  # its owner has created the file and is still writing it
    return claim["host"] == _host() and not _is_alive(claim["pid"])


def _silence(path: Path) -> float:
    """Seconds since the last heartbeat of a lock file. FileNotFoundError when there is no such file."""
    silence = _now_on_disk(path.parent) - path.stat().st_mtime
    if silence < -HEARTBEAT_SECONDS:
        with contextlib.suppress(OSError):  # somebody else's file, which this process may only read
            os.utime(path)
    return max(silence, 0.0)


def _create(path: Path) -> str | None:
    token = secrets.token_hex(8)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return None
    with os.fdopen(handle, "w") as file:
        json.dump({"host": _host(), "pid": os.getpid(), "token": token}, file)
    return token


def _read(path: Path) -> dict[str, Any] | None:
    """What is in a lock file; None when it is not there, or not completely."""
    try:
        claim = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    is_whole = isinstance(claim, dict) and claim.keys() >= {"host", "pid", "token"}
    return claim if is_whole else None


def _host() -> str:
    """Host name and process namespace: containers may share a host name, but each has its own process ids."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {os.stat('/proc/self/ns/pid').st_ino}"
    return socket.gethostname()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _now_on_disk(folder: Path) -> float:
    # The disk's clock also stamps the heartbeats; the clocks of machines that share a disk may differ.
    probe = folder / f".clock.{secrets.token_hex(4)}"
    try:
        probe.touch()
    except OSError as error:
        if not may_not_write(error):
            raise
        return time.time()  # the folder of another user, whose trainings this process can only look at
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()
