"""Claims with a size: gains in per cent or points.

A size is compared as rounded in the paper. It is judged where the runs can be held against the paper's: on D4RL's data
and at the paper's length. Elsewhere only its direction is.
"""

import pandas as pd

from synthlib.report.claims_on_scores import Rule, pairs_of
from synthlib.report.comparisons import compare_averages, ratio, sides
from synthlib.report.evidence import Evidence
from synthlib.report.judgements import OTHER_DATA, Judgement, over_fewer
from synthlib.report.verdicts import FAILS, HOLDS, MINIMUM_SEEDS, NO_RUNS, NOT_ENOUGH_RUNS, UNDECIDED, strictest


def judge_sizes(rules: list[Rule], evidence: Evidence) -> Judgement:
    """Whether each gain that the paper names has that size here.

    A rule names a ``gain`` in points or a ``relative_gain``, in the average or on a ``dataset``. It holds when the 95 %
    interval of the gain lies above 0 and contains the paper's number as rounded there. It fails when the interval does
    not contain that number.
    """
    if not evidence.comparable:
        return Judgement(OTHER_DATA)
    parts = [_size(rule, evidence) for rule in rules]
    return Judgement(strictest(part.word for part in parts), ", ".join(part.detail for part in parts if part.detail))


def _size(rule: Rule, evidence: Evidence) -> Judgement:
    pairs = pairs_with_enough(rule, evidence)
    if isinstance(pairs, str):
        return Judgement(pairs)
    if relative := "relative_gain" in rule:
        gain, low, high = (100 * (end - 1) for end in ratio(pairs))
        claimed, half_a_digit, unit = 100 * rule["relative_gain"], 0.5, " %"
    else:
        gain, low, high = map(float, compare_averages(*sides(pairs))[:3])
        claimed, half_a_digit, unit = rule["gain"], 0.05, ""
    detail = f"{gain:+.1f}{unit} [{low:+.1f}, {high:+.1f}], claimed {claimed:+.{0 if relative else 1}f}{unit}"
    detail += f" on {rule['dataset']}" if "dataset" in rule else over_fewer(len(pairs))
    if not low - half_a_digit <= claimed <= high + half_a_digit:
        return Judgement(FAILS, detail)
    return Judgement(HOLDS if low > 0 else UNDECIDED, detail)


def pairs_with_enough(rule: Rule, evidence: Evidence) -> pd.DataFrame | str:
    """The cells of the arm and of its baseline on the data sets that have enough of both, or why there is none."""
    baseline = evidence.baseline_of(rule["table"], rule["arm"], rule["baseline"])
    pairs = pairs_of(rule, rule["arm"], baseline, evidence)
    if "dataset" in rule:
        pairs = pairs[pairs["dataset"] == rule["dataset"]]
    enough = pairs[pairs[["n", "baseline_n"]].min(axis=1) >= MINIMUM_SEEDS]
    if enough.empty:
        return NO_RUNS if pairs.empty else NOT_ENOUGH_RUNS
    return enough
