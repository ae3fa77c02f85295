"""What a report writes: tables as text, HTML, CSV, LaTeX and JSON, and every figure as PNG and SVG."""

from __future__ import annotations

import base64
import html
import json
import re
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from synthlib.machine.files import write_text
from synthlib.report.figures import Drawing, save_figure
from synthlib.report.tables import latex_table

if TYPE_CHECKING:
    from synthlib.report.report import Report

_ALT = (60, 220)  # characters of an alt text: at least, where the description has as many, and at most


class ReportFiles:
    """The files of one report. A figure is drawn once, when it is first wanted."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._drawn: set[str] = set()

    def save(self) -> Path:
        """Write all tables and figures; returns the folder."""
        report = self._report
        folder, name = report.runs.folder, report.artefact.name
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / f"{name}.txt", report.text())
        write_text(
            folder / f"{name}.html", f"<!doctype html><meta charset='utf-8'><title>{name}</title>{report.html()}"
        )
        write_text(folder / f"{name}.csv", _written(report.cells).to_csv(index=False))
        write_text(folder / f"{name}_scores.csv", report.scores.to_csv(index=False))
        if report.has_comparisons:
            write_text(folder / f"{name}_comparisons.csv", _written(report.comparisons).to_csv(index=False))
        if report.artefact.is_table:
            write_text(folder / f"{name}.tex", latex_table(report.wide(), report.caption()))
        cells = json.loads(_written(report.cells).to_json(orient="records"))
        write_text(folder / f"{name}.json", json.dumps(_provenance(report) | {"cells": cells}, indent=1) + "\n")
        for figure in report.figure_names():
            self.figure(figure)
        return folder

    def figure(self, name: str) -> Path:
        """Draw a figure, if that is not done yet; save PNG, SVG, alt text and what is drawn; return the PNG's path."""
        report = self._report
        stem = name if name in report.artefact.figures else f"{report.artefact.name}_{name}"
        path = report.runs.folder / f"{stem}.png"
        if name not in self._drawn:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_figure(*report.figure(name), path)
            if name in report.artefact.figures:
                write_text(path.with_name(f"{name}_drawn.csv"), report.chart(name).points.to_csv(index=False))
            self._drawn.add(name)
        return path

    def image(self, name: str) -> Any:
        """A saved figure as :func:`picture` shows it."""
        return picture(self.figure(name))


def picture(path: Path) -> Any:
    """A saved figure as an IPython HTML object, with its alt text: see :func:`image`."""
    return image(path.read_bytes(), path.with_suffix(".alt.txt").read_text().strip())


def image(png: bytes, words: str) -> Any:
    """A PNG as an IPython HTML object. ``words`` say what it shows.

    The alt text, which nbconvert would drop of an image, is the beginning of ``words``. Where there is more, all of
    them stand folded below the picture.
    """
    from IPython.display import HTML

    alt = html.escape(short(words), quote=True)
    data = base64.b64encode(png).decode()
    shown = f'<img style="max-width: 100%" alt="{alt}" src="data:image/png;base64,{data}">'
    if short(words) != words:
        shown += f"<details><summary>The figure in words</summary><p>{html.escape(words)}</p></details>"
    return HTML(shown)


def short(words: str) -> str:
    """The first sentences of a description, as many as an alt text needs, cut at some 200 characters."""
    sentences, taken = re.split(r"(?<=\.) ", words), ""
    while sentences and len(taken) < _ALT[0]:
        taken = f"{taken} {sentences.pop(0)}".strip()
    return textwrap.shorten(taken, _ALT[1], placeholder=" ...")


def show(drawing: Drawing, path: Path) -> Any:
    """Save a (figure, alt text) under ``path`` without suffix: PNG, SVG and alt text; returns the :func:`picture`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(*drawing, path)
    return picture(path.with_suffix(".png"))


def inline(drawing: Drawing) -> Any:
    """A (figure, alt text) as :func:`image`, without a file."""
    with tempfile.TemporaryDirectory() as folder:
        return show(drawing, Path(folder) / "figure")


def _written(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` as a reader of its file needs it: the label of an average row says already that it is one."""
    return frame.drop(columns="is_average", errors="ignore")


def _provenance(report: Report) -> dict[str, Any]:
    """What a reader needs to find the runs again, fit for JSON."""
    runs = report.runs
    return {
        "artefact": report.artefact.name,
        "source": "authors" if runs.by_authors else runs.data,
        **runs.provenance,
        "physics": runs.records.groupby("environment")["physics"].first().to_dict(),
        "missing": list(runs.missing),
        "runs": runs.records[["arm", "dataset", "seed", "run"]].to_dict(orient="records"),
    }
