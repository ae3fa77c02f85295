"""The paper's table of contents: what stands in each section, and which page and command make it.

The help text of the commands names the sections, so the file is read here: ``synthlib.paper`` would load pandas.
"""

from dataclasses import dataclass
from pathlib import Path

from synthlib.study.figures import find_artefact
from synthlib.study.pages import load_page, page_names
from synthlib.study.params import artefact_names
from synthlib.yaml_text import parsed

_FILE = Path(__file__).parent.parent / "paper" / "contents.yaml"
SCOREBOARD = "99_scoreboard.ipynb"


@dataclass(frozen=True)
class Section:
    """One numbered section of the paper, "3.4" or "A.1"."""

    number: str
    title: str
    shows: tuple[str, ...]
    """Its tables and figures, or its own page, by the names that the commands take."""
    see: tuple[str, ...]
    """Where its subject is shown, if the section has none of its own; "scoreboard" stands for the scoreboard."""
    note: str

    @property
    def name(self) -> str:
        """The name that the commands take: section3_4."""
        return f"section{self.number.replace('.', '_')}"


def sections() -> list[Section]:
    """All numbered sections, in the paper's order."""
    return [
        Section(
            str(one["section"]),
            one["title"],
            tuple(one.get("shows", ())),
            tuple(one.get("see", ())),
            one.get("note", ""),
        )
        for one in parsed(_FILE.read_text(encoding="utf-8"))
    ]


def made_of(name: str) -> list[str]:
    """What a section's name stands for: its tables and figures, those of its parts, or what it refers to.

    Every other name stands for itself, and so does a section that is a page of its own.
    """
    if name in page_names():
        return [name]
    for section in sections():
        if section.name == name:
            parts = [part for part in sections() if part.number.startswith(f"{section.number}.")]
            shown = [one for part in parts for one in part.shows or part.see]
            return list(dict.fromkeys([*section.shows, *section.see, *shown]))
    return [name]


def title_and_notebook(name: str) -> tuple[str, str]:
    """What the table, figure or page ``name`` shows, and the file in notebooks/ that makes it.

    Raises ParameterError for an unknown name.
    """
    if name == "scoreboard":
        return "Every claim of the paper beside what the runs say", SCOREBOARD
    if name in page_names():
        page = load_page(name)
        return page.title, page.notebook
    artefact = find_artefact(name)
    return artefact.title, artefact.notebook


def our_own() -> list[str]:
    """The names of what the paper does not have: the questions that this project adds."""
    printed = {name for section in sections() for name in section.shows}
    return [name for name in [*artefact_names(), *page_names()] if name not in printed]
