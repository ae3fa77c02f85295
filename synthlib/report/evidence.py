"""What a claim of the paper is judged by: the paper's own print, the authors' runs, or ours.

An :class:`Evidence` has the cells of every table, and the reports behind them where there are runs. Its function
:func:`with_controls` puts each arm's matched control in the place of the published baseline.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pandas as pd

from synthlib.paper import paper_costs, paper_seeds, paper_table, score_table_numbers
from synthlib.paths import store_root
from synthlib.report.authors_logs import logged_evaluations
from synthlib.report.recorded_times import recorded
from synthlib.report.report import Report
from synthlib.report.sources import AnyRuns, AuthorsRuns, open_runs
from synthlib.runs.store import Store
from synthlib.study.catalogue import printed_artefacts
from synthlib.study.params import Artefact, load_artefact

CELL = ["table", "arm", "dataset", "mean", "std", "n"]
PRINT, AUTHORS, OWN = "print", "authors", "own"


def _no_report(name: str) -> Report | None:
    return None


@dataclass(frozen=True)
class Evidence:
    """One set of runs, as the claims see it.

    ``cells``: columns ``table, arm, dataset, mean, std, n`` with the paper's names of the arms, no average rows.
    ``report``: the report of an artefact, or None where it has no finished run.
    """

    source: str
    """Whose numbers: PRINT, AUTHORS or OWN."""
    cells: pd.DataFrame
    report: Callable[[str], Report | None] = _no_report
    comparable: bool = True
    """Whether sizes may be held against the paper's: on D4RL's data, at the paper's length."""
    matched: bool = False
    """Whether pre-trained arms are held against their matched controls, in the place of the published baseline."""
    seconds: pd.DataFrame | None = None
    """Wall time of the authors' fine-tuning runs: ``arm, dataset, seconds``, means over seeds."""
    times: pd.DataFrame | None = None
    """What our trainings recorded of their time (:func:`synthlib.report.recorded_times.recorded`)."""

    def baseline_of(self, table: int, arm: str, baseline: str) -> str | None:
        """What ``arm`` of ``table`` is compared with where a claim says ``baseline``; None: it has no control."""
        artefact = self._artefact(table)
        if not self.matched or artefact is None or not sets_pretraining_against_baseline(artefact, arm, baseline):
            return baseline
        return artefact.control_of(arm)

    def _artefact(self, table: int) -> Artefact | None:
        """The description of a table as these runs have it: the authors' runs lack some of our controls."""
        described = artefact_of_table(table)
        report = self.report(described.name) if described is not None else None
        return described if report is None else report.artefact


def sets_pretraining_against_baseline(artefact: Artefact, arm: str, baseline: str) -> bool:
    """Whether the comparison of ``arm`` with ``baseline`` is one of a pre-trained arm with the published baseline."""
    pretrained = artefact.arms.get(arm, {}).get("pretraining") != "none"
    return baseline == artefact.baseline and pretrained


def artefact_of_table(number: int) -> Artefact | None:
    """The description of the paper's table ``number``; None for a table without runs (9, 10, 12, 14 to 17)."""
    return _artefacts_by_table().get(number)


@cache  # reading all descriptions takes half a second
def _artefacts_by_table() -> dict[int, Artefact]:
    return {artefact.paper_table: artefact for artefact in printed_artefacts() if artefact.paper_table is not None}


def printed() -> Evidence:
    """The paper's own cells, Tables 11-14 included."""
    cells = pd.concat([paper_table(number) for number in score_table_numbers()], ignore_index=True)
    cells["n"] = [paper_seeds(row.table, row.arm) for row in cells.itertuples()]
    costs = pd.concat([paper_costs(number) for number in (11, 12, 13, 14)]).rename(columns={"value": "mean"})
    cells = pd.concat([cells, costs.assign(n=0)], ignore_index=True)
    return Evidence(PRINT, cells.loc[~cells["is_average"], CELL])


def finished(runs: AnyRuns) -> Evidence:
    """All finished runs of ours, or all of the authors'."""

    @cache
    def report(name: str) -> Report | None:
        try:
            return runs.report(name)
        except (ValueError, RuntimeError, FileNotFoundError) as error:
            if not re.search("no (done )?run", str(error)):  # there are some, which cannot stand in one table
                print(f"{name} is left out: {error}")
            return None

    tables = [artefact.name for artefact in _artefacts_by_table().values()]
    reports = [made for name in tables if (made := report(name)) is not None]
    cells = [_cells(made) for made in reports]
    frame = pd.concat(cells, ignore_index=True) if cells else pd.DataFrame(columns=CELL)
    if isinstance(runs, AuthorsRuns):
        return Evidence(AUTHORS, frame, report, seconds=_seconds(runs))
    comparable = bool(reports) and all(made.runs.compared_as == "d4rl" for made in reports)
    return Evidence(OWN, frame, report, comparable, times=recorded(Store(store_root())))


def _cells(report: Report) -> pd.DataFrame:
    """The cells of a report, without arms that were to reach another arm's total of updates and have not."""
    left_out = report.cells["is_average"] | report.cells["arm"].isin(report.without_their_total)
    return report.cells.loc[~left_out, CELL]


def of_authors(logs: str) -> Evidence:
    """:func:`finished` of the authors' runs; empty, after a line that says so, when the named logs are not there."""
    try:
        return finished(open_runs("authors", logs=logs))
    except OSError as error:
        print(f"without the authors' logs: {error}")
        return Evidence(AUTHORS, pd.DataFrame(columns=CELL))


def with_controls(evidence: Evidence) -> Evidence:
    """The same runs, with each pre-trained arm held against its matched control."""
    return replace(evidence, matched=True)


def _seconds(runs: AuthorsRuns) -> pd.DataFrame | None:
    """Table 12's arms in the authors' logs: seconds of the 100,000 updates, on the machines of their cluster."""
    try:
        evaluations = logged_evaluations(runs.logs, load_artefact("table1"))
    except ValueError:  # these logs are a part that lacks one of these arms
        return None
    per_run = evaluations.groupby(["arm", "dataset", "seed"])["train_seconds"].sum()
    return per_run.groupby(["arm", "dataset"]).mean().rename("seconds").reset_index()
