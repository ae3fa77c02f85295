"""A reader's predictions, written down before a page gives the answer away, and compared with it at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd

if TYPE_CHECKING:
    from synthlib.report.report import Report

Guesses: TypeAlias = Mapping[str, float | None]


def compared(guesses: Guesses, answers: Mapping[str, float]) -> pd.DataFrame:
    """A row per question: the guess, the answer, and how many times too large or too small the guess is.

    A guess of None stands for a question that was left open. Raises ValueError when the questions are not the same.
    """
    if list(guesses) != list(answers):
        raise ValueError(f"the questions are {list(answers)}, not {list(guesses)}: change the guesses only")
    rows = {
        question: {
            "your guess": "none" if (guess := guesses[question]) is None else f"{guess:,.4g}",
            "answer": f"{answer:,.4g}",
            "": _judged(guess, answer),
        }
        for question, answer in answers.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _judged(guess: float | None, answer: float) -> str:
    if guess is None:
        return ""
    if answer == 0 or guess <= 0:
        return "right" if guess == answer else f"off by {abs(guess - answer):,.4g}"
    ratio = guess / answer
    if 0.9 <= ratio <= 1.1:
        return "right, within 10 %"
    return f"{ratio:,.2g} times too large" if ratio > 1 else f"{1 / ratio:,.2g} times too small"


def compared_with_runs(guesses: Guesses, report: Report, asked: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """As :func:`compared`, of differences between two arms in the average over data sets.

    ``asked``: {question: (arm, the arm that it is held against)}, with the questions of ``guesses``; every arm must be
    compared with the other in :attr:`~synthlib.report.report.Report.comparisons`. A guess is right when it lies in the
    95 % interval of the difference. Where these runs cannot say, the answer says so.
    """
    if list(guesses) != list(asked):
        raise ValueError(f"the questions are {list(asked)}, not {list(guesses)}: change the guesses only")
    found = report.comparisons
    found = found[found["is_average"]].set_index(["arm", "baseline"])
    rows = {}
    for question, pair in asked.items():
        guess = guesses[question]
        row = {"your guess": "none" if guess is None else f"{guess:+.1f}", "answer": "these runs cannot say", "": ""}
        if pair in found.index and pd.notna(found.loc[pair, "low"]):
            difference, low, high = (float(found.loc[pair, name]) for name in ("difference", "low", "high"))
            row["answer"] = f"{difference:+.1f} [{low:+.1f}, {high:+.1f}], {found.loc[pair, 'verdict']}"
            if guess is not None:
                row[""] = "in the interval" if low <= guess <= high else "too high" if guess > high else "too low"
        rows[question] = row
    return pd.DataFrame.from_dict(rows, orient="index")
