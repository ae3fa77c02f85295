"""Our averages beside the paper's printed numbers, arm by arm in the table's order: do they have the same shape?

Scores on other data, or after fewer updates, have another level, so the two stand in panels with scales of their own.
Along the arms of an ablation this is the score against what is varied: temperature, states, updates of pre-training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from synthlib.paper import paper_arms, paper_table
from synthlib.report.figures import Drawing, finish, panels_in_a_grid
from synthlib.report.palette import arm_styles
from synthlib.tasks import DATASETS

if TYPE_CHECKING:
    from synthlib.report.report import Report


def beside_paper(report: Report) -> Drawing:
    """(figure, alt text): left the printed averages, right those of ``report``, a place on the x axis per arm.

    Raises ValueError for an artefact without a score table of the paper.
    """
    artefact = report.artefact
    if artefact.paper_table is None or artefact.metric not in ("final", "best"):
        raise ValueError(f"{artefact.name} has no printed scores; choose a score table of the paper")
    own_controls = set(artefact.controls.values())
    arms = [arm for arm in artefact.arms if arm not in own_controls]
    printed = paper_table(artefact.paper_table).query("is_average").set_index("arm")["mean"]
    ours = report.averages.set_index("arm")
    figure, axes = panels_in_a_grid(2, width=5.5)
    words = []
    numbers = {"paper": printed, "these runs": ours["mean"]}
    titles = (f"paper, Table {artefact.paper_table}, {len(DATASETS)} data sets", f"these runs, {report.runs.label}")
    for axis, (whose, means), title in zip(axes, numbers.items(), titles, strict=True):
        of_paper = whose == "paper"
        _draw(axis, means.reindex(arms), None if of_paper else ours, artefact.baseline)
        names = arms if of_paper else [report.label(arm) for arm in arms]
        axis.set_xticks(range(len(arms)), names, rotation=40, ha="right", fontsize=8)
        axis.set_title(title if len(title) < 70 else f"{title[:67]}...", fontsize=9)
        shown = [f"{arm} {means[arm]:.1f}" for arm in arms if arm in means.index and pd.notna(means[arm])]
        words.append(f"{whose}: {', '.join(shown)}")
    note = "Means over data sets. Whiskers: 95 % interval over fine-tuning seeds. The panels have scales of their own."
    if set(arms) - set(paper_arms(artefact.paper_table)):
        note += " An arm without a point left is not in the paper."
    finish(figure, [], note)
    return figure, f"Scores along the arms, printed and of these runs. {'; '.join(words)}. {note}"


def _draw(axis: Axes, means: pd.Series, intervals: pd.DataFrame | None, baseline: str | None) -> None:
    arms = [str(arm) for arm in means.index]
    styles = arm_styles(arms)
    varied = [place for place, arm in enumerate(arms) if place > 0 and "matched" not in arm]
    axis.plot(varied, means.iloc[varied], color="0.75", linewidth=1, zorder=0)
    for place, (arm, mean) in enumerate(means.items()):
        spread = None
        if intervals is not None and arm in intervals.index and np.isfinite(intervals.loc[arm, "low"]):
            spread = [[mean - intervals.loc[arm, "low"]], [intervals.loc[arm, "high"] - mean]]
        axis.errorbar(place, mean, yerr=spread, capsize=3, **styles[str(arm)] | {"linestyle": "none"})
        if arm == baseline and np.isfinite(mean):
            axis.axhline(mean, color="0.3", linewidth=1, linestyle=":")
    axis.set_ylabel("normalised score")
