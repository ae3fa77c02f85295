"""The paragraph above a table: what its numbers are, of which runs, and what stands beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from synthlib.paper import paper_seeds
from synthlib.report.statistics import FINAL_EVALUATIONS
from synthlib.report.tables import span

if TYPE_CHECKING:
    from synthlib.report.report import Report

_WORDS = {
    "final": "D4RL-normalised score x 100: mean over {n} seeds of the mean of each run's last four evaluations "
    "({span} updates)",
    "best": "D4RL-normalised score x 100: mean over {n} seeds of each run's best evaluation (of those up to {span} "
    "updates)",
    "updates": "Thousands of fine-tuning updates until a run first reaches 90 % of the mean final return of "
    "{baseline}: mean over the {n} seeds that get there",
    "loss": "Training loss of fine-tuning, mean since the evaluation before, in per cent of the mean of {baseline} "
    "(less is a better fit): mean over {n} seeds ({span} updates)",
}


def caption(report: Report) -> str:
    """One paragraph: what the numbers are, which runs they are made of, and what stands beside them."""
    artefact = report.artefact
    n = span(report.scores.dropna(subset="score").groupby(["arm", "dataset"]).size())
    words = _WORDS[artefact.metric].format(n=n, span=_span_of_evaluations(report), baseline=artefact.baseline)
    spread = " ± population standard deviation over these seeds"
    sentences = [artefact.title, f"{words}{spread}; in parentheses the number of seeds", report.runs.label]
    if artefact.counting == "as_table_13":
        sentences.append(
            "Counted as in the paper's Table 13: evaluations from 0, and a run that never gets there as 0 updates"
        )
    if never := int(report.scores["score"].isna().sum()):
        sentences.append(f"{never} of {len(report.scores)} runs never get there and are left out")
    if (number := artefact.paper_table) is not None:
        seeds = (
            f"{span(_paper_seeds(report, number))} seeds, " if artefact.metric != "updates" else "without a spread, "
        )
        sentences.append(f"Paper: Table {number}, {seeds}D4RL")
        if report.cells["corl_mean"].notna().any():
            sentences.append("CORL: an independent implementation's scores of that arm, 4 seeds, D4RL")
        if report.cells["paper_printed"].notna().any():
            sentences.append("Paper (printed): as it stands there, lowered by a slip of normalisation")
    if any(report.label(arm) != arm for arm in artefact.arms):
        sentences.append("Names are the paper's; (here n): the updates that were run in place of the named number")
    sentences += report.runs.unequal.values()
    return ". ".join(sentences) + "."


def _span_of_evaluations(report: Report) -> str:
    """The updates of the evaluations that are used."""
    updates = report.runs.evaluations.groupby(["arm", "dataset", "seed"])["updates"]
    if report.artefact.metric != "final":
        return span(updates.max())
    first = updates.apply(lambda run: run.nlargest(FINAL_EVALUATIONS).min())
    last = span(updates.max())
    return f"{span(first)} to {last}" if first.nunique() == 1 else f"ending at {last}"


def _paper_seeds(report: Report, number: int) -> pd.Series:
    printed = report.cells.loc[report.cells["paper_mean"].notna(), "arm"].unique()
    return pd.Series([paper_seeds(number, arm) for arm in printed])
