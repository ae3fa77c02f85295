"""Locks on folders, for processes of one machine or of several machines that share a disk.

The lock is the file ``claim.json`` in the folder. It is created exclusively and names its owner
(:mod:`synthlib.machine.owners`) and a random token. The owner touches it every 10 seconds, the heartbeat.

* The owner's process can be looked up from here (same boot of the same machine, same process namespace): the lock is
  dead when that process is gone, and it lives as long as the process does, even where the process is stopped.
* The owner is elsewhere: the lock is dead when the heartbeat has stopped for two minutes by the file's date, and this
  process has itself seen no heartbeat for 25 seconds. So neither a clock that is wrong nor one that jumps ends a lock
  whose owner lives. Without help of the date, for instance when it lies ahead, two minutes of watching are needed.

The fencing token. An owner elsewhere that is suspended, and thus displaced, may wake up in the middle of a write. So
every rename goes through :meth:`Claim.held`, which checks the token, and excludes a takeover until the rename is done,
by a lock of the kernel on the file ``.takeover``. A disk without such locks leaves a moment between check and rename;
what was written in it does not fit ``progress.json`` (:mod:`synthlib.runs.progress`), and is made again.

Why not ``filelock.SoftFileLease``, which has an owner record and a heartbeat too (version 4.2.11, tried):

* A process must itself watch a lease for its whole duration before it may take the lease over. So a command that was
  just started waits two minutes for a machine that was switched off yesterday, and meanwhile cannot report that the
  training is free.
* The takeover swaps two names (renameat2 with RENAME_EXCHANGE). NFS and some other shared file systems refuse this
  operation. A dead lease stays there for ever, even the lease of a killed process of this host.
* It cannot tell whether a path is locked without trying to lock it, and its owner's identity is no public function.
* It has no operation that is excluded from a takeover, which a rename needs.
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthlib.machine.files import naming_a_full_disk
from synthlib.machine.owners import is_here, is_running, owner_of_this_process

HEARTBEAT_SECONDS = 10
STALE_SECONDS = 120
WATCHED_SECONDS = 25  # two heartbeats and a half
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES)
NAME, TAKEOVER = "claim.json", ".takeover"


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
    is_here: bool = False
    """Whether the process can be looked up here: it runs on this machine, in this container."""

    def __str__(self) -> str:
        if not self.host:
            return "another process"
        return f"process {self.pid} on {'this machine' if self.is_here else self.host.split()[0]}"


class Claim:
    """A lock that this process holds on ``folder``: :func:`try_claim` acquires it, :meth:`release` releases it."""

    def __init__(self, folder: str | os.PathLike[str], token: str) -> None:
        self.folder = Path(folder)
        self.path = self.folder / NAME
        self.token = token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a shared disk that fails now may work at the next heartbeat
                if self._is_ours():
                    os.utime(self.path, follow_symlinks=False)

    def _is_ours(self) -> bool:
        claim = _read(self.path)
        return claim is not None and claim["token"] == self.token

    def check(self) -> None:
        """Raise ClaimLost when another process has taken the lock over, for instance while this one was suspended."""
        if not self._is_ours():
            raise ClaimLost(f"{self.folder} was taken over by another process; this one stops and writes no more")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A context that no other process can take the lock over in; raises ClaimLost when one has done so before."""
        with _exclusively(self.folder):
            self.check()
            yield

    def release(self) -> None:
        """Stop the heartbeat, and remove the lock's files unless they belong to another process by now."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(FileNotFoundError), _exclusively(self.folder):  # somebody may have deleted the folder
            if self._is_ours():
                self.path.unlink(missing_ok=True)


def try_claim(folder: str | os.PathLike[str]) -> Claim | None:
    """Lock an existing folder without waiting. Returns None when a living process holds the lock."""
    folder = Path(folder)
    path = folder / NAME
    token = _create(path)
    if token is None and _may_be_taken(folder):
        # One process at a time may check and replace a dead lock. Otherwise two processes could both see the dead lock,
        # and the slower process would remove the new lock of the quicker process.
        with contextlib.suppress(BlockingIOError), _exclusively(folder, wait=False):
            if _may_be_taken(folder):
                path.unlink(missing_ok=True)
            token = _create(path)
    return Claim(folder, token) if token else None


def is_claimed(folder: str | os.PathLike[str]) -> bool:
    """Whether a living process holds the lock on ``folder``, as far as its date tells."""
    return holder(folder) is not None


def holder(folder: str | os.PathLike[str]) -> Holder | None:
    """The living process that holds the lock on ``folder``, or None, as far as the lock's date tells."""
    path = Path(folder) / NAME
    if not os.path.lexists(path) or is_stale(folder):
        return None
    claim = _read(path) or {"host": "", "pid": 0}
    try:
        return Holder(claim["host"], claim["pid"], _silence(path), bool(claim["host"]) and is_here(claim))
    except FileNotFoundError:  # released by now
        return None


