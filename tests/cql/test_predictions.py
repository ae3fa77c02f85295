import numpy as np
import pytest

from synthlib.cql import predictions as module
from synthlib.cql.predictions import predictions
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.generators.centroids import centroids, learned
from synthlib.generators.mdp import MDPConfig

CONFIG = CriticPretrainingConfig(5, 3, MDPConfig(states=6, trajectories=20), hidden=(64, 64))


def test_predictions_are_those_of_the_critic_in_training(monkeypatch):
    training = CriticPretraining(CONFIG)
    training.run(20)
    monkeypatch.setattr(module, "_AT_ONCE", 7)
    rows = np.arange(50)
    states, actions, _ = training.batch(rows)
    pairs = training.transitions.observations[rows] * 6 + training.transitions.actions[rows]
    for name, critic in (("q1", training.q1), ("q2", training.q2)):
        found = predictions(CONFIG, training.critics()[name], pairs)
        assert found.dtype == np.float64 and found.shape == (50, 5)
        np.testing.assert_allclose(found, critic.predict(states, actions).detach(), rtol=1e-5, atol=1e-7)


def test_a_critic_comes_near_the_centroids_of_a_small_mdp():
    """Paper 4.3: with 36 pairs and 20,000 transitions, the optimum is the empirical centroids."""
    training = CriticPretraining(CONFIG)
    found = centroids(CONFIG.mdp, training.transitions, training.state_table)
    before = learned(predictions(CONFIG, training.critics()["q1"], found.pairs), found)
    training.run(2000)
    after = learned(predictions(CONFIG, training.critics()["q1"], found.pairs), found)
    assert abs(before.structure) < 0.05 and after.structure > 0.3
    assert after.error_to_empirical < before.error_to_empirical / 3


def test_weights_of_another_network_are_refused():
    weights = CriticPretraining(CONFIG).critics()["q1"]
    other = CriticPretrainingConfig(5, 3, CONFIG.mdp, hidden=(32, 32))
    with pytest.raises(ValueError, match="this critic: trunk"):
        predictions(other, weights, np.arange(3))
