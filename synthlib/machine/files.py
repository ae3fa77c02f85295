"""Files that are either whole or not there: written beside their final name, then renamed."""

import errno
import json
import os
import secrets
from pathlib import Path

PARTIAL = ".*.partial"  # what a killed process may leave behind


def write_atomically(path, write):
    """Call ``write(temporary_path)`` and rename the result to ``path``.

    A killed process leaves the old file as it was. Raises OSError, after removing what was half written; for a
    full disk its message says so.
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


def write_text(path, text):
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path, value):
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path):
    """The value in ``path``; ValueError naming the file when it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); delete it to have it made again") from error
