"""The declared rules that turn numbers into words: verdicts on two arms, and answers to the paper's claims.

Seeds are independent samples (Welch); arms that share their batches are known rather better than that, never worse.
Two questions are asked at level 0.05. Is there a difference (two-sided)? Is it smaller than a margin declared
beforehand (two one-sided tests, TOST)? Over the data sets both are corrected after Holm: the chance of any wrong word
in a column is at most 0.05. The average row is one question and is not corrected. The tests simulate these error rates.

No rule here can know about pre-training: every arm of the paper has ONE pre-trained file, so these are statements about
fine-tuning seeds.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from synthlib.paper import AVERAGE_ROWS

LEVEL = 0.05
MINIMUM_SEEDS = 3
# Points of normalised score. The paper's gains are 5.9 (DT) and 6.9 (CQL) in the average: a margin of less than half
# of them cannot hide them. The mean of a cell varies more, so its margin is wider.
CELL_MARGIN = 5.0
AVERAGE_MARGIN = 2.5

EQUAL = "equal to the digit"
DIGITS_DIFFER = "digits differ"
AGREES = "agrees"
HIGHER = "higher"
LOWER = "lower"
UNDECIDED = "undecided"
NOT_ENOUGH_RUNS = "not enough runs"
REPLICA = "replica data, not comparable"
OWN_DATA = "own data, not comparable"
REDUCED = "smaller runs, not comparable"
NOT_COMPARABLE = {"replica": REPLICA, "path": OWN_DATA, "reduced": REDUCED}
HOLDS = "holds"
AMONG_BEST = "among the best"
FAILS = "fails"
NO_RUNS = "no runs"
ANSWERS = (FAILS, NO_RUNS, NOT_ENOUGH_RUNS, UNDECIDED, AMONG_BEST, HOLDS)  # to a claim, the strictest first
AVERAGE = AVERAGE_ROWS[0]  # the label of an average row; code asks for its column ``is_average``


def verdict(difference: float, p_different: float, p_equivalent: float, n: float, level: float = LEVEL) -> str:
    """The word for one comparison; the p-values are corrected already, ``n`` is the smaller number of seeds.

    Fewer than three seeds: "not enough runs". The difference is shown to be smaller than the margin: "agrees", even
    when it is also shown to be there. Otherwise it is shown to be there: "higher" or "lower". Neither: "undecided".
    """
    if not n >= MINIMUM_SEEDS or np.isnan(difference):
        return NOT_ENOUGH_RUNS
    if p_equivalent < level:
        return AGREES
    if p_different < level:
        return HIGHER if difference > 0 else LOWER
    return UNDECIDED


def same_digits(mean: float, std: float, paper_mean: float, paper_std: float) -> str:
    """The word for the authors' own runs, from which the paper was printed: equal when both numbers round to the
    printed tenth."""
    close = abs(mean - paper_mean) <= 0.05 + 1e-9 and abs(std - paper_std) <= 0.05 + 1e-9
    return EQUAL if close else DIGITS_DIFFER


def claim_answer(row: Any, margin: float, level: float = LEVEL) -> str:
    """The word for one comparison of a claim.

    ``row``: an object with the attributes must, difference, low, high, p_different, p_equivalent and verdict.

    "higher" holds when the 95 % interval lies above 0. It fails when the arm is shown to be lower, or is shown to
    differ by less than the margin. "not lower" holds when the interval lies above minus the margin, and fails when the
    arm is shown to be lower. "not higher" is its mirror. "best" holds when the interval lies above 0, is "among the
    best" when it lies above minus the margin, and fails when the arm is shown to be lower. "equal" holds when the
    difference is shown to be smaller than the margin, and fails when the interval lies beyond the margin. Otherwise the
    answer is "undecided".
    """
    if row.verdict == NOT_ENOUGH_RUNS:
        return NOT_ENOUGH_RUNS
    if row.must == "equal":
        beyond = row.low > margin or row.high < -margin
        return HOLDS if row.p_equivalent < level else FAILS if beyond else UNDECIDED
    sign = -1 if row.must == "not higher" else 1
    worst = row.low if sign > 0 else -row.high
    if worst > (0 if row.must in ("higher", "best") else -margin):
        return HOLDS
    if row.must == "best" and worst > -margin:
        return AMONG_BEST
    shown_otherwise = row.p_different < level and sign * row.difference < 0
    if shown_otherwise or (row.must == "higher" and row.p_equivalent < level):
        return FAILS
    return UNDECIDED


def strictest(answers: Iterable[str]) -> str:
    """One word of :data:`ANSWERS` for several comparisons that must all hold; without any comparison "no runs"."""
    return min(answers, key=ANSWERS.index, default=NO_RUNS)
