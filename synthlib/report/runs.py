"""Finished runs of one artefact, whosever they are: all that a report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthlib.study.params import Artefact, pretraining_updates


@dataclass(frozen=True)
class Runs:
    """Finished runs of one artefact: all that a report is made of. Made by :mod:`synthlib.report.sources`."""

    artefact: Artefact
    # one row per evaluation: arm, dataset, seed, updates, score, return, loss where logged
    evaluations: pd.DataFrame
    # one row per run: arm, dataset, environment, seed, run (its id), physics, pretraining_updates
    records: pd.DataFrame
    data: str  # the kind of data that the runs were fine-tuned on: replica, d4rl or path
    label: str  # half a sentence that says whose runs they are, and on which data
    folder: Path  # where the report's files go
    missing: tuple[str, ...]  # one line per run that is wanted and not done
    provenance: dict[str, Any]  # what else a reader needs to find or repeat the runs, fit for JSON
    reduced: bool = False  # made with fewer updates, of fine-tuning or pre-training, than the paper's
    by_authors: bool = False  # the runs from which the paper was printed, not ours
    # What was run in place of the paper's numbers of updates, and arms that are not to be compared for that reason:
    # run_sizes and unequal_totals of synthlib.study.sizes.
    sizes: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    unequal: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    q_values: pd.DataFrame | None = None  # of an artefact that shows them: synthlib.report.q_values.logged_q_values
    paper_updates: int | None = None  # how many updates of fine-tuning the paper makes; None where it has no such runs
    larger: tuple[Runs, ...] = ()  # finished runs of the same arms, longer ones, under other presets

    @property
    def compared_as(self) -> str:
        """How the runs are compared with the paper's cells: see :func:`synthlib.report.comparisons.against_paper`."""
        if self.by_authors:
            return "authors"
        return "reduced" if self.reduced and self.data == "d4rl" else self.data

    def other_proportions(self, arms: Mapping[str, str]) -> str:
        """A sentence that refuses the paper's comparison at equal totals; "" where nothing is to be refused.

        ``arms``: {name to show: arm} of arms that have runs. Named are those that were pre-trained for another share of
        their fine-tuning than in the paper. Shares count as equal when the updates differ by less than one evaluation
        interval, as totals do (:func:`synthlib.study.sizes.unequal_totals`).
        """
        if self.paper_updates is None:
            return ""
        interval = np.diff(np.unique([0, *self.evaluations["updates"]])).min()
        found = []
        for name, arm in arms.items():
            here = self.records.loc[self.records["arm"] == arm, "pretraining_updates"].max()
            updates = self.evaluations.loc[self.evaluations["arm"] == arm, "updates"].max()
            full = self.artefact.arms[arm].get("length", 1) * self.paper_updates
            there = pretraining_updates(self.artefact, arm) / full
            if abs(here - there * updates) >= interval:
                found.append(f"{name} {here / updates:.0%} (there {there:.0%})")
        if not found:
            return ""
        return (
            "Not the paper's comparison, for pre-training is another share of the fine-tuning updates: "
            f"{'; '.join(found)}"
        )


def refuse_mixed_physics(records: pd.DataFrame) -> None:
    """RuntimeError when runs made with different physics would share a data set's row."""
    for environment, found in records.groupby("environment")["physics"].unique().items():
        if len(found) > 1:
            raise RuntimeError(f"{environment} runs with different physics cannot share a table: {'; '.join(found)}")
