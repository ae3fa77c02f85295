"""Who is working on a folder: a claim file with host, process and heartbeat.

Several processes, on one machine or on many that share a disk, may look at the same store. A claim is taken by
creating ``claim.json`` exclusively. Its owner touches it every few seconds; a claim whose process is gone, or whose
heart has stopped for two minutes, may be taken over.
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
from pathlib import Path

HEARTBEAT_SECONDS = 10
STALE_SECONDS = 120
_NAME = "claim.json"


class ClaimLost(RuntimeError):
    """Another process has taken this claim over: stop writing."""


class Claim:
    """A held claim on ``folder``; made by :func:`try_claim`, given back by :meth:`release`."""

    def __init__(self, folder, token):
        self.path = Path(folder) / _NAME
        self._token = token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self):
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a shared disk that does not answer may do so at the next beat
                if self._is_ours():
                    os.utime(self.path)

    def _is_ours(self):
        claim = _read(self.path)
        return claim is not None and claim["token"] == self._token

    def check(self):
        """Raise ClaimLost when the claim is no longer ours (a suspended machine that woke up too late)."""
        if not self._is_ours():
            raise ClaimLost(f"{self.path.parent} was taken over by another process; this one stops and writes no more")

    def release(self):
        self._stop.set()
        self._thread.join()
        if self._is_ours():
            self.path.unlink(missing_ok=True)


def try_claim(folder):
    """Claim an existing folder: a :class:`Claim`, or None when a living process holds it."""
    path = Path(folder) / _NAME
    token = _create(path)
    if token is None and is_stale(folder):
        # Only one process at a time may judge and replace a dead claim, or a fresh one could be removed as stale.
        with open(path.with_name(".takeover"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if is_stale(folder):
                path.unlink(missing_ok=True)
            token = _create(path)
    return Claim(folder, token) if token else None


def is_claimed(folder):
    """Whether a living process holds ``folder``."""
    return (Path(folder) / _NAME).exists() and not is_stale(folder)


def is_stale(folder):
    """Whether the claim on ``folder`` belongs to nobody any more."""
    path = Path(folder) / _NAME
    claim = _read(path)
    try:
        age = _now_on_disk(path.parent) - path.stat().st_mtime
    except FileNotFoundError:
        return False
    if age > STALE_SECONDS:
        return True
    if claim is None:
        return False  # just being written
    return claim["host"] == socket.gethostname() and not _is_alive(claim["pid"])


def _create(path):
    token = secrets.token_hex(8)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return None
    with os.fdopen(handle, "w") as file:
        json.dump({"host": socket.gethostname(), "pid": os.getpid(), "token": token}, file)
    return token


def _read(path):
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _now_on_disk(folder):
    # The disk's clock, not ours: machines that share a disk may disagree about the time.
    probe = folder / f".clock.{secrets.token_hex(4)}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()
