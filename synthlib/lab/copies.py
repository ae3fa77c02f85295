"""Copies of the pages for a reader: they keep outputs, predictions and new cells, and git does not see them.

A copy stays as it is while its page does. When the page has changed, the new one takes the copy's place; a copy in
which a reader has written is kept beside it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from synthlib.machine.files import read_json, write_json, write_text

_KNOWN = ".copied.json"  # {page: digest of what it said when it was copied}


def update(pages: Path, folder: Path) -> list[str]:
    """Copy what is new or changed of ``pages`` (notebooks and texts, with folders) to ``folder``.

    Returns a line for each copy that was replaced although a reader had written in it, or changed.
    """
    said = []
    known = _read_known(folder)
    for page in sorted([*pages.rglob("*.ipynb"), *pages.rglob("*.md")]):
        name = page.relative_to(pages).as_posix()
        if ".ipynb_checkpoints" in name:
            continue
        copy, now = folder / name, _digest(page)
        if copy.exists() and known.get(name) == now:
            continue
        if copy.exists() and _digest(copy) not in (known.get(name), now):
            copy.rename(yours := _free_name(copy))
            said.append(f"{name} has changed; the copy in which you wrote is now {yours.relative_to(folder)}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_text(copy, page.read_text(encoding="utf-8"))
        known[name] = now
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _KNOWN, known)
    return said


def _read_known(folder: Path) -> dict[str, str]:
    try:
        known = read_json(folder / _KNOWN)
    except (FileNotFoundError, ValueError):  # without it every copy that differs counts as written in
        return {}
    return known if isinstance(known, dict) else {}


def _digest(file: Path) -> str:
    """Of what a person has written: of a notebook without its outputs and numbers, else of the whole text."""
    content = file.read_bytes()
    if file.suffix == ".ipynb":
        try:
            written: list[Any] = [[cell["cell_type"], _text(cell["source"])] for cell in json.loads(content)["cells"]]
            content = json.dumps(written).encode()
        except (ValueError, KeyError, TypeError):  # no notebook any more: the file itself is what was written
            pass
    return hashlib.sha256(content).hexdigest()


def _text(source: str | list[str]) -> str:
    """A notebook's file may have the text of a cell as one string or as lines."""
    return source if isinstance(source, str) else "".join(source)


def _free_name(copy: Path) -> Path:
    names = (f"{copy.stem}-yours{number}{copy.suffix}" for number in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(path for name in names if not (path := copy.with_name(name)).exists())
