"""The plain table that stands before the dense one: an arm per row, and four numbers that answer the question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from synthlib.report.report import Report

_NOTHING = "-"


def plain_table(report: Report) -> pd.DataFrame:
    """By arm: mean over the data sets, the paper's over twelve, and the difference from baseline and control in words.

    The control is the arm's own. "-" stands where there is nothing to say.
    """
    artefact, rows = report.artefact, {}
    averages = report.averages.set_index("arm")
    comparisons = report.comparisons[report.comparisons["is_average"]].set_index(["arm", "baseline"])
    for arm in [arm for arm in artefact.arms if arm in averages.index]:
        row, control = averages.loc[arm], artefact.control_of(arm)
        rows[report.label(arm)] = {
            "mean over data sets": f"{row['mean']:.1f}",
            "paper": _NOTHING if pd.isna(row["paper_mean"]) else f"{row['paper_mean']:.1f}",
            f"over {artefact.baseline}": _said(comparisons, arm, artefact.baseline),
            "over its control": _said(comparisons, arm, control if arm != artefact.baseline else None),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.loc[:, [column for column in table if set(table[column]) != {_NOTHING}]]


def _said(comparisons: pd.DataFrame, arm: str, baseline: str | None) -> str:
    if (arm, baseline) not in comparisons.index:
        return _NOTHING
    row = comparisons.loc[(arm, baseline)]
    return f"{row['difference']:+.1f}, {row['verdict']}"
