import math

import numpy as np
import pytest

from synthlib.generators.centroids import (
    centroids,
    exact_centroids,
    expected_spread,
    learned,
    row_numbers,
    spread,
    variance,
)
from synthlib.generators.mdp import IndexTransitions, MDPConfig, generate, transition_probabilities, vectors
from synthlib.kernels.twins import best

DEFAULT = MDPConfig()
IID = MDPConfig(kind="iid")
INDEPENDENT = MDPConfig(rows="independent")
HOT, COLD = (MDPConfig(policy_temperature=t, transition_temperature=t) for t in (10.0, 0.01))


def made(config, width=17):
    return config, best(generate, config)(config), vectors(config, width, 6)[0]


@pytest.mark.parametrize(
    ("config", "empirical", "exact", "pairs", "distinct"),
    [
        (DEFAULT, 0.00371, 0.00028, 10_000, 1_444),
        (IID, 0.00343, 0.0, 10_000, 1),
        (INDEPENDENT, 0.00368, 0.00028, 10_000, 10_000),
        (COLD, 0.15151, 0.15135, 1_021, 680),
    ],
)
def test_the_spread_of_the_paper_s_data(config, empirical, exact, pairs, distinct):
    """Halfcheetah's vectors, a million transitions: most of the MDP's spread is sampling noise."""
    found = spread(centroids(*made(config)))
    assert found.total == pytest.approx(0.3425, abs=1e-3)
    assert found.empirical == pytest.approx(empirical, abs=5e-6)
    assert found.exact == pytest.approx(exact, abs=5e-6)
    assert (found.pairs, found.distinct) == (pairs, distinct)


def test_shared_rows_are_shared_centroids():
    pairs, (_, _, table) = np.arange(10_000), made(DEFAULT)
    assert len(np.unique(exact_centroids(DEFAULT, pairs, table).round(9), axis=0)) == 1_444
    assert len(np.unique(exact_centroids(INDEPENDENT, pairs, table).round(9), axis=0)) == 10_000
    assert not row_numbers(IID, pairs).any()
    assert not row_numbers(MDPConfig(transition_temperature=math.inf), pairs).any()


def test_centroids_are_means_of_the_vectors_that_follow():
    config = MDPConfig(states=3, actions=2, trajectories=2, length=3)
    transitions = IndexTransitions(*map(np.array, ([0, 0, 2, 0], [1, 1, 0, 1], [1, 2, 2, 2])))
    table = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 6.0]])
    found = centroids(config, transitions, table)
    assert found.pairs.tolist() == [1, 4] and found.visits.tolist() == [3, 1]
    np.testing.assert_allclose(found.empirical, [[1, 4], [0, 6]])
    row = transition_probabilities(config, 0, 1).astype(float)
    np.testing.assert_allclose(found.exact[0], row @ table / row.sum())
    # Three visits at (1, 4), one at (0, 6): their means are (0.75, 4.5), so the variances are 3/16 and 12/16.
    assert variance(found.empirical, found.visits) == pytest.approx((3 / 16 + 12 / 16) / 2)


def test_no_other_prediction_has_a_smaller_error_than_the_empirical_centroids():
    """The paper's argument: J is least at the centroids, and there it is the total variance minus their spread."""
    config, transitions, table = made(MDPConfig(states=20, trajectories=40))
    found, following = centroids(config, transitions, table), table.astype(float)[transitions.next_observations]
    place = np.searchsorted(found.pairs, transitions.observations * config.actions + transitions.actions)

    def error(predictions):
        return ((predictions[place] - following) ** 2).mean()

    least = error(found.empirical)
    assert least == pytest.approx(following.var(axis=0).mean() - variance(found.empirical, found.visits))
    assert least < error(found.exact) < error(np.full_like(found.exact, following.mean(axis=0)))
    assert least < error(found.empirical + 0.01)


@pytest.mark.parametrize("config", [DEFAULT, IID, HOT, INDEPENDENT, MDPConfig(trajectories=100), MDPConfig(states=10)])
def test_the_formula_is_near(config):
    found = spread(centroids(*made(config)))
    exact, noise = expected_spread(config, config.trajectories * config.length, found.pairs, found.total)
    assert exact == pytest.approx(found.exact, rel=0.05, abs=1e-9)
    assert noise == pytest.approx(found.noise, rel=0.05)


def test_what_predictions_have_learned():
    found = centroids(*made(DEFAULT))
    noise, mean = found.empirical - found.exact, np.average(found.exact, axis=0, weights=found.visits)
    half = learned(mean + 0.5 * (found.exact - mean) + 0.25 * noise, found)
    assert half.structure == pytest.approx(0.5, abs=1e-3) and half.noise == pytest.approx(0.25, abs=1e-3)
    whole = learned(found.empirical, found)
    assert whole.structure == pytest.approx(1) and whole.noise == pytest.approx(1)
    assert whole.error_to_empirical == 0 and whole.error_to_exact == pytest.approx(variance(noise, found.visits), 1e-3)
    nothing = learned(np.broadcast_to(mean, found.exact.shape), found)
    assert nothing.variance == pytest.approx(0) and nothing.structure == pytest.approx(0)
    assert nothing.error_to_exact == pytest.approx(variance(found.exact, found.visits))


def test_iid_data_have_no_structure_to_learn():
    found = centroids(*made(IID))
    result = learned(0.1 * found.empirical, found)
    assert math.isnan(result.structure) and result.noise == pytest.approx(0.1)


def test_other_kinds_have_no_next_state():
    with pytest.raises(ValueError, match="not 'mapping'"):
        centroids(*made(MDPConfig(kind="mapping", states=10)))
