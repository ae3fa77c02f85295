"""Updates until a target is reached, counted in both ways side by side (faithfulness 3.19, 6.8).

The paper's Table 13 counts evaluations from 0, and a run that never gets there as 0 updates. By itself a report counts
from 1, and leaves such runs out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from synthlib.report.report import Report

BOTH = "The averages, thousands of updates, counted in both ways"
_WAYS = {"from_one": "counted from 1", "as_table_13": "as in Table 13"}


def is_counted_twice(report: Report) -> bool:
    """Whether a report shows both ways: the paper counts its Table 11 as we do, and its Table 13 otherwise."""
    return report.artefact.metric == "updates" and report.artefact.paper_table == 13


def both_countings(report: Report) -> pd.DataFrame:
    """One row per arm: the average in each way, how many runs never get there, and the paper's average."""
    ways = {
        counting: type(report)(replace(report.runs, artefact=replace(report.artefact, counting=counting)))
        for counting in _WAYS
    }
    columns = {_WAYS[way]: counted.averages.set_index("arm")["mean"].round(2) for way, counted in ways.items()}
    reached = ways["from_one"].scores
    columns["runs that never get there"] = reached["score"].isna().groupby(reached["arm"]).sum()
    columns["paper"] = report.averages.set_index("arm")["paper_mean"]
    return pd.DataFrame(columns).reindex(list(report.artefact.arms)).rename(index=report.label)
