"""Every claim of the paper beside what each set of runs says about it.

:func:`synthlib.report.claims.judge_claim` judges a claim by any cells: the paper's own print, the authors' runs, or our
runs. Ours may be on replica data, because a claim asks for the comparison between arms only. A second judgement puts
the matched control in the place of the published baseline.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from synthlib.machine.files import write_text
from synthlib.paper import paper_claims, paper_costs, paper_seeds, paper_table, score_table_numbers
from synthlib.report.claims import judge_claim
from synthlib.report.data_page import page_folder
from synthlib.report.figures import save_figure, verdict_board
from synthlib.report.sources import AnyRuns, open_runs
from synthlib.study.params import Artefact, artefact_names, load_artefact

NO_RUNS = "no runs"
_CELL = ["table", "arm", "dataset", "mean", "std", "n"]


def printed_cells() -> pd.DataFrame:
    """The paper's own cells, Tables 11-14 included: ``table, arm, dataset, mean, std, n`` as in a report."""
    cells = pd.concat([paper_table(number) for number in score_table_numbers()], ignore_index=True)
    cells["n"] = [paper_seeds(row.table, row.arm) for row in cells.itertuples()]
    costs = pd.concat([paper_costs(number) for number in (11, 12, 13, 14)]).rename(columns={"value": "mean"})
    cells = pd.concat([cells, costs.assign(n=0)], ignore_index=True)
    return cells.loc[~cells["is_average"], _CELL]


def reported_cells(runs: AnyRuns) -> pd.DataFrame:
    """The cells of every table of the paper of which ``runs`` has any finished run, columns as in a report."""
    found = []
    for name in artefact_names():
        if load_artefact(name).paper_table is None:
            continue
        try:
            report = runs.report(name)
            cells = report.cells
        except (ValueError, RuntimeError, FileNotFoundError):  # there is no run of this table
            continue
        found.append(cells.loc[~cells["is_average"] & ~cells["arm"].isin(report.without_their_total), _CELL])
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=_CELL)


def authors_cells(logs: str) -> pd.DataFrame:
    """:func:`reported_cells` of the authors' runs; no row, and a line that says so, when their logs cannot be had."""
    try:
        return reported_cells(open_runs("authors", logs=logs))
    except OSError as error:
        print(f"without the authors' logs: {error}")
        return pd.DataFrame(columns=_CELL)


def with_matched_baseline(cells: pd.DataFrame) -> pd.DataFrame:
    """The same cells with the matched control's runs under the baseline's name; tables without a control left out."""
    replaced = []
    for number, artefact in _artefacts_by_table().items():
        table = cells[(cells["table"] == number) & (cells["arm"] != artefact.baseline)]
        if artefact.control in set(table["arm"]):
            replaced.append(table.replace({"arm": {artefact.control: artefact.baseline}}))
    return pd.concat(replaced, ignore_index=True) if replaced else cells.iloc[:0]


def judge(claim: dict[str, Any], cells: pd.DataFrame, matched: bool = False) -> str:
    """One word or number for one claim from one set of cells; "" where the cells say nothing about it.

    ``matched``: the cells come from :func:`with_matched_baseline`. They say something only about the claims that set
    pre-trained arms against the baseline.
    """
    if "costs" in claim:
        return "" if matched else _cost_ratio(claim["costs"], cells)
    if "compare" not in claim or (matched and not _sets_pretraining_against_baseline(claim)):
        return ""
    tables = {rule[key] for rule in claim["compare"] for key in ("table", "baseline_table") if key in rule}
    if not tables & set(cells["table"]):
        return NO_RUNS
    return judge_claim(claim, cells)[0]


def board_columns(ours: pd.DataFrame, authors: pd.DataFrame, label: str) -> dict[str, tuple[pd.DataFrame, bool]]:
    """The five columns of the published board, for :func:`scoreboard`; ``label`` says what our runs are."""
    return {
        "as printed": (printed_cells(), False),
        "authors' logs": (authors, False),
        "authors' logs, matched control": (with_matched_baseline(authors), True),
        f"our runs ({label})": (ours, False),
        "our runs, matched control": (with_matched_baseline(ours), True),
    }


def scoreboard(columns: dict[str, tuple[pd.DataFrame, bool]]) -> pd.DataFrame:
    """One row per claim: ``claim, section`` and a word per column. ``columns``: {title: (cells, matched)}."""
    rows = [
        {"claim": claim["says"].strip(), "section": claim["section"]}
        | {title: judge(claim, cells, matched) for title, (cells, matched) in columns.items()}
        for claim in paper_claims()
    ]
    return pd.DataFrame(rows, index=[claim["id"] for claim in paper_claims()])


def make_scoreboard(preset: str, data: str, logs: str) -> pd.DataFrame:
    """The published board of all finished runs: ours under ``preset`` on ``data``, the authors' in ``logs``."""
    ours = reported_cells(open_runs("own", preset, data))
    return scoreboard(board_columns(ours, authors_cells(logs), f"{preset}, {data}"))


def scoreboard_text(board: pd.DataFrame) -> str:
    """What the terminal shows: the words, one line per claim."""
    return board.drop(columns=["claim", "section"]).to_string() + "\n"


def save_scoreboard(board: pd.DataFrame, preset: str, data: str = "replica") -> Path:
    """Write a board as text, CSV, HTML and picture; returns the folder.

    It is ``outputs/<preset>/scoreboard``, with the data in the name unless the data source is the replica.
    """
    folder = page_folder("scoreboard", preset, data)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "scoreboard.txt", scoreboard_text(board))
    write_text(folder / "scoreboard.csv", board.to_csv(index_label="id"))
    page = "<!doctype html><meta charset='utf-8'><title>scoreboard</title>"
    write_text(folder / "scoreboard.html", page + board.to_html(index=False))
    save_figure(*verdict_board(board.drop(columns=["claim", "section"])), folder / "scoreboard")
    return folder


def _cost_ratio(costs: dict[str, Any], cells: pd.DataFrame) -> str:
    """The arm's average divided by the baseline's, as in Tables 11-14.

    Wall times (Tables 12 and 14) are compared as printed only: other machines have others.
    """
    average = cells[cells["table"] == costs["table"]].groupby("arm")["mean"].mean()
    if not {costs["arm"], costs["baseline"]} <= set(average.index):
        return NO_RUNS if costs["table"] in (11, 13) else ""
    return f"{average[costs['arm']] / average[costs['baseline']]:.2f} of it (paper: {costs['ratio']:.2f})"


def _sets_pretraining_against_baseline(claim: dict[str, Any]) -> bool:
    for rule in claim["compare"]:
        artefact = _artefacts_by_table()[rule["table"]]
        untrained = any(artefact.arms[arm].get("pretraining") == "none" for arm in rule["arms"])
        if artefact.baseline in rule["baselines"] and not untrained:
            return True
    return False


@cache
def _artefacts_by_table() -> dict[int, Artefact]:
    artefacts = [load_artefact(name) for name in artefact_names()]
    return {artefact.paper_table: artefact for artefact in artefacts if artefact.paper_table is not None}
