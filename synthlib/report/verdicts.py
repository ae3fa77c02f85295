"""The declared rules that turn numbers into words: verdicts on two arms, and answers to the paper's claims.

Seeds are independent samples (Welch); arms that share their batches are known rather better than that, never worse.
Two questions are asked at level 0.05. Is there a difference (two-sided)? Is it smaller than a margin declared
beforehand (two one-sided tests, TOST)? Over the data sets both are corrected after Holm: the chance of any wrong word
in a column is at most 0.05. The average row is one question and is not corrected. The tests simulate these error rates.

No rule here can know about pre-training: every arm of the paper has ONE pre-trained file, so these are statements about
fine-tuning seeds.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from synthlib.paper import AVERAGE_ROWS

LEVEL = 0.05
MINIMUM_SEEDS = 3


class Margin(NamedTuple):
    """The difference that counts as small: in the average over data sets, and on one data set."""

    average: float
    cell: float
    unit: str


# Scores: the paper's gains are 5.9 (DT) and 6.9 (CQL) points in the average; a margin of less than half of them cannot
# hide them. The mean of a cell varies more, so its margin is wider. Training losses: in the authors' runs DT+Synthetic
# ends 2.1 per cent below its control, by the same reasoning.
SCORE_MARGIN = Margin(2.5, 5.0, "points")
LOSS_MARGIN = Margin(1.0, 2.0, "per cent")
AVERAGE_MARGIN, CELL_MARGIN, _ = SCORE_MARGIN

EQUAL = "equal to the digit"
DIGITS_DIFFER = "digits differ"
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


# What each word says, for the glossary and the legends; "2.5" stands for the margin of the comparison.
MEANINGS = {
    HIGHER: "the difference is shown to be above 0, and may be larger than the margin",
    "higher, by less than 2.5": "the difference is shown to be above 0, and shown to be smaller than the margin: it is "
    "there, and it is small",
    "within 2.5": "the difference is shown to be smaller than the margin, and not shown to be there at all",
    "lower, by less than 2.5": "the difference is shown to be below 0, and shown to be smaller than the margin",
    LOWER: "the difference is shown to be below 0, and may be larger than the margin",
    UNDECIDED: "neither is shown: there may be no difference, or one larger than the margin",
    NOT_ENOUGH_RUNS: f"fewer than {MINIMUM_SEEDS} seeds on one of the two sides",
    HOLDS: "all comparisons that the claim makes come out as it says",
    AMONG_BEST: "the claim says best; the arm is within the margin of every other arm, but not shown to be above them",
    FAILS: "a comparison that the claim makes is shown to come out otherwise",
    NO_RUNS: "a run that the claim needs is not there yet",
}


def margin_of(metric: str) -> Margin:
    """The margin of an artefact's metric: "loss" has one of its own, every other metric that of scores."""
    return LOSS_MARGIN if metric == "loss" else SCORE_MARGIN


def verdict(
    difference: float,
    p_different: float,
    p_equivalent: float,
    n: float,
    margin: float = AVERAGE_MARGIN,
    level: float = LEVEL,
) -> str:
    """The words for one comparison; the p-values are corrected already, ``n`` is the smaller number of seeds.

    Two questions have two answers. Is the difference shown to be there: "higher" or "lower". Is it shown to be smaller
    than ``margin``: "within 2.5". Both: "higher, by less than 2.5". Neither: "undecided". Fewer than three seeds: "not
    enough runs".
    """
    if not n >= MINIMUM_SEEDS or np.isnan(difference):
        return NOT_ENOUGH_RUNS
    small = p_equivalent < level
    if p_different < level:
        word = HIGHER if difference > 0 else LOWER
        return f"{word}, by less than {margin:g}" if small else word
    return f"within {margin:g}" if small else UNDECIDED


def is_shown(word: str, direction: str) -> bool:
    """Whether a word of :func:`verdict` says that the difference has this ``direction`` (:data:`HIGHER`, ...)."""
    return word.split(",")[0] == direction


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
