"""Atomic, lasting writes: files and folders are made under a temporary name, synced to the disk, then renamed.

So they are complete or absent, whenever the process is killed or the power fails. They have the modes that the user's
umask gives, since others may read a shared folder. Python's ``tempfile`` would make them private.
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PARTIAL = ".*.partial"  # pattern of the temporary names; a killed process may leave such files and folders behind
SET_ASIDE = ".damaged"  # ending of the names of damaged files and folders that were replaced
ABANDONED_SECONDS = 3600  # nothing takes so long to write; a temporary name of this age belongs to a killed process
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROBE_BYTES = 1 << 16
Permission = Callable[[], contextlib.AbstractContextManager[object]]


def write_atomically(
    path: str | os.PathLike[str], write: Callable[[Path], object], permitted: Permission = contextlib.nullcontext
) -> None:
    """Call ``write(temporary_path)``, then rename that file to ``path``; after the return it survives a power cut.

    When the process is killed before the renaming, the old file is unchanged. The renaming happens inside the context
    ``permitted()``, which may raise to prevent it. Raises its errors and the errors of ``write``, after removing the
    temporary file; for a full disk, the message of the OSError says what to do. Never writes through a link.
    """
    path = Path(path)
    temporary = _temporary_name(path)
    try:
        # Made here and exclusively: a link that somebody has put there is not followed.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        write(temporary)
        sync(temporary)
        with permitted():
            os.replace(temporary, path)
            sync(path.parent)
    except BaseException as error:
        full = _means_a_full_disk(error, temporary)
        if isinstance(error, FileNotFoundError):
            # Whoever has taken over removes what is half written. Then that is what has to be told, not the lost file.
            with permitted():
                pass
        with contextlib.suppress(OSError):  # the error itself is what has to be told
            temporary.unlink(missing_ok=True)
        if full:
            raise no_space(path) from error
        raise


def make_folder(path: str | os.PathLike[str], fill: Callable[[Path], object], replace: bool = False) -> None:
    """Call ``fill(temporary_folder)``, then rename that folder to ``path``; the folders above are made if need be.

    When another process makes ``path`` in the meantime, its folder stays; with ``replace``, the new folder takes the
    place of an older one, which is whole until then. Raises the errors of ``fill``, after removing
    the temporary folder. What killed processes have left of this folder is removed as well.
    """
    path = Path(path)
    make_parents(path)
    clear_abandoned(path.parent, f".{path.name}.*.partial")
    temporary = _temporary_name(path)
    try:
        temporary.mkdir()
        fill(temporary)
        for made in (*temporary.rglob("*"), temporary):
            sync(made)
        older = set_aside(path) if replace and path.exists() else None
        temporary.rename(path)
        sync(path.parent)
        if older is not None:
            remove(older)
    except Exception as error:
        if isinstance(error, OSError) and path.is_dir() and not replace:
            return
        if _means_a_full_disk(error, temporary / "probe"):
            raise no_space(path) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_parents(path: Path) -> None:
    """Make the folders above ``path`` that are missing; they survive a power cut."""
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        with contextlib.suppress(PermissionError):  # made by another user at this moment
            sync(folder.parent)


def sync(path: Path) -> None:
    """Return when the content of a file, or the list of names in a folder, is on the disk.

    This is the one place that syncs. Some network disks cannot sync a folder; they write it at once.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync alone leaves the data in the disk's own memory
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
        else:
            os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder, so that it can be made again and still be looked at; returns the new path."""
    aside = path.with_name(f"{path.name}{SET_ASIDE}")
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    os.replace(path, aside)
    sync(path.parent)
    return aside


def abandoned(folder: Path, pattern: str = PARTIAL) -> list[Path]:
    """Temporary files and folders in ``folder`` that a killed process has left."""
    old = time.time() - ABANDONED_SECONDS
    found = []
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < old:
                found.append(path)
    return found


def clear_abandoned(folder: Path, pattern: str = PARTIAL) -> list[Path]:
    """Remove what :func:`abandoned` finds; returns it."""
    found = abandoned(folder, pattern)
    for path in found:
        remove(path)
    return found


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if this user may."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def may_not_write(error: OSError) -> bool:
    """Whether ``error`` says that this user may not write there, or nobody can."""
    return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)


def no_space(path: Path) -> OSError:
    """The error that names a full disk: ``path`` is what could not be written there."""
    folder = next(folder for folder in path.parents if folder.exists())
    free = shutil.disk_usage(folder)
    space = f"{free.free / 1e6:,.1f} of {free.total / 1e6:,.1f} MB are free on its disk"
    return OSError(errno.ENOSPC, f"no space left for {path}: {space}; free some and start again, finished work is kept")


@contextlib.contextmanager
def naming_a_full_disk(path: Path) -> Iterator[None]:
    """A context: an OSError of a full disk or quota becomes :func:`no_space`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise no_space(path) from error


def _means_a_full_disk(error: BaseException, beside: Path) -> bool:
    """Whether ``error`` comes from a full disk or quota; ``beside`` is a file there that may be written to.

    PyTorch and NumPy do not say so: they raise a RuntimeError, or an OSError without a number. Then writing a few more
    bytes tells.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    if not isinstance(error, RuntimeError | OSError):
        return False
    try:
        with open(beside, "ab") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as answer:
        return answer.errno in _FULL
    return False


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def write_text(path: str | os.PathLike[str], text: str, permitted: Permission = contextlib.nullcontext) -> None:
    """Write ``text`` as UTF-8, atomically; see :func:`write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), permitted)


def write_json(path: str | os.PathLike[str], value: Any, permitted: Permission = contextlib.nullcontext) -> None:
    """Write ``value`` as indented JSON with sorted keys, atomically; see :func:`write_atomically`."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n", permitted)


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file. Raises ValueError, which names the file, when it does not hold JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path} is not valid JSON ({error}); delete it to have it made again") from error
