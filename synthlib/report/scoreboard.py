"""Every claim of the paper beside what each source of runs says about it.

A claim is judged by :func:`synthlib.report.verdicts.judge_claim`, whatever the cells are: the paper's own print, the
authors' logs, or our runs on the same or on replica data, where only the comparison between arms is asked for. A second
judgement puts the matched control in the place of the published baseline.
"""

from functools import cache

import pandas as pd

from synthlib.machine.files import write_text
from synthlib.paper import AVERAGE_ROWS, paper_claims, paper_costs, paper_seeds, paper_table, score_table_numbers
from synthlib.paths import outputs
from synthlib.report.figures import save_figure, verdict_board
from synthlib.report.verdicts import judge_claim
from synthlib.study.params import artefact_names, load_artefact

NO_RUNS = "no runs"
_CELL = ["table", "arm", "dataset", "mean", "std", "n"]


def printed_cells():
    """The paper's own cells, Tables 11-14 included: ``table, arm, dataset, mean, std, n`` as in a report."""
    cells = pd.concat([paper_table(number) for number in score_table_numbers()], ignore_index=True)
    cells["n"] = [paper_seeds(row.table, row.arm) for row in cells.itertuples()]
    costs = pd.concat([paper_costs(number) for number in (11, 12, 13, 14)]).rename(columns={"value": "mean"})
    cells = pd.concat([cells, costs.assign(n=0)], ignore_index=True)
    return cells.loc[~cells["dataset"].isin(AVERAGE_ROWS), _CELL]


def cells_of(runs):
    """Cells of every table of the paper that a source of runs (:func:`synthlib.report.sources.open_runs`) has something
    of."""
    found = []
    for name in artefact_names():
        if load_artefact(name).paper_table is None:
            continue
        try:
            report = runs.report(name)
            cells = report.cells
        except (ValueError, RuntimeError, FileNotFoundError):  # this source has no run of it
            continue
        found.append(cells.loc[cells["dataset"] != report.average_name, _CELL])
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=_CELL)


def with_matched_baseline(cells):
    """The same cells with the matched control's runs under the baseline's name; tables without a control left out."""
    replaced = []
    for number, (baseline, control) in _baselines().items():
        of_table = cells[(cells["table"] == number) & (cells["arm"] != baseline)]
        if control in set(of_table["arm"]):
            replaced.append(of_table.replace({"arm": {control: baseline}}))
    return pd.concat(replaced, ignore_index=True) if replaced else cells.iloc[:0]


def judge(claim, cells, matched=False):
    """One word or number for one claim from one set of cells; "" where they cannot bear on it.

    ``matched``: the cells are those of :func:`with_matched_baseline`, which bears on claims that set pre-trained arms
    against the baseline only.
    """
    if "costs" in claim:
        return "" if matched else _cost_ratio(claim["costs"], cells)
    if "compare" not in claim or (matched and not _sets_pretraining_against_baseline(claim)):
        return ""
    tables = {rule[key] for rule in claim["compare"] for key in ("table", "baseline_table") if key in rule}
    if not tables & set(cells["table"]):
        return NO_RUNS
    return judge_claim(claim, cells)[0]


def scoreboard(columns):
    """One row per claim: ``claim, section`` and a word per column. ``columns``: {title: (cells, matched)}."""
    rows = [
        {"claim": claim["says"].strip(), "section": claim["section"]}
        | {title: judge(claim, cells, matched) for title, (cells, matched) in columns.items()}
        for claim in paper_claims()
    ]
    return pd.DataFrame(rows, index=[claim["id"] for claim in paper_claims()])


def save_scoreboard(board, preset):
    """Write a board as text, CSV, HTML and picture; returns the folder, ``outputs/<preset>/scoreboard``."""
    folder = outputs() / preset / "scoreboard"
    folder.mkdir(parents=True, exist_ok=True)
    words = board.drop(columns=["claim", "section"])
    write_text(folder / "scoreboard.txt", words.to_string() + "\n")
    write_text(folder / "scoreboard.csv", board.to_csv(index_label="id"))
    page = "<!doctype html><meta charset='utf-8'><title>scoreboard</title>"
    write_text(folder / "scoreboard.html", page + board.to_html(index=False))
    save_figure(*verdict_board(words), folder / "scoreboard")
    return folder


def _cost_ratio(costs, cells):
    """The arm's average over that of the baseline, as in Tables 11-14; wall times of other machines are not told."""
    average = cells[cells["table"] == costs["table"]].groupby("arm")["mean"].mean()
    if not {costs["arm"], costs["baseline"]} <= set(average.index):
        return NO_RUNS if costs["table"] in (11, 13) else ""
    return f"{average[costs['arm']] / average[costs['baseline']]:.2f} of it (paper: {costs['ratio']:.2f})"


def _sets_pretraining_against_baseline(claim):
    for rule in claim["compare"]:
        artefact = _artefacts_by_table()[rule["table"]]
        untrained = any(artefact.arms[arm].get("pretraining") == "none" for arm in rule["arms"])
        if artefact.baseline in rule["baselines"] and not untrained:
            return True
    return False


def _baselines():
    return {number: (artefact.baseline, artefact.control) for number, artefact in _artefacts_by_table().items()}


@cache
def _artefacts_by_table():
    artefacts = [load_artefact(name) for name in artefact_names()]
    return {artefact.paper_table: artefact for artefact in artefacts if artefact.paper_table is not None}
