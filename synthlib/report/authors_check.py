"""The paper's tables made of the authors' own runs through the report, and compared with the print digit by digit."""

import pandas as pd

from synthlib.report.authors_logs import labels_of
from synthlib.report.report import Report
from synthlib.report.sources import runs_of_authors
from synthlib.report.verdicts import EQUAL
from synthlib.study.params import artefact_names, load_artefact
from synthlib.tasks import DATASETS


def authors_artefacts():
    """The tables of the paper that the authors' logs make, in order."""
    artefacts = [load_artefact(name) for name in artefact_names()]
    return [artefact for artefact in artefacts if artefact.algorithm == "dt" and artefact.paper_table is not None]


def check(logs):
    """Every printed cell of those tables, average rows included: ``table, dataset, arm, equal, reprint``.

    A score cell is equal when mean and standard deviation are. ``reprint`` marks the columns that Tables 26 and 27
    repeat from Table 1.
    """
    of_table_1 = labels_of(load_artefact("table1"))
    tables = []
    for artefact in authors_artefacts():
        cells = Report(runs_of_authors(artefact, logs)).cells
        cells = cells[cells["paper_mean"].notna()]
        labels = labels_of(artefact)
        repeated = [arm for arm in labels if artefact.paper_table in (26, 27) and labels[arm] == of_table_1.get(arm)]
        table = cells[["table", "dataset", "arm"]].assign(equal=cells["verdict"] == EQUAL)
        tables.append(table.assign(reprint=table["arm"].isin(repeated)))
    return pd.concat(tables, ignore_index=True)


def summary(checked):
    """What :func:`check` found in one line, e.g. "708 of 708 cells equal; ..."."""
    is_cell = checked["dataset"].isin(DATASETS)
    scores = checked["table"] != 11
    parts = {
        "cells": is_cell & scores & ~checked["reprint"],
        "average rows": ~is_cell & scores & ~checked["reprint"],
        "cells of Table 11": is_cell & ~scores,
    }
    return "; ".join(f"{checked.loc[rows, 'equal'].sum()} of {rows.sum()} {name} equal" for name, rows in parts.items())
