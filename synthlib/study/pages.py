"""Sections, figures and tables of the paper that need no fine-tuning run: a notebook makes all of them.

``params/pages/<name>.yaml`` describes one:

    title: ...          what it shows
    notebook: ...       the file in notebooks/ that makes it
    shows: <tag>        the cell of the notebook whose output the command line prints
    sizes:              per preset: ``time`` (for the reader), and what the page itself asks for
    like: <page>        takes the fields that are not given from another page, in whose folder this one is made

Reading these files needs neither PyTorch nor pandas.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthlib.paths import PARAMS, outputs
from synthlib.study.params import ParameterError, in_order
from synthlib.study.presets import Settings
from synthlib.yaml_text import parsed

_FOLDER = PARAMS / "pages"
_KEYS = ("title", "notebook", "shows", "sizes")


@dataclass(frozen=True)
class Page:
    """One section, figure or table; ``home`` is the page that it is made with, or its own name."""

    name: str
    home: str
    title: str
    notebook: str
    shows: str
    sizes: dict[str, Settings]

    def settings(self, preset: str) -> Settings:
        """What the page asks for under ``preset``. ParameterError when the page has no size for it."""
        if preset not in self.sizes:
            raise ParameterError(f"{self.name} has no size for preset {preset!r}; it has: {', '.join(self.sizes)}")
        return self.sizes[preset]

    @property
    def trains(self) -> bool:
        """Whether the page trains something itself: then the presets give it sizes besides the reader's time."""
        return any(set(settings) != {"time"} for settings in self.sizes.values())

    def folder(self, preset: str) -> Path:
        """``outputs/<preset>/<home>``."""
        return outputs() / preset / self.home

    def plan(self, preset: str) -> str:
        """What making the page takes: a text to print."""
        time = self.settings(preset)["time"]
        return f"{self.name}: {self.title}\n  preset {preset}: notebooks/{self.notebook}, {time}; no fine-tuning run"


def page_names() -> list[str]:
    """Names of all pages: figures, sections and tables, each kind in the paper's order."""
    return in_order(path.stem for path in _FOLDER.glob("*.yaml"))


def load_page(name: str) -> Page:
    """The page that ``params/pages/<name>.yaml`` describes. ParameterError for an unknown name or other keys."""
    if name not in page_names():
        raise ParameterError(f"no page called {name!r}; there are: {', '.join(page_names())}")
    fields = _read(name)
    home = fields.pop("like", name)
    if home != name:
        fields = _read(home) | fields
    if set(fields) != set(_KEYS):
        given = ", ".join(fields)
        raise ParameterError(f"params/pages/{name}.yaml must give {', '.join(_KEYS)}; it gives {given}")
    asked = {frozenset(sizes) for sizes in fields["sizes"].values()}
    if len(asked) != 1 or "time" not in next(iter(asked)):
        raise ParameterError(f"params/pages/{home}.yaml: every preset must give the same keys, time among them")
    return Page(name, home, **fields)


def pages_of(preset: str) -> list[Page]:
    """One page for each notebook that has a size for ``preset``: those that stand in no other page's notebook."""
    pages = map(load_page, page_names())
    return [page for page in pages if page.home == page.name and preset in page.sizes]


def _read(name: str) -> dict[str, Any]:
    return parsed((_FOLDER / f"{name}.yaml").read_text())
