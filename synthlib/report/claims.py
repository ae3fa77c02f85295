"""The paper's claims on scores, judged by cells of any runs: printed, the authors' or ours."""

import itertools
from typing import Any

import numpy as np
import pandas as pd

from synthlib.report.comparisons import judge_column
from synthlib.report.verdicts import AVERAGE_MARGIN, CELL_MARGIN, claim_answer, strictest
from synthlib.tasks import DATASETS


def judge_claim(
    claim: dict[str, Any],
    cells: pd.DataFrame,
    margin: float = CELL_MARGIN,
    average_margin: float = AVERAGE_MARGIN,
) -> tuple[str, pd.DataFrame]:
    """Apply the comparisons of one of :func:`~synthlib.paper.paper_claims` to the cells of one set of runs.

    ``cells``: columns ``table, arm, dataset, mean, std, n`` with the paper's arm names; average rows are not used. Each
    comparison is answered by :func:`~synthlib.report.verdicts.claim_answer`. The claim holds when all comparisons hold
    (so no correction is needed), fails when one fails, and otherwise is undecided or has not enough runs. Returns
    (word, frame): one row per comparison, with ``must`` and ``answer`` beside the columns of
    :func:`~synthlib.report.comparisons.against_baseline`.

    Raises ValueError for a claim without ``compare`` (it is not about scores).
    """
    if "compare" not in claim:
        raise ValueError(f"claim {claim['id']!r} is not about scores; see its costs or shown_in")
    tests = pd.concat(
        [
            _compare(rule, arm, baseline, cells, margin, average_margin)
            for rule in claim["compare"]
            for arm, baseline in itertools.product(rule["arms"], rule["baselines"])
        ],
        ignore_index=True,
    )
    margins = np.where(tests["is_average"], average_margin, margin)
    tests["answer"] = [claim_answer(row, size) for row, size in zip(tests.itertuples(), margins, strict=True)]
    return strictest(tests["answer"]), tests


def _compare(
    rule: dict[str, Any], arm: str, baseline: str, cells: pd.DataFrame, margin: float, average_margin: float
) -> pd.DataFrame:
    """The rows of the comparison of ``arm`` with ``baseline`` that ``rule`` asks for."""
    baseline_table = rule.get("baseline_table", rule["table"])
    pairs = _column(cells, rule["table"], arm).join(_column(cells, baseline_table, baseline).add_prefix("baseline_"))
    pairs = pairs.reset_index()
    pairs.insert(0, "arm", arm)
    pairs["baseline"] = baseline
    column = judge_column(pairs, "baseline", margin, average_margin)
    if rule["rows"] == "average":
        column = column[column["is_average"]]
    else:
        datasets = DATASETS if rule["rows"] == "each" else rule["rows"]
        column = column[~column["is_average"] & column["dataset"].isin(datasets)]
    return column.assign(table=rule["table"], baseline_table=baseline_table, must=rule["must"])


def _column(cells: pd.DataFrame, table: int, arm: str) -> pd.DataFrame:
    """``mean, std, n`` of one arm by data set. All twelve are there (``n`` 0: no run), so no average is of fewer."""
    chosen = cells[(cells["table"] == table) & (cells["arm"] == arm)]
    return chosen.set_index("dataset").reindex(DATASETS)[["mean", "std", "n"]].fillna({"n": 0})
