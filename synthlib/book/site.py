"""Writes what Sphinx reads: the executed pages, the texts beside them, the front page, and the order of them all."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat

from synthlib.book import reference
from synthlib.book.contents import Part, place
from synthlib.book.front import front_page
from synthlib.book.pages import finished
from synthlib.machine.files import write_text

_OUT_OF_THE_BOOK = re.compile(r"\[([^\]]+)\]\((?:\.\./){2}([^)]+)\)")  # a link to a file of the repository


def write_source(parts: list[Part], folder: Path, front: Callable[[Path], str] = front_page) -> Path:
    """Write the source of the site of the pages that lie executed in ``folder``; returns its folder.

    ``front`` writes the pictures of the front page into a folder, and returns its text.
    """
    source = folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for page in (page for part in parts for page in part.pages):
        nbformat.write(finished(page, folder), source / page.notebook.name)
    for text in (text for part in parts for text in part.texts):
        copy = source / place(text)
        copy.parent.mkdir(exist_ok=True)
        write_text(copy, _OUT_OF_THE_BOOK.sub(r"\1 (`\2`)", text.read_text(encoding="utf-8")))
    write_text(source / f"{reference.NAME}.md", reference.reference_page())
    order = "\n".join([*map(_toctree, parts), f"```{{toctree}}\n:hidden:\n:caption: Code\n\n{reference.NAME}\n```\n"])
    write_text(source / "index.md", front(source) + order)
    return source


def _toctree(part: Part) -> str:
    texts = (str(place(text).with_suffix("")) for text in part.texts)
    names = "\n".join([*(page.name for page in part.pages), *texts])
    return f"```{{toctree}}\n:hidden:\n:caption: {part.title}\n\n{names}\n```\n"
