"""What a claim of the paper gets from one set of runs: a word and the numbers that decided it, or a reason for no word.

The words are those of :mod:`synthlib.report.verdicts`. A reason stands where these runs cannot bear on a claim, so that
no place on the board is empty.
"""

from collections.abc import Iterable
from typing import NamedTuple

from synthlib.report.verdicts import ANSWERS, FAILS, NO_RUNS, NOT_ENOUGH_RUNS, strictest
from synthlib.tasks import DATASETS

DRAWN = "only drawn"
NOT_PRINTED = "not printed"
NO_CQL = "no CQL logs"
NOT_LOGGED = "not logged"
OTHER_BASELINE = "other baseline"
OTHER_DATA = "other data"
OTHER_MACHINE = "other machine"
NO_TOTALS = "no equal totals"
REASONS = {
    DRAWN: "the paper draws it and prints no number",
    NOT_PRINTED: "no table of the paper shows it",
    NO_CQL: "the authors published no CQL run",
    NOT_LOGGED: "the authors' logs do not have it",
    OTHER_BASELINE: "the claim does not set a pre-trained arm against the published baseline",
    OTHER_DATA: "the claim is a size, and these runs are on other data or shorter than the paper's",
    OTHER_MACHINE: "the claim is a wall time on one GPU",
    NO_TOTALS: "at equal totals of updates nothing is compared: pre-training is another share of these runs than "
    "in the paper, or they are too short",
    NO_RUNS: "a run that the claim needs is not there yet",
    NOT_ENOUGH_RUNS: "fewer than three seeds",
}
_SHOWN = 3  # comparisons named behind a word


class Judgement(NamedTuple):
    """``word``: one of ``verdicts.ANSWERS`` or a key of :data:`REASONS`. ``detail``: the numbers behind it."""

    word: str
    detail: str = ""


def over_fewer(datasets: int, wanted: int = len(DATASETS)) -> str:
    """E.g. ", over 2 of 12 data sets"; empty where there are as many as wanted."""
    return "" if datasets == wanted else f", over {datasets} of {wanted} data sets"


def all_of(parts: Iterable[Judgement]) -> Judgement:
    """One judgement for comparisons that must all hold: the strictest, with the numbers that decide it.

    A failure decides. Otherwise a comparison that cannot be made leaves the claim without a word.
    """
    parts = list(parts)
    reasons = [part for part in parts if part.word not in ANSWERS]
    judged = [part for part in parts if part.word in ANSWERS]
    word = strictest(part.word for part in judged)
    if reasons and word != FAILS:
        return reasons[0]
    details = [part.detail for part in judged if part.word == word and part.detail]
    more = [f"and {len(details) - _SHOWN} more"] if len(details) > _SHOWN else []
    return Judgement(word, "; ".join([*details[:_SHOWN], *more]))


def combined(parts: Iterable[Judgement]) -> Judgement:
    """One judgement for the kinds of evidence that a claim has, such as a table and a curve.

    The strictest word of the kinds that these runs have. What the others lack is noted. Where there is none, the first
    reason is the judgement.
    """
    parts = list(parts)
    there = [part for part in parts if part.word in ANSWERS and part.word != NO_RUNS]
    if not there:
        return next((part for part in parts if part.word == NO_RUNS), parts[0])
    details = [part.detail if part in there else f"not judged: {part.detail or REASONS[part.word]}" for part in parts]
    return Judgement(strictest(part.word for part in there), "; ".join(filter(None, details)))
