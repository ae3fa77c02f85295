"""The declared rules, word by word."""

import itertools

import numpy as np
import pytest

from synthlib.report.verdicts import (
    ANSWERS,
    DIGITS_DIFFER,
    EQUAL,
    HIGHER,
    LOSS_MARGIN,
    LOWER,
    MEANINGS,
    NOT_ENOUGH_RUNS,
    SCORE_MARGIN,
    UNDECIDED,
    is_shown,
    margin_of,
    same_digits,
    verdict,
)


@pytest.mark.parametrize(
    ("difference", "p_different", "p_equivalent", "n", "word"),
    [
        (1.0, 0.001, 0.001, 20, "higher, by less than 2.5"),  # two answers to two questions
        (-1.0, 0.001, 0.001, 20, "lower, by less than 2.5"),
        (0.1, 0.9, 0.001, 20, "within 2.5"),
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


def test_every_word_that_a_comparison_can_have_is_explained():
    words = {
        verdict(difference, *p_values, n) for difference in (-1, 1) for p_values in itertools.product((0, 1), repeat=2)
        for n in (2, 3)
    }  # fmt: skip
    assert len(words) == 7 and words | set(ANSWERS) == set(MEANINGS)


def test_a_word_knows_its_direction_and_its_margin():
    small = verdict(1.4, 0.001, 0.001, 20, LOSS_MARGIN.average)
    assert small == "higher, by less than 1"
    assert is_shown(small, HIGHER) and not is_shown(small, LOWER) and not is_shown("within 1", HIGHER)
    assert margin_of("loss") == LOSS_MARGIN and margin_of("final") == margin_of("best") == SCORE_MARGIN


def test_digits_are_compared_at_the_printed_tenth():
    assert same_digits(44.85, 3.449, 44.9, 3.4) == EQUAL
    assert same_digits(44.84, 3.4, 44.9, 3.4) == DIGITS_DIFFER
    assert same_digits(44.9, 3.46, 44.9, 3.4) == DIGITS_DIFFER