def is_stale(folder: str | os.PathLike[str]) -> bool:
    """Whether there is a lock on ``folder`` whose owner is gone, or elsewhere and silent for two minutes."""
    path = Path(folder) / NAME
    claim = _read(path)
    try:
        silence = _silence(path)
    except FileNotFoundError:
        return False
    if claim is not None and is_here(claim):
        return not is_running(claim)
    return silence > STALE_SECONDS


_watched: dict[Path, tuple[tuple[Any, ...], float]] = {}
"""{lock file: (its state, this process's clock when it saw that state first)}."""


def _may_be_taken(folder: Path) -> bool:
    """Whether the lock on ``folder`` is dead, or gone: see the top of this file."""
    path = folder / NAME
    claim = _read(path)
    if claim is not None and is_here(claim):
        return not is_running(claim)
    try:
        stat = path.lstat()
    except FileNotFoundError:
        return True
    state = (stat.st_mtime_ns, stat.st_ino, claim and claim["token"])
    known, since = _watched.get(path, (None, 0.0))
    if known != state:
        _watched[path] = (state, since := time.monotonic())
    watched = time.monotonic() - since
    return watched > STALE_SECONDS or (watched > WATCHED_SECONDS and is_stale(folder))


@contextlib.contextmanager
def _exclusively(folder: Path, wait: bool = True) -> Iterator[None]:
    """A context that one process at a time is in, of all that may change the lock on ``folder``.

    Without ``wait``, BlockingIOError is raised where another process is in it. On a disk that has no locks, this is no
    exclusion.
    """
    handle = _open_exclusively(folder / TAKEOVER, wait)
    try:
        yield
    finally:
        if not os.path.lexists(folder / NAME):  # nobody has the lock that this file serves
            (folder / TAKEOVER).unlink(missing_ok=True)
        os.close(handle)


def _open_exclusively(path: Path, wait: bool) -> int:
    """A handle of the file ``path``, made if need be, that no other process has locked."""
    while True:
        # A link that somebody has put there is not followed, and nothing is emptied.
        with naming_a_full_disk(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # The process that had it before may have removed the file; then this lock keeps nobody away.
            if os.path.samestat(os.fstat(handle), path.lstat()):
                return handle
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(handle)
            raise
        except OSError:  # this disk knows no locks
            return handle
        os.close(handle)


def _silence(path: Path) -> float:
    """Seconds since the last heartbeat of a lock file. FileNotFoundError when there is no such file."""
    return max(time.time() - path.lstat().st_mtime, 0.0)


def _create(path: Path) -> str | None:
    if os.path.lexists(path):
        return None
    token = secrets.token_hex(8)
    text = json.dumps(owner_of_this_process() | {"token": token})
    complete = path.with_name(f".{path.name}.{token}.partial")
    with naming_a_full_disk(path):
        try:
            _write_new(complete, text)
            try:
                os.link(complete, path)  # complete at once: a process that is killed here leaves no half lock
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                _write_new(path, text)
        except (FileExistsError, FileNotFoundError):  # another process has the lock, and may have cleared ours away
            return None
        finally:
            complete.unlink(missing_ok=True)
    return token


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet; FileExistsError when it is."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
    except OSError:  # half a lock would keep everybody away for some time
        path.unlink(missing_ok=True)
        raise


def _read(path: Path) -> dict[str, Any] | None:
    """What is in a lock file; None when it is not there, or not completely."""
    try:
        claim = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    is_whole = isinstance(claim, dict) and claim.keys() >= {"host", "pid", "token"}
    return claim if is_whole else None
