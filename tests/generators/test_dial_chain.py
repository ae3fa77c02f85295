"""The chain with a dial has the information that it says."""

import math

import numpy as np
import pytest

from synthlib.generators.dial_chain import dial_chain, mutual_information, probability, transition_matrix
from synthlib.generators.information import entropy, stationary
from synthlib.report.own_data import token_information


@pytest.mark.parametrize("nats", [0.0, 0.04, 0.5, 2.0, 4.0])
def test_the_transition_matrix_has_the_information_that_was_asked_for(nats):
    matrix = transition_matrix(nats)
    occupied = stationary(matrix)
    assert np.allclose(matrix.sum(axis=1), 1) and np.allclose(occupied, 0.01)
    assert float(entropy(occupied) - occupied @ entropy(matrix)) == pytest.approx(nats, abs=1e-9)


@pytest.mark.parametrize("nats", [0.0, 0.5, 2.0])
def test_a_sample_has_it_too_and_its_tokens_follow_the_matrix(nats):
    tokens = dial_chain(3, 400, 500, vocabulary=20, information=nats)
    found = token_information(tokens, 20)
    assert found["mutual information"] == pytest.approx(nats, abs=0.005)
    assert found["knows frequencies"] == pytest.approx(math.log(20), abs=0.005)
    pairs = np.bincount(tokens[:, :-1].ravel() * 20 + tokens[:, 1:].ravel(), minlength=400).reshape(20, 20)
    assert np.abs(pairs / pairs.sum(axis=1, keepdims=True) - transition_matrix(nats, 20)).max() < 0.02


def test_the_dial_ends_where_the_vocabulary_does():
    assert probability(0, 10) == 0 and mutual_information(1, 10) == pytest.approx(math.log(10))
    for nats in (-0.1, 2.4):
        with pytest.raises(ValueError, match=r"information must lie from 0 to ln 10 = 2\.303 nat, not"):
            dial_chain(0, 1, 4, vocabulary=10, information=nats)


def test_another_permutation_is_another_chain_and_another_seed_other_tokens():
    first, again, other = (dial_chain(seed, 2, 50, information=4.0) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert not np.array_equal(transition_matrix(1.0), transition_matrix(1.0, permutation=1))
