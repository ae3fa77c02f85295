"""Executes the pages of the book: from published runs, with trainings off, several pages at a time.

A page that was executed from the same notebook, code, settings and records is not executed again.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from synthlib.book.contents import BookPage
from synthlib.errors import Failed
from synthlib.machine.files import write_text
from synthlib.machine.switches import TRAIN
from synthlib.notebooks import NotebookFailed, run_notebook
from synthlib.paths import PARAMS, RECORDS, ROOT
from synthlib.web.page import without_machine_paths

_ERROR_OF_PAPERMILL = "papermill-error-cell-tag"
_APART = {"book", "bench", "lab", "commands", "doctor.py", "__main__.py"}  # rooms of synthlib that no page imports


class BookFailed(Failed):
    """A page cannot be made as book.yaml says."""


def execute(pages: Sequence[BookPage], folder: Path, workers: int) -> Iterator[str]:
    """Execute ``pages`` into ``folder``/executed; yields a line for each page that is done.

    Raises BookFailed when a page fails that should be whole, and when a page is whole that book.yaml calls incomplete.
    """
    made_of = _fingerprint()
    wanted = [page for page in pages if not _is_current(page, folder, made_of)]
    if len(wanted) < len(pages):
        yield f"{len(pages) - len(wanted)} of {len(pages)} pages are as they were"
    with ProcessPoolExecutor(workers, get_context("spawn"), _prepare, (str(folder / "outputs"),)) as processes:
        futures = {processes.submit(_execute, page, folder): page for page in wanted}
        try:
            for number, future in enumerate(as_completed(futures), 1):
                future.result()
                page = futures[future]
                write_text(_key_file(page, folder), _key(page, made_of))
                yield f"{number} of {len(wanted)}: {page.name}"
        except BaseException:
            processes.shutdown(cancel_futures=True)
            raise


def _prepare(outputs: str) -> None:
    """Of each process: nothing but the published runs is there, and nothing is trained."""
    os.environ[TRAIN] = "no"
    os.environ["SYNTHLIB_OUTPUTS"] = outputs


def _execute(page: BookPage, folder: Path) -> None:
    try:
        run_notebook(page.notebook, folder / "executed", dict(page.parameters))
    except NotebookFailed as failed:
        if not page.missing:
            raise BookFailed(f"{failed}\n  say in book.yaml what is missing, if that is why") from failed
    else:
        if page.missing:
            raise BookFailed(f"{page.name} is whole: take `missing` out of book.yaml")


def finished(page: BookPage, folder: Path) -> NotebookNode:
    """The executed page as the book shows it: below its title which runs it has; no error, no folder of the machine."""
    notebook = without_machine_paths(nbformat.read(folder / "executed" / page.notebook.name, as_version=4))
    cells = [cell for cell in notebook.cells if _ERROR_OF_PAPERMILL not in cell.metadata.get("tags", [])]
    cells = [cell for cell in cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for place, cell in enumerate(cells):
        errors = [one for one in cell.get("outputs", []) if one.output_type == "error"]
        if errors:
            cell.outputs = [one for one in cell.outputs if one.output_type not in ("error", "stream")]
            cells.insert(place, new_markdown_cell(_note("warning", "The book ends here", _missing(page))))
            break
    notebook.cells = [cells[0], new_markdown_cell(_note("note", "In the book", _made_of(page))), *cells[1:]]
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for name in {"text/html", "text/markdown"} & set(output.get("data", {})):
                output.data[name] = _linked(output.data[name])
        cell.metadata.pop("papermill", None)
    return notebook


def _linked(shown: str) -> str:
    """An output with links to pages of the book: where it links a notebook, and where a cell is a page's name."""
    shown = re.sub(r'(href="|\]\()(\w+)\.ipynb', r"\1\2.html", shown)
    return re.sub(r">(\d\d_\w+)</td>", r'><a href="\1.html">\1</a></td>', shown)


def _made_of(page: BookPage) -> str:
    words = f"This page is made from {page.runs}. Nothing was trained for it."
    return (
        f"{words} {page.missing} To make it yourself: `{page.command}`."
        if page.missing
        else (f"{words} To make it yourself: `{page.command}`.")
    )


def _missing(page: BookPage) -> str:
    return f"{page.missing} What follows is the page without results; `{page.command}` makes them."


def _note(kind: str, title: str, words: str) -> str:
    """An admonition of MyST."""
    return f":::{{admonition}} {title}\n:class: {kind}\n{words}\n:::\n"


def _is_current(page: BookPage, folder: Path, made_of: str) -> bool:
    executed, key = folder / "executed" / page.notebook.name, _key_file(page, folder)
    return executed.exists() and key.exists() and key.read_text() == _key(page, made_of)


def _key_file(page: BookPage, folder: Path) -> Path:
    return folder / "executed" / f"{page.name}.key"


def _key(page: BookPage, made_of: str) -> str:
    return hashlib.sha256(f"{made_of} {page} ".encode() + page.notebook.read_bytes()).hexdigest()


def _fingerprint() -> str:
    """A digest of all that pages are made of besides their notebook: code, settings, data of the paper, records."""
    files = [*(ROOT / "synthlib").rglob("*"), *PARAMS.rglob("*.yaml"), *RECORDS.rglob("*.csv")]
    digest = hashlib.sha256()
    for file in sorted(files):
        rooms = file.relative_to(ROOT).parts
        if file.is_file() and file.suffix not in (".pyc", ".hdf5") and not _APART.intersection(rooms):
            digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()
