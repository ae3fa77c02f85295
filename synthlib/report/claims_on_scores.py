"""Claims that compare arms in score tables: which is higher, in the average or data set by data set."""

import itertools
from typing import Any

import numpy as np
import pandas as pd

from synthlib.report.comparisons import judge_column
from synthlib.report.evidence import AUTHORS, PRINT, Evidence, artefact_of_table
from synthlib.report.judgements import NO_CQL, NOT_PRINTED, Judgement, over_fewer
from synthlib.report.verdicts import (
    AMONG_BEST,
    AVERAGE_MARGIN,
    CELL_MARGIN,
    HIGHER,
    LOWER,
    MINIMUM_SEEDS,
    NO_RUNS,
    NOT_ENOUGH_RUNS,
    claim_answer,
    is_shown,
    strictest,
)
from synthlib.tasks import DATASETS

Rule = dict[str, Any]


def compared(
    rules: list[Rule], evidence: Evidence, margin: float = CELL_MARGIN, average_margin: float = AVERAGE_MARGIN
) -> pd.DataFrame:
    """One row per comparison that ``rules`` ask for, over the data sets on which both arms have three seeds.

    Columns of :func:`~synthlib.report.comparisons.against_baseline`, and ``must``, ``margin``, ``answer``, and
    ``datasets``, their number. A comparison without a run has a row that says so.
    """
    frames = [
        _compare(rule, arm, baseline, evidence, margin, average_margin)
        for rule in rules
        for arm, baseline in itertools.product(rule["arms"], rule["baselines"])
    ]
    tests = pd.concat(frames, ignore_index=True)
    tests["margin"] = np.where(tests["is_average"], average_margin, margin)
    tests["answer"] = [
        row.verdict if row.verdict in (NO_RUNS, NOT_ENOUGH_RUNS) else claim_answer(row, row.margin)
        for row in tests.itertuples()
    ]
    return tests


def judge_compare(rules: list[Rule], evidence: Evidence) -> Judgement:
    """The strictest answer of all comparisons of ``rules``, and the comparison that decides it."""
    tests = compared(rules, evidence)
    word = strictest(tests["answer"])
    return Judgement(word, _in_words(tests, word))


def _compare(
    rule: Rule, arm: str, baseline: str, evidence: Evidence, margin: float, average_margin: float
) -> pd.DataFrame:
    """The rows of the comparison of ``arm`` with ``baseline`` that ``rule`` asks for."""
    by_average = rule["rows"] == "average"
    other = evidence.baseline_of(rule["table"], arm, baseline)
    pairs = pairs_of(rule, arm, other, evidence)
    enough = pairs[pairs[["n", "baseline_n"]].min(axis=1) >= MINIMUM_SEEDS]
    wanted = DATASETS if rule["rows"] in ("average", "each") else rule["rows"]
    enough = enough[enough["dataset"].isin(wanted)]
    which = {"arm": arm, "baseline": other or "its control", "table": rule["table"], "must": rule["must"]}
    counted = {"datasets": len(enough), "wanted": len(wanted)}
    if enough.empty:
        word = NO_RUNS if pairs.empty else NOT_ENOUGH_RUNS
        return pd.DataFrame([which | counted | {"is_average": by_average, "verdict": word}])
    column = judge_column(enough.assign(**which), "baseline", margin, average_margin)
    return column[column["is_average"] == by_average].assign(**counted)


def pairs_of(rule: Rule, arm: str, baseline: str | None, evidence: Evidence) -> pd.DataFrame:
    """The cells ``mean, std, n`` of an arm with its baseline's, on the data sets where both have a run."""
    table: int = rule["table"]
    first = _column(evidence.cells, table, arm)
    second = _column(evidence.cells, rule.get("baseline_table", table), baseline)
    return first.join(second.add_prefix("baseline_"), how="inner").reset_index()


def _column(cells: pd.DataFrame, table: int, arm: str | None) -> pd.DataFrame:
    """``mean, std, n`` of one arm by data set, in the paper's order."""
    chosen = cells[(cells["table"] == table) & (cells["arm"] == arm)].set_index("dataset")
    there = [dataset for dataset in DATASETS if dataset in chosen.index]
    return chosen.loc[there, ["mean", "std", "n"]].astype({"mean": float, "std": float, "n": int})


def _in_words(tests: pd.DataFrame, word: str) -> str:
    """The comparison that decides, the number of comparisons and data sets, and the margin where it matters."""
    deciding = tests[tests["answer"] == word]
    if word in (NO_RUNS, NOT_ENOUGH_RUNS):
        lacking = [f"{row.arm} against {row.baseline}" for row in deciding.itertuples()]
        return f"of {'; '.join(lacking[:3])}{' and more' if len(lacking) > 3 else ''}"
    sign = np.where(deciding["must"] == "not higher", -1, 1)
    slack = np.where(deciding["must"] == "equal", -deciding["difference"].abs(), sign * deciding["difference"])
    row = deciding.iloc[int(np.argmin(slack))]
    parts = [difference_in_words(row)]
    if len(tests) > 1:
        parts[0] += f" (the closest of {len(tests)} comparisons)"
    if not tests["is_average"].any():
        shown = {word: sum(is_shown(one, word) for one in tests["verdict"]) for word in (HIGHER, LOWER)}
        parts.append(f"shown {HIGHER} in {shown[HIGHER]} and {LOWER} in {shown[LOWER]} of them")
    if word == AMONG_BEST:
        others = f"; {others} too" if (others := _also_best(tests)) else ""
        parts.append(f"within the margin {row['margin']} of the best{others}")
    elif row["must"] != "higher":
        parts.append(f"margin {row['margin']}")
    fewest = deciding.loc[deciding["datasets"].idxmin()]
    return ", ".join(parts) + over_fewer(fewest["datasets"], fewest["wanted"])


def _also_best(tests: pd.DataFrame) -> str:
    """The arms that are not shown to be worse than any arm that is called the best, by more than the margin."""
    worse = tests[(tests["must"] == "best") & (tests["high"] >= tests["margin"])]
    rivals = tests.loc[tests["must"] == "best", "baseline"].unique()
    return ", ".join(name for name in rivals if name not in set(worse["baseline"]))


def difference_in_words(row: Any) -> str:
    """E.g. "5-MC - DT +4.1 [+2.9, +5.3] (higher)"; with the data set where it is not an average."""
    where = "" if row["is_average"] else f" on {row['dataset']}"
    interval = f" [{row['low']:+.1f}, {row['high']:+.1f}]" if np.isfinite(row["low"]) else ""
    return f"{row['arm']} - {row['baseline']} {row['difference']:+.1f}{interval}{where} ({row['verdict']})"


def reason_without_cells(rules: list[Rule], evidence: Evidence) -> Judgement | None:
    """Why no table of ``rules`` can have a cell here, or None where one has."""
    tables = {rule[key] for rule in rules for key in ("table", "baseline_table") if key in rule}
    tables |= {number for rule in rules for pair in rule.get("pairs", ()) for number in pair}
    if tables & set(evidence.cells["table"]):
        return None
    if evidence.source == PRINT:
        return Judgement(NOT_PRINTED)
    artefacts = [artefact for number in tables if (artefact := artefact_of_table(number)) is not None]
    if not artefacts:  # wall times, which have no table of runs
        return None
    if evidence.source == AUTHORS and all(artefact.algorithm == "cql" for artefact in artefacts):
        return Judgement(NO_CQL)
    return Judgement(NO_RUNS)
