"""Critics pre-trained on generated transitions, vectors or numbers: a minibatch is what the generator said."""

import numpy as np
import pytest
import torch

from synthlib.cql.jobs import start_pretraining
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig, config_of, identity_of
from synthlib.cql.pretraining_fast import FastCriticPretraining
from synthlib.generators.drawn import transitions
from synthlib.generators.registry import generate
from synthlib.runs.job import Job
from tests.common import SMOOTH

DATA = SMOOTH
CONFIG = CriticPretrainingConfig(5, 3, DATA, hidden=(16, 16), batch_size=32)


def test_a_minibatch_of_vectors_has_the_rows_that_the_generator_returned(outputs):
    made = generate(DATA, 5, 3)
    data, tables = transitions(DATA, 5, 3)
    training = CriticPretraining(CONFIG, data, tables=tables)
    rows = np.array([0, 7, 499])
    for column, wanted in zip(training.batch(rows), made, strict=True):
        assert np.array_equal(column.numpy(), wanted[rows])


def test_both_versions_train_alike(outputs):
    data, tables = transitions(DATA, 5, 3)
    both = [one(CONFIG, data, dtype=torch.float64, tables=tables) for one in (CriticPretraining, FastCriticPretraining)]
    for one in both:
        one.run(100)
    first, second = (one.losses[-1] for one in both)
    assert first["qf1_loss"] == pytest.approx(second["qf1_loss"], rel=1e-9)
    weights = [one.critics()["q1"] for one in both]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-9) for name in weights[0])


def test_a_job_starts_from_its_identity_and_critics_learn_what_is_there_to_learn(outputs):
    assert config_of(identity_of(CONFIG)).mdp == DATA
    training = start_pretraining(Job("critic_pretraining", identity_of(CONFIG), 2000))
    training.run(2000)
    variance = generate(DATA, 5, 3).next_observations.var(axis=0).mean()
    assert training.losses[-1]["qf1_loss"] < 0.35 * variance  # one answer for all pairs has all of it
