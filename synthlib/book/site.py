"""Writes what Sphinx reads: the executed pages, the front page, and the order of them all."""

import shutil
from pathlib import Path

import nbformat

from synthlib.book import front
from synthlib.book.contents import Part
from synthlib.book.pages import finished
from synthlib.machine.files import write_text


def write_source(parts: list[Part], folder: Path) -> Path:
    """Write the source of the site of the pages that lie executed in ``folder``; returns its folder."""
    source = folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for page in (page for part in parts for page in part.pages):
        nbformat.write(finished(page, folder), source / page.notebook.name)
    write_text(source / "index.md", front.front_page(source) + "\n".join(map(_toctree, parts)))
    return source


def _toctree(part: Part) -> str:
    names = "\n".join(page.name for page in part.pages)
    return f"```{{toctree}}\n:hidden:\n:caption: {part.title}\n\n{names}\n```\n"
