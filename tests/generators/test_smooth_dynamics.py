"""The smooth dynamics are what their formula says, and noise decides how far their centroids lie apart."""

import numpy as np
import pytest

from synthlib.generators.checked import VectorTransitions
from synthlib.generators.smooth_dynamics import TRAJECTORY, centroids, dynamics, explained, smooth_dynamics
from synthlib.report.own_data import explained_share


def test_next_observations_scatter_around_their_centroids():
    observations, actions, following = smooth_dynamics(0, 2500, 6, 2, noise=0.2)
    assert [one.shape for one in (observations, actions, following)] == [(2500, 6), (2500, 2), (2500, 6)]
    off = following - centroids(observations, actions, *dynamics(6, 2))
    assert off.std() == pytest.approx(0.2, rel=0.02) and abs(off.mean()) < 0.01
    assert actions.min() >= -1 and actions.max() < 1


def test_trajectories_stand_one_after_the_other():
    observations, _, following = smooth_dynamics(0, 2500, 4, 2)
    goes_on = np.all(observations[1:] == following[:-1], axis=1)
    assert np.flatnonzero(~goes_on).tolist() == [TRAJECTORY - 1, 2 * TRAJECTORY - 1]


def test_noise_decides_what_observation_and_action_explain():
    shares = [explained(noise=noise) for noise in (0.1, 1.0, 3.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.97 and 0.3 < shares[1] < 0.5 and shares[2] < 0.12
    # What nearest neighbours find is less, in as many dimensions, and falls too.
    found = [explained_share(VectorTransitions(*smooth_dynamics(0, 5000, 3, 1, noise=noise))) for noise in (0.1, 1.0)]
    assert 0.9 < found[0] < 1 and found[1] < found[0] - 0.2


def test_neighbours_have_neighbouring_centroids():
    a, b = dynamics(5, 2)
    draw = np.random.default_rng(0)
    states, actions = draw.normal(size=(100, 5)), draw.uniform(-1, 1, (100, 2))
    step = 1e-3 * draw.normal(size=states.shape)
    moved = centroids(states + step, actions, a, b) - centroids(states, actions, a, b)
    assert np.linalg.norm(moved, axis=1).max() <= 1.5 * np.linalg.norm(step, axis=1).max() + 1e-12
