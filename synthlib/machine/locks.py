"""Locks on folders, for processes of one machine or of several machines that share a disk.

The lock is the file ``claim.json`` in the folder. It is created exclusively and names the host, the process and a
random token. Its owner touches it every 10 seconds, the heartbeat. The lock is dead, and another process may take it,

* at once, when the owner ran on this host and its process is gone;
* otherwise when the heartbeat has stopped for two minutes, measured by the clock of the disk.

A process that was suspended in the meantime finds another token in the file: :meth:`Claim.check` raises ClaimLost.

Why not ``filelock.SoftFileLease``, which has an owner record and a heartbeat too (version 4.2.11, tried):

* A contender must itself watch a lease for its whole duration before it may take the lease over. So a command that was
  just started waits two minutes for a machine that was switched off yesterday, and cannot report meanwhile that the
  training is free. The time of the last heartbeat is in the file, and the clock of the disk reads it at once.
* The takeover swaps two names (renameat2 with RENAME_EXCHANGE). NFS and some other shared file systems refuse that; a
  dead lease stays there for ever, even the lease of a killed process of this host.
* It cannot tell whether a path is locked without trying to lock it.

The judgement and the takeover would have to stay here. What the lease could take over is creation, heartbeat and
release, about 25 lines; its own rule of takeover would then run beside the one below.
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
from pathlib import Path
from typing import Any

HEARTBEAT_SECONDS = 10
STALE_SECONDS = 120
_NAME = "claim.json"


class ClaimLost(RuntimeError):
    """Another process has taken the lock over: this process must stop writing."""


class Claim:
    """A lock that this process holds on ``folder``. Made by :func:`try_claim`, given back by :meth:`release`."""

    def __init__(self, folder: str | os.PathLike[str], token: str) -> None:
        self.path = Path(folder) / _NAME
        self._token = token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a shared disk that does not answer now may answer the next time
                if self._is_ours():
                    os.utime(self.path)

    def _is_ours(self) -> bool:
        claim = _read(self.path)
        return claim is not None and claim["token"] == self._token

    def check(self) -> None:
        """Raise ClaimLost when another process has taken the lock over, as after a long suspension of this one."""
        if not self._is_ours():
            raise ClaimLost(f"{self.path.parent} was taken over by another process; this one stops and writes no more")

    def release(self) -> None:
        """Stop the heartbeat and remove the lock file, unless the file is another process's by now."""
        self._stop.set()
        self._thread.join()
        if self._is_ours():
            self.path.unlink(missing_ok=True)


def try_claim(folder: str | os.PathLike[str]) -> Claim | None:
    """Lock an existing folder without waiting. None when a living process holds the lock."""
    path = Path(folder) / _NAME
    token = _create(path)
    if token is None and is_stale(folder):
        # One process at a time may judge and replace a dead lock. Else the slower of two processes, which judged the
        # dead lock as well, would remove the new lock of the quicker one.
        with open(path.with_name(".takeover"), "w") as takeover:
            fcntl.flock(takeover, fcntl.LOCK_EX)
            if is_stale(folder):
                path.unlink(missing_ok=True)
            token = _create(path)
    return Claim(folder, token) if token else None


def is_claimed(folder: str | os.PathLike[str]) -> bool:
    """Whether a living process holds the lock on ``folder``."""
    return (Path(folder) / _NAME).exists() and not is_stale(folder)


def is_stale(folder: str | os.PathLike[str]) -> bool:
    """Whether there is a lock on ``folder`` whose owner is gone, or has not touched it for two minutes."""
    path = Path(folder) / _NAME
    claim = _read(path)
    try:
        age = _now_on_disk(path.parent) - path.stat().st_mtime
    except FileNotFoundError:
        return False
    if age > STALE_SECONDS:
        return True
    if claim is None:
        return False  # its owner is just writing it
    return claim["host"] == _host() and not _is_alive(claim["pid"])


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
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _host() -> str:
    """Where a process id has its meaning: containers may share the name of a host, each with a process namespace."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {os.stat('/proc/self/ns/pid').st_ino}"
    return socket.gethostname()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _now_on_disk(folder: Path) -> float:
    # The clock of the disk, which also stamps the heartbeats: machines that share a disk may disagree about the time.
    probe = folder / f".clock.{secrets.token_hex(4)}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()
