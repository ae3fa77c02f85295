"""The paper's tables made of the authors' own runs, and compared with the print digit by digit."""

import pandas as pd

from synthlib.report.authors_logs import log_labels
from synthlib.report.report import Report
from synthlib.report.sources import runs_of_authors
from synthlib.report.verdicts import EQUAL
from synthlib.study.catalogue import printed_artefacts
from synthlib.study.params import Artefact, load_artefact


def authors_artefacts() -> list[Artefact]:
    """The tables of the paper for which the authors' logs have the runs, in order."""
    return [
        artefact for artefact in printed_artefacts() if artefact.algorithm == "dt" and artefact.paper_table is not None
    ]


def check(logs: pd.DataFrame) -> pd.DataFrame:
    """Every printed cell of these tables: ``table, dataset, arm, is_average, equal, reprint``.

    A score cell is equal when its mean and its standard deviation are. ``reprint`` marks the columns that Tables 26 and
    27 repeat from Table 1.
    """
    table_1 = log_labels(load_artefact("table1"))
    tables = []
    for artefact in authors_artefacts():
        cells = Report(runs_of_authors(artefact, logs)).cells
        cells = cells[cells["paper_mean"].notna()]
        labels = log_labels(artefact)
        repeated = [arm for arm in labels if artefact.paper_table in (26, 27) and labels[arm] == table_1.get(arm)]
        table = cells[["table", "dataset", "arm", "is_average"]].assign(equal=cells["verdict"] == EQUAL)
        tables.append(table.assign(reprint=table["arm"].isin(repeated)))
    return pd.concat(tables, ignore_index=True)


def summary(checked: pd.DataFrame) -> str:
    """What :func:`check` found in one line, e.g. "708 of 708 cells equal; ..."."""
    is_average = checked["is_average"]
    scores = checked["table"] != 11
    parts = {
        "cells": ~is_average & scores & ~checked["reprint"],
        "average rows": is_average & scores & ~checked["reprint"],
        "cells of Table 11": ~is_average & ~scores,
    }
    return "; ".join(f"{checked.loc[rows, 'equal'].sum()} of {rows.sum()} {name} equal" for name, rows in parts.items())
