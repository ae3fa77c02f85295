"""A reader's predictions, written down before a page gives the answer away, and compared with it at the end."""

from collections.abc import Mapping

import pandas as pd

Guesses = Mapping[str, float | None]


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
