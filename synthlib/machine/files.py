"""Atomic writes: files and folders are made under a temporary name, then renamed: they are complete or absent.

They have the modes that the user's umask gives, since others may read a shared folder. Python's ``tempfile`` would make
them private.
"""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTIAL = ".*.partial"  # pattern of the temporary names; a killed process may leave such files and folders behind


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], object]) -> None:
    """Call ``write(temporary_path)``, then rename that file to ``path``.

    When the process is killed before the renaming, the old file is unchanged. Raises the errors of ``write``, after
    removing the temporary file; for a full disk, the message of the OSError says what to do.
    """
    path = Path(path)
    temporary = _temporary_name(path)
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            message = f"no space left for {path}; free some and start again, finished work is kept"
            raise OSError(errno.ENOSPC, message) from error
        raise


def make_folder(path: str | os.PathLike[str], fill: Callable[[Path], object]) -> None:
    """Call ``fill(temporary_folder)``, then rename that folder to ``path``; the folders above are made if need be.

    When another process makes ``path`` in the meantime, its folder stays. Raises the errors of ``fill``, after removing
    the temporary folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path)
    temporary.mkdir()
    try:
        fill(temporary)
        temporary.rename(path)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def may_not_write(error: OSError) -> bool:
    """Whether ``error`` says that this user may not write there, or nobody can."""
    return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, atomically."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file. Raises ValueError, which names the file, when it does not hold JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); delete it to have it made again") from error
