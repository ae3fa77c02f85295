import numpy as np
import pytest

from synthlib.offline.datasets import load
from synthlib.replica.cloning import clone, evaluate_clone
from synthlib.replica.collection import collect
from tests.common import random_policy, write_episodes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_episodes(folder, collect(random_policy(), size=2000, seed=0, processes=1), whole=False)
    return load("hopper-medium", f"path:{folder}")


def test_a_clone_learns_the_policy_behind_the_noise(data):
    cloned = clone(data, updates=600, hidden=32)
    policy = random_policy()
    intended = np.array([policy.act(observation.astype(float)) for observation in data.observations])
    error = np.square(cloned.act(data.observations) - intended).mean()
    assert error < 0.1 * np.square(intended - intended.mean(0)).mean()
    assert cloned.losses[-50:].mean() == pytest.approx(np.square(data.actions - intended).mean(), rel=0.3)
    assert evaluate_clone(cloned, data, episodes=3).lengths.min() > 10


def test_cloning_is_repeatable(data):
    losses = [clone(data, updates=5, hidden=8, seed=1).losses for _ in range(2)]
    np.testing.assert_array_equal(*losses)
