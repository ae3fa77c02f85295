"""The entrance (notebooks/00_start_here.ipynb): the paper's contents beside page, command, finished runs and cost."""

import contextlib
import html
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from synthlib.paths import store_root
from synthlib.report.data_page import page_folder
from synthlib.runs.store import Store
from synthlib.study.contents import Section, our_own, sections, title_and_notebook
from synthlib.study.cost import seconds_of
from synthlib.study.figures import find_artefact
from synthlib.study.pages import load_page, page_names
from synthlib.study.plan import Plan, make_plan
from synthlib.study.presets import can_train, load_preset, load_sections, presets

_NOTHING = "-"


@dataclass(frozen=True)
class Progress:
    """How many runs of an artefact are finished under each preset that can train it, and what all of them cost."""

    done: dict[str, int]
    wanted: dict[str, int]
    hours: dict[str, float]
    """Core-hours of this machine with an empty store, expected"""


class StartPage:
    """What the entrance shows for one preset and data source."""

    def __init__(self, preset: str, data: str) -> None:
        self.preset, self.data = preset, data

    @cached_property
    def progress(self) -> dict[str, Progress]:
        """{table or figure: its :class:`Progress`}, without the pages that need no runs. Takes up to a minute."""
        names = [name for section in sections() for name in section.shows] + our_own()
        return {name: self.progress_of(name) for name in names if name not in page_names()}

    def progress_of(self, name: str) -> Progress:
        """The :class:`Progress` of one table or figure, under the presets for which there are data."""
        algorithm, store, plans = find_artefact(name).algorithm, Store(store_root()), {}
        for preset in presets():
            if can_train(preset, algorithm):
                with contextlib.suppress(FileNotFoundError):
                    plans[preset] = make_plan(name, preset, self.data)
        return Progress(
            done={preset: sum(store.is_done(cell.job) for cell in plan.cells) for preset, plan in plans.items()},
            wanted={preset: len(plan.cells) for preset, plan in plans.items()},
            hours={preset: _hours(plan) for preset, plan in plans.items()},
        )

    def contents(self) -> pd.DataFrame:
        """One row per table, figure and section: section, what, page, command, finished runs, larger runs."""
        return pd.DataFrame([row for section in sections() for row in self._rows(section)])

    def own_questions(self) -> pd.DataFrame:
        """The same columns for what this project adds to the paper."""
        return pd.DataFrame([self._row("", name) for name in our_own()])

    def _rows(self, section: Section) -> Iterable[dict[str, str]]:
        heading = f"{section.number} {section.title}"
        if not (section.shows or section.see):
            yield {"section": heading}
        for number, name in enumerate(section.shows or section.see):
            row = self._row(heading if number == 0 else "", name)
            yield row | {"what": section.note} if section.note else row

    def _row(self, heading: str, name: str) -> dict[str, str]:
        title, notebook = title_and_notebook(name)
        command = "make scoreboard" if name == "scoreboard" else f"make reproduce-{name}"
        return {
            "section": heading,
            "shown": printed_name(name),
            "what": title,
            "page": notebook,
            "command": command,
            f"runs, preset {self.preset}": self._runs(name),
            "larger runs that are there": self._larger(name),
        }

    def _runs(self, name: str) -> str:
        if name not in self.progress:
            return "no runs needed"
        progress = self.progress[name]
        if self.preset not in progress.wanted:
            return "not in this preset"
        return f"{progress.done[self.preset]} of {progress.wanted[self.preset]}"

    def _larger(self, name: str) -> str:
        """Of presets with longer runs, or with more runs of equal length: "overnight 39"."""
        if name not in self.progress:
            return _NOTHING
        progress, algorithm = self.progress[name], find_artefact(name).algorithm
        sizes = {preset: (load_preset(preset, algorithm)["updates"], n) for preset, n in progress.wanted.items()}
        larger = [preset for preset, size in sizes.items() if size > sizes.get(self.preset, (0, 0))]
        return ", ".join(f"{preset} {progress.done[preset]}" for preset in larger if progress.done[preset]) or _NOTHING

    def costs(self) -> pd.DataFrame:
        """Core-hours of this machine per artefact and preset, with an empty store; a training is often shared."""
        rows = {}
        for name, progress in self.progress.items():
            rows[printed_name(name)] = {preset: f"{hours:,.2g}" for preset, hours in progress.hours.items()}
        return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=presets()).fillna(_NOTHING)

    def pages_without_runs(self) -> pd.DataFrame:
        """How long the pages take that need no fine-tuning runs, per preset."""
        pages = map(load_page, page_names())
        rows = {page.name: {preset: size["time"] for preset, size in page.sizes.items()} for page in pages}
        return pd.DataFrame.from_dict(rows, orient="index")

    def table(self, frame: pd.DataFrame) -> str:
        """``frame``, of :meth:`contents` or :meth:`own_questions`, as HTML with a link to each page."""
        cells = frame.fillna("").map(html.escape)
        cells["page"] = [self._link(name) for name in frame["page"].fillna("")]
        cells["command"] = [
            f"<code style='white-space: nowrap'>{text}</code>" if text else "" for text in cells["command"]
        ]
        table = cells.to_html(index=False, escape=False, border=0, justify="left")
        return table.replace("<td>", '<td style="text-align: left; vertical-align: top">')  # Jupyter aligns numbers

    def _link(self, notebook: str) -> str:
        """In JupyterLab a link to the notebook; on an executed page one to the executed page, if there is one."""
        name = Path(notebook).stem
        if os.environ.get("JPY_SESSION_NAME"):
            return f'<a href="{notebook}">{name}</a>' if notebook else ""
        here = page_folder("00_start_here", self.preset, self.data)
        made = sorted(here.parent.glob(f"*/{name}.html")) if notebook else []
        return f'<a href="{os.path.relpath(made[0], here)}">{name}</a>' if made else name


def what_a_preset_shows() -> pd.DataFrame:
    """What params/presets.yaml says for the reader about each preset: time, disk, and what it can show."""
    return pd.DataFrame.from_dict({preset: load_sections(preset)["expect"] for preset in presets()}, orient="index")


def _hours(plan: Plan) -> float:
    return sum(seconds_of(plan.jobs()).values()) / 3600


def printed_name(name: str) -> str:
    """table6 as the paper writes it: Table 6."""
    for kind in ("table", "figure", "section"):
        if name.startswith(kind) and name[len(kind) :][:1].isdigit():
            return f"{kind.capitalize()} {name.removeprefix(kind).replace('_', '.')}"
    return name
