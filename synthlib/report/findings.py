"""What a report decides, in sentences, and what larger runs of the same arms say that are there already.

A small preset decides how the arms start, not how they end, so the sentence says after how much of the paper's training
it speaks. Larger runs are those that the store has or that are published in ``outputs/records``: each is named with its
preset and size, so that nobody mistakes one for the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from synthlib.report.tables import span
from synthlib.report.verdicts import HIGHER, LOWER, MINIMUM_SEEDS, NOT_ENOUGH_RUNS, UNDECIDED, margin_of

if TYPE_CHECKING:
    from synthlib.report.report import Report

NOTHING = "no comparison"
_NAMED = 3  # data sets; more are counted


def decided(comparisons: pd.DataFrame, unit: str = "points") -> str:
    """The decided comparisons over all data sets, as half a sentence: arms with one answer stand together.

    ``comparisons``: of :attr:`synthlib.report.report.Report.comparisons`; ``unit``: of their differences.
    """
    averages = comparisons[comparisons["is_average"]]
    if averages.empty:
        return ""
    parts = []
    for (baseline, verdict), rows in averages.groupby(["baseline", "verdict"], sort=False):
        if verdict not in (UNDECIDED, NOT_ENOUGH_RUNS):
            arms = [f"{row.arm} {_numbers(row)}" for row in rows.itertuples()]
            parts.append(f"{_in_words(verdict, baseline, unit)}: {', '.join(arms)}")
    return "; ".join(parts) or NOTHING


def _in_words(verdict: str, baseline: str, unit: str) -> str:
    """E.g. "higher than CQL, by less than 2.5 points", or "shown to be within 2.5 points of CQL"."""
    word, *small = verdict.split(", ")
    if word in (HIGHER, LOWER):
        return ", ".join([f"{word} than {baseline}", *(f"{part} {unit}" for part in small)])
    return f"shown to be {verdict} {unit} of {baseline}"


def findings(report: Report) -> list[str]:
    """Sentences on what ``report`` decides, and on what the larger runs beside it say; empty without comparisons."""
    if not report.has_comparisons or report.runs.by_authors:
        return []
    unit = margin_of(report.artefact.metric).unit
    found = decided(report.comparisons, unit)
    sentences = [f"Decided here ({size_in_words(report)}{_start(report)}): {found}."]
    if found == NOTHING and (by_loss := _by_loss(report)) is not None:
        of_loss = decided(by_loss.comparisons, margin_of("loss").unit)
        sentences.append(f"By the training loss at the end, in per cent of {report.artefact.baseline}'s: {of_loss}.")
    for larger in report.larger:
        sentences.append(
            f"Larger runs that are there, preset {larger.runs.provenance['preset']} ({size_in_words(larger)}): "
            f"{_scores(larger)}. Decided there: {decided(larger.comparisons, unit)}."
        )
    return sentences


def _by_loss(report: Report) -> Report | None:
    """The same runs judged by training loss, which decides sooner. None where losses have no ratio, or no base."""
    evaluations, artefact = report.runs.evaluations, report.artefact
    if artefact.metric not in ("final", "best") or artefact.baseline is None or "loss" not in evaluations:
        return None
    ends = evaluations.groupby(["dataset", "arm", "seed"])["updates"].max()
    if (ends.groupby("dataset").nunique() > 1).any() or not (evaluations["loss"] > 0).all():
        return None
    if artefact.baseline not in set(evaluations["arm"]):
        return None
    return type(report)(replace(report.runs, artefact=replace(artefact, metric="loss"), larger=()))


def in_one_sentence(report: Report) -> str:
    """What ``report`` found, in one sentence written from its numbers: the word for every arm against each baseline.

    It says how large the runs are, so that it is true for every preset. Arms with one word stand together.
    """
    averages = report.comparisons[report.comparisons["is_average"]]
    averages = averages[averages["arm"] != report.artefact.baseline]
    if averages.empty:
        return f"These runs ({size_in_words(report)}) compare no arms with each other yet."
    parts = []
    for baseline, rows in averages.groupby("baseline", sort=False):
        said = []
        for word, same in rows.groupby("verdict", sort=False):
            if word == NOT_ENOUGH_RUNS:
                said.append(f"{word} of {len(same)} arm{'s' if len(same) > 1 else ''}")
                continue
            said.append(f"{word}: {', '.join(f'{report.label(row.arm)} {_numbers(row)}' for row in same.itertuples())}")
        parts.append(f"against {baseline}: {'; '.join(said)}")
    return f"In these runs ({size_in_words(report)}{_start(report)}), {'. '.join(parts)}."


def _numbers(row: Any) -> str:
    return f"({row.difference:+.1f} [{row.low:+.1f}, {row.high:+.1f}])"


def decides_something(report: Report) -> bool:
    """Whether some cell has the seeds that a verdict needs."""
    return bool((report.cells["n"] >= MINIMUM_SEEDS).any())


def size_in_words(report: Report) -> str:
    """How many updates, which data sets, how many seeds."""
    cells = report.cells[~report.cells["is_average"]]
    names = list(dict.fromkeys(cells["dataset"]))
    datasets = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} data sets"
    updates = span(report.runs.evaluations.groupby(["arm", "dataset", "seed"])["updates"].max())
    return f"{updates} updates, {datasets}, {span(cells['n'].astype(int))} seeds"


def _start(report: Report) -> str:
    """How small the runs are beside the paper's; empty for runs of the paper's length."""
    full = report.runs.paper_updates
    if full is None or report.runs.evaluations["updates"].max() >= full:
        return ""
    return f"; of the paper's {full:,} updates, so this is how the arms start, not how they end"


def _scores(report: Report) -> str:
    digits = [f"{row.arm} {row.mean:.1f} ± {row.std:.1f} ({row.n:.0f})" for row in report.averages.itertuples()]
    return "; ".join(digits)
