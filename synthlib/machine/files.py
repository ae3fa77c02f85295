"""Atomic writes: a file is written under a temporary name, then renamed, so that it is either complete or absent."""

import errno
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTIAL = ".*.partial"  # pattern of the temporary names; a killed process may leave such files behind


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], object]) -> None:
    """Call ``write(temporary_path)``, then rename that file to ``path``.

    When the process is killed before the renaming, the old file is unchanged. Raises the errors of ``write``, after
    removing the temporary file; for a full disk, the message of the OSError says what to do.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            message = f"no space left for {path}; free some and start again, finished work is kept"
            raise OSError(errno.ENOSPC, message) from error
        raise


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
