"""Nested brackets are nested, and teach what the formula says."""

import numpy as np
import pytest

from synthlib.generators.brackets import brackets, losses
from synthlib.report.own_data import token_information


@pytest.mark.parametrize("opening, deepest", [(0.5, 8), (0.7, 3), (0.3, 1)])
def test_each_bracket_that_is_closed_is_the_last_one_that_was_opened(opening, deepest):
    reached = 0
    for sequence in brackets(3, 20, 200, vocabulary=10, opening=opening, deepest=deepest):
        opened = []
        for token in sequence:
            if token < 5:
                opened.append(token)
            else:
                assert token == opened.pop() + 5
            reached = max(reached, len(opened))
            assert len(opened) <= deepest
    assert reached == deepest


@pytest.mark.parametrize("opening, deepest", [(0.5, 8), (0.7, 3), (0.3, 5)])
def test_a_reader_of_the_last_token_learns_what_the_formula_says(opening, deepest):
    tokens = brackets(3, 400, 2000, vocabulary=10, opening=opening, deepest=deepest)
    found, exact = token_information(tokens, 10), losses(10, opening, deepest)
    assert found["knows frequencies"] == pytest.approx(exact.blind, abs=0.01)
    assert found["looks back one token"] == pytest.approx(exact.last_token, abs=0.01)


@pytest.mark.parametrize("opening, deepest", [(0.5, 8), (0.7, 3)])
def test_a_reader_of_all_open_brackets_has_the_entropy_rate(opening, deepest):
    """By the probability that the rule itself gives to each token of a sample."""
    tokens = brackets(3, 400, 2000, vocabulary=10, opening=opening, deepest=deepest)
    opens = tokens < 5
    depth = np.cumsum(np.where(opens, 1, -1), axis=1) - np.where(opens, 1, -1)
    chance = np.where(depth == 0, 1.0, np.where(depth == deepest, 0.0, opening))
    surprise = -np.log(np.where(opens, chance / 5, 1 - chance))
    assert surprise.mean() == pytest.approx(losses(10, opening, deepest).all_open, abs=0.01)


def test_at_most_one_open_bracket_leaves_only_the_kinds_to_guess():
    exact = losses(10, 0.5, 1)
    assert exact.last_token == exact.all_open == pytest.approx(np.log(5) / 2)


def test_equal_seeds_are_equal_brackets():
    first, again, other = (brackets(seed, 2, 50) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize(
    "numbers, message",
    [
        ({"vocabulary": 5}, "vocabulary must be even, two tokens for each kind of bracket, not 5"),
        ({"opening": 1.0}, r"opening must lie between 0 and 1, not 1\.0"),
        ({"deepest": 0}, "deepest must be at least 1, not 0"),
    ],
)
def test_numbers_that_make_no_brackets_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        brackets(0, 1, 4, **numbers)
