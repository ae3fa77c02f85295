"""The printed cells that stand beside ours: the paper's scores and costs, and CORL's scores."""

import numpy as np
import pandas as pd

from synthlib.paper import corl_scores, normalisation_slip, paper_costs
from synthlib.report.comparisons import against_paper
from synthlib.report.verdicts import AVERAGE, DIGITS_DIFFER, EQUAL, NOT_COMPARABLE
from synthlib.study.params import Artefact
from synthlib.tasks import DATASETS

_COLUMNS = ["arm", "dataset", "is_average", "paper_mean", "paper_std", "difference", "difference_low"]
_COLUMNS += ["difference_high", "paper_printed", "verdict"]


def paper_cells(artefact: Artefact, ours: pd.DataFrame, averages: pd.DataFrame, compared_as: str) -> pd.DataFrame:
    """The paper's cells and how ours compare; no row when the artefact is not a table of the paper.

    ``ours, averages``: our cells and our average rows. ``compared_as`` as in
    :func:`~synthlib.report.comparisons.against_paper`. Columns ``arm, dataset, is_average, paper_mean, paper_std,
    difference, difference_low, difference_high, paper_printed, verdict``; ``paper_printed`` is NaN but where
    ``paper_mean`` corrects the print.
    """
    if artefact.paper_table is None:
        return pd.DataFrame(columns=_COLUMNS).astype({"is_average": bool})
    if artefact.metric == "updates":
        return _paper_costs(artefact.paper_table, ours, averages, compared_as)
    return _paper_scores(artefact.paper_table, ours, compared_as)


def corl_cells(artefact: Artefact) -> pd.DataFrame:
    """What CORL publishes of the baseline's algorithm on the same data sets: ``arm, dataset, corl_mean, corl_std``."""
    scores = corl_scores()
    scores = scores[(scores["arm"] == artefact.baseline) & (scores["metric"] == artefact.metric)]
    return scores.rename(columns={"mean": "corl_mean", "std": "corl_std"}).drop(columns="metric")


def _paper_scores(number: int, ours: pd.DataFrame, compared_as: str) -> pd.DataFrame:
    # The printed values of Tables 23-25 are too low by a constant per environment: compare at the printed level, show
    # at the right one.
    ours = ours.assign(mean=ours["mean"] - ours["dataset"].map(lambda dataset: normalisation_slip(number, dataset)))
    table = against_paper(ours, number, compared_as)
    rows = zip(table["dataset"], table["is_average"], strict=True)
    slip = np.array([normalisation_slip(number, None if is_average else dataset) for dataset, is_average in rows])
    table["paper_printed"] = table["paper_mean"].where(slip != 0)
    table["paper_mean"] = table["paper_mean"] + slip
    return table.rename(columns={"low": "difference_low", "high": "difference_high"})[_COLUMNS]


def _paper_costs(number: int, ours: pd.DataFrame, averages: pd.DataFrame, compared_as: str) -> pd.DataFrame:
    printed = paper_costs(number).rename(columns={"value": "paper_mean"})
    # The printed average is over twelve data sets.
    whole = averages[averages["datasets"] == len(DATASETS)].assign(dataset=AVERAGE)
    table = printed.merge(pd.concat([ours, whole])[["arm", "dataset", "mean"]], on=["arm", "dataset"], how="left")
    table["difference"] = table["mean"] - table["paper_mean"]
    # Half a tenth either way, since 15.25 may be printed as 15.2 or 15.3.
    equal = np.where(table["difference"].abs() <= 0.05 + 1e-9, EQUAL, DIGITS_DIFFER)
    table["verdict"] = NOT_COMPARABLE.get(compared_as, equal if compared_as == "authors" else "not tested")
    if compared_as in NOT_COMPARABLE:
        table["difference"] = np.nan
    return table.reindex(columns=_COLUMNS)
