"""A reader's predictions, written down before a page gives the answer away, and compared with it at the end.

A guess is a number or a word; None stands for a question that was left open.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

if TYPE_CHECKING:
    from synthlib.report.report import Report

Guesses: TypeAlias = Mapping[str, float | str | None]
Pair: TypeAlias = tuple[str, str]
"""An arm, and the arm that it is held against."""
Interval: TypeAlias = tuple[float, float, float]
"""An estimate and the ends of its 95 % interval."""
Answer: TypeAlias = float | str | Interval
UNKNOWN = "these runs cannot say"


def compared(guesses: Guesses, answers: Mapping[str, Answer]) -> pd.DataFrame:
    """A row per question: the guess, the answer, and how many times too large or too small the guess is.

    A guess is right in the answer's interval, where it has one. An answer of NaN, or an empty one, is not known.
    Raises ValueError when the questions are not the same.
    """
    _check(guesses, answers)
    return _table({question: _compared(guesses[question], answer) for question, answer in answers.items()})


def compared_with_runs(guesses: Guesses, report: Report, asked: Mapping[str, Pair | Answer]) -> pd.DataFrame:
    """As :func:`compared`, where an answer may be the difference between two arms in the average over data sets.

    ``asked``: {question: a pair of arms, or the answer itself}, with the questions of ``guesses``; every arm must be
    compared with the other in :attr:`~synthlib.report.report.Report.comparisons`. Where these runs cannot say, the
    answer says so.
    """
    _check(guesses, asked)
    rows = {}
    for question, answer in asked.items():
        is_pair = isinstance(answer, tuple) and len(answer) == 2
        rows[question] = (_of_pair if is_pair else _compared)(guesses[question], answer, report)
    return _table(rows)


def first_and_last_gain(means: pd.DataFrame, pair: Pair) -> tuple[float, float]:
    """``pair``'s difference at the first and at the last point of a curve; NaN where an arm has no run.

    With one point only, that is the last one. ``means``: a row per arm, a column per point.
    """
    arm, baseline = pair
    if not {arm, baseline} <= set(means.index):
        return math.nan, math.nan
    gains = (means.loc[arm] - means.loc[baseline]).sort_index()
    return float(gains.iloc[0]) if len(gains) > 1 else math.nan, float(gains.iloc[-1])


def _check(guesses: Guesses, questions: Iterable[str]) -> None:
    if list(guesses) != list(questions):
        raise ValueError(f"the questions are {list(questions)}, not {list(guesses)}: change the guesses only")


def _table(rows: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index")


def _row(guess: float | str | None, answer: str, judged: str) -> dict[str, str]:
    written = "none" if guess is None else guess if isinstance(guess, str) else f"{guess:,.4g}"
    return {"your guess": written, "answer": answer, "": judged}


def _compared(guess: float | str | None, answer: Any, report: Report | None = None) -> dict[str, str]:
    if isinstance(answer, tuple):
        return _of_interval(guess, answer)
    if answer == "" or (not isinstance(answer, str) and math.isnan(answer)):
        return _row(guess, UNKNOWN, "")
    if isinstance(answer, str):
        same = str(guess).strip().lower() == answer.lower()
        return _row(guess, answer, "" if guess is None else "right" if same else "another")
    return _row(guess, f"{answer:,.4g}", _judged(guess, answer))


def _judged(guess: float | str | None, answer: float) -> str:
    if guess is None:
        return ""
    if isinstance(guess, str):
        return "a number is asked for"
    if answer <= 0 or guess <= 0:
        return "right" if guess == answer else f"off by {abs(guess - answer):,.4g}"
    ratio = guess / answer
    if 0.9 <= ratio <= 1.1:
        return "right, within 10 %"
    return f"{ratio:,.2g} times too large" if ratio > 1 else f"{1 / ratio:,.2g} times too small"


def _of_pair(guess: float | str | None, pair: Any, report: Report) -> dict[str, str]:
    found = report.comparisons
    found = found[found["is_average"]].set_index(["arm", "baseline"])
    if pair not in found.index:
        return _row(guess, UNKNOWN, "")
    difference, low, high = (float(found.loc[pair, name]) for name in ("difference", "low", "high"))
    return _of_interval(guess, (difference, low, high), "+.1f", f", {found.loc[pair, 'verdict']}")


def _of_interval(guess: float | str | None, answer: Interval, form: str = ".1f", words: str = "") -> dict[str, str]:
    estimate, low, high = answer
    if math.isnan(low):
        return _row(guess, UNKNOWN, "")
    judged = ""
    if isinstance(guess, str):
        judged = "a number is asked for"
    elif guess is not None:
        judged = "in the interval" if low <= guess <= high else "too high" if guess > high else "too low"
        guess = f"{guess:{form}}"
    return _row(guess, f"{estimate:{form}} [{low:{form}}, {high:{form}}]{words}", judged)
