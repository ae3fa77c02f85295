import numpy as np
import pytest

from synthlib.generators.information import (
    entropy,
    information,
    learnable_with_many_states,
    mdp_information,
    mdp_tables,
    mean_row_entropy,
    stationary,
)
from synthlib.generators.markov_chain import ChainConfig
from synthlib.generators.mdp import MDPConfig, generate, transition_probabilities
from synthlib.kernels.twins import best


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ChainConfig(temperature=0.01), (1.019, 4.218, 3.199)),
        (ChainConfig(temperature=0.1), (3.311, 4.586, 1.275)),
        (ChainConfig(), (4.565, 4.605, 0.040)),
        (ChainConfig(temperature=10.0), (4.605, 4.605, 0.0004)),
        (ChainConfig(temperature=100.0), (4.605, 4.605, 0.0)),
        (ChainConfig(states=10), (2.264, 2.296, 0.032)),
        (ChainConfig(states=1000), (6.867, 6.908, 0.041)),
    ],
)
def test_information_of_the_paper_s_chains(config, expected):
    """Faithfulness 1.10, in nats."""
    np.testing.assert_allclose(information(config), expected, atol=5.1e-4)


def test_the_older_generators_chain_has_more_to_learn():
    """Faithfulness 1.11: 0.071 nats, entropy rate 4.47, of random numbers that are not known; here eight draws."""
    found = np.array([information(ChainConfig(rows="legacy", seed=seed)) for seed in range(8)])
    rate, _, mutual = found.mean(axis=0)
    assert rate == pytest.approx(4.47, abs=0.02) and mutual == pytest.approx(0.071, abs=0.01)
    assert (found[:, 2] > information(ChainConfig()).mutual_information).all()


@pytest.mark.parametrize(("states", "expected", "count"), [(10_000, 9.170, 50), (100_000, 11.472, 10)])
def test_row_entropy_of_large_chains(states, expected, count):
    """Faithfulness 1.10."""
    found = mean_row_entropy(ChainConfig(states=states), ([token] for token in range(count)))
    assert abs(found - expected) < 1e-3


@pytest.mark.parametrize("temperature", [0.001, 0.1, 1.0, 10.0, 1000.0])
def test_the_limit_of_many_states_is_an_integral(temperature):
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    weights = np.exp((u - 1) / temperature)
    weights /= weights.mean()
    expected = (weights * np.log(np.maximum(weights, 1e-300))).mean()
    assert learnable_with_many_states(temperature) == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_chains_of_other_orders_are_refused():
    with pytest.raises(ValueError, match="order 2"):
        information(ChainConfig(order=2))
    with pytest.raises(ValueError, match="not 'iid'"):
        mdp_information(MDPConfig(kind="iid"))


def test_the_stationary_distribution_is_left_as_it_is_by_a_step():
    matrix = np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.5], [0.5, 0.5, 0.0]])
    occupied = stationary(matrix)
    np.testing.assert_allclose(occupied @ matrix, occupied)
    assert occupied.sum() == pytest.approx(1)


def test_the_tables_of_an_mdp_are_its_rows():
    config = MDPConfig(states=7, actions=9)
    policy, transitions = mdp_tables(config)
    assert policy.shape == (7, 9) and transitions.shape == (7, 9, 7)
    np.testing.assert_allclose(transitions[6, 8], transition_probabilities(config, 6, 8), rtol=1e-6)
    uniform = mdp_tables(MDPConfig(states=3, transition_temperature=np.inf))[1]
    np.testing.assert_array_equal(uniform, np.full((3, 3, 3), 1 / 3))


@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_the_data_have_the_information_of_their_mdp(temperature):
    """A million transitions: the entropy of their states is that of the stationary distribution."""
    config = MDPConfig(policy_temperature=temperature, transition_temperature=temperature)
    found = mdp_information(config)
    visited = np.bincount(best(generate, config)(config).next_observations, minlength=100) / 1e6
    assert found.state_entropy == pytest.approx(entropy(visited), abs=1e-3)
    assert found.mutual_information == pytest.approx(found.state_entropy - found.next_state_entropy)
    assert 0 < found.next_state_entropy < found.state_entropy < np.log(100)
