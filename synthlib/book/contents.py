"""Which pages the book has, and from which runs each is made: settings/book.yaml."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthlib.paths import NOTEBOOKS
from synthlib.study.params import ParameterError
from synthlib.yaml_text import parsed

FOLDER = Path(__file__).parent / "settings"
_KEYS = {"runs", "command", "missing"}


@dataclass(frozen=True)
class BookPage:
    """One notebook in the book."""

    name: str
    """Of the file in notebooks/, without .ipynb."""
    parameters: dict[str, str]
    """Of the notebook: ``source``, ``preset``."""
    command: str
    missing: str = ""
    """What is not published, one sentence; empty where the page is whole."""

    @property
    def notebook(self) -> Path:
        return NOTEBOOKS / f"{self.name}.ipynb"

    @property
    def runs(self) -> str:
        """From which runs the page is made, in words."""
        if self.parameters.get("source") == "authors":
            return "the authors' own runs"
        if "preset" in self.parameters:
            return f"published runs of this project, preset {self.parameters['preset']}"
        return "no runs: the page computes what it shows"


@dataclass(frozen=True)
class Part:
    """Some pages under one heading."""

    title: str
    pages: tuple[BookPage, ...]
    texts: tuple[Path, ...] = ()
    """Markdown files, after the pages: see :func:`place`."""


def place(text: Path) -> Path:
    """Where a text stands in the book: as below notebooks/, and one from elsewhere by its name alone."""
    return text.relative_to(NOTEBOOKS) if text.is_relative_to(NOTEBOOKS) else Path(text.name)


def parts(file: Path = FOLDER / "book.yaml") -> list[Part]:
    """The parts of the book in their order.

    Raises ParameterError for an entry that is not understood, and when a notebook is not in the book or twice.
    """
    read = [
        Part(
            part["part"],
            tuple(_page(name, entry) for name, entry in part.get("pages", {}).items()),
            tuple((NOTEBOOKS / name).resolve() for name in part.get("texts", [])),
        )
        for part in parsed(file.read_text(encoding="utf-8"))
    ]
    named = sorted(page.name for part in read for page in part.pages)
    if named != (there := sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))):
        odd = sorted(set(named) ^ set(there)) or "one page twice"
        raise ParameterError(f"{file.name} must name every notebook once; look at: {', '.join(odd)}")
    named_texts = {text for part in read for text in part.texts if text.is_relative_to(NOTEBOOKS)}
    if unnamed := set(NOTEBOOKS.rglob("*.md")) ^ named_texts:
        odd = sorted(str(place(path)) for path in unnamed)
        raise ParameterError(f"{file.name} must name every text beside the notebooks; look at: {', '.join(odd)}")
    return read


def pages() -> list[BookPage]:
    """All pages in their order."""
    return [page for part in parts() for page in part.pages]


def _page(name: str, entry: dict[str, Any]) -> BookPage:
    if unknown := set(entry) - _KEYS:
        raise ParameterError(f"book.yaml, {name}: unknown {', '.join(sorted(unknown))}; known: {', '.join(_KEYS)}")
    if missing := {"runs", "command"} - set(entry):
        raise ParameterError(f"book.yaml, {name}: {', '.join(sorted(missing))} is missing")
    runs = entry["runs"]
    if runs != "none" and (not isinstance(runs, dict) or set(runs) - {"source", "preset"}):
        raise ParameterError(f"book.yaml, {name}: runs is `none`, or gives a source or a preset, not {runs!r}")
    return BookPage(name, {} if runs == "none" else dict(runs), entry["command"], entry.get("missing", ""))
