"""The declared rules, word by word."""

import numpy as np
import pytest

from synthlib.report.verdicts import (
    AGREES,
    DIGITS_DIFFER,
    EQUAL,
    HIGHER,
    LOWER,
    NOT_ENOUGH_RUNS,
    UNDECIDED,
    same_digits,
    verdict,
)


@pytest.mark.parametrize(
    ("difference", "p_different", "p_equivalent", "n", "word"),
    [
        (1.0, 0.001, 0.001, 20, AGREES),  # there, but smaller than the margin
        (0.1, 0.9, 0.001, 20, AGREES),
        (9.0, 0.001, 0.9, 20, HIGHER),
        (-9.0, 0.001, 0.9, 20, LOWER),
        (9.0, 0.2, 0.9, 20, UNDECIDED),
        (9.0, 0.001, 0.9, 2, NOT_ENOUGH_RUNS),
        (np.nan, np.nan, np.nan, 20, NOT_ENOUGH_RUNS),
        (1.0, 0.9, 0.9, np.nan, NOT_ENOUGH_RUNS),
    ],
)
def test_each_word_has_its_rule(difference, p_different, p_equivalent, n, word):
    assert verdict(difference, p_different, p_equivalent, n) == word


def test_digits_are_compared_at_the_printed_tenth():
    assert same_digits(44.85, 3.449, 44.9, 3.4) == EQUAL
    assert same_digits(44.84, 3.4, 44.9, 3.4) == DIGITS_DIFFER
    assert same_digits(44.9, 3.46, 44.9, 3.4) == DIGITS_DIFFER
