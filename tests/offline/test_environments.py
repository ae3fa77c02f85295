import numpy as np
import pytest

from synthlib.offline.environments import make_environment
from synthlib.tasks import DIMENSIONS, ENVIRONMENTS, normalised_score, pad_observation, physics_version


def old_capsule_mass(radius, length):
    """Mass of a capsule as MuJoCo before 2.1.2 computed it: a cylinder of length L + r, density 1000."""
    return 1000 * np.pi * radius**2 * (length + radius)


def test_hopper_weighs_what_it_did_in_d4rls_time():
    # Radii and lengths of torso, thigh, leg and foot in hopper.xml.
    expected = [old_capsule_mass(*size) for size in [(0.05, 0.4), (0.05, 0.45), (0.04, 0.5), (0.06, 0.39)]]
    masses = make_environment("hopper").unwrapped.model.body_mass[1:]
    np.testing.assert_allclose(masses, expected, rtol=1e-6)
    stock = make_environment("hopper", masses="stock").unwrapped.model.body_mass[1:]
    assert 0.5 < stock.sum() - masses.sum() < 0.6


def test_masses_decide_the_motion_and_are_named_in_the_version():
    def third_position(masses):
        env = make_environment("walker2d", masses=masses)
        env.reset(seed=1)
        for _ in range(30):
            observation = env.step(np.full(6, 0.3))[0]
        return observation

    assert not np.allclose(third_position("d4rl"), third_position("stock"), atol=1e-4)
    assert physics_version("walker2d")["masses"] == "d4rl"
    assert physics_version("walker2d", "stock")["masses"] == "stock"
    assert physics_version("ant")["masses"] == physics_version("ant", "stock")["masses"]
    assert physics_version("ant")["mujoco"] == "3.3.7"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_widths_are_those_of_the_d4rl_files(environment):
    env = make_environment(environment)
    observation, _ = env.reset(seed=0)
    padded = pad_observation(environment, observation[None])
    assert (padded.shape[1], env.action_space.shape[0]) == DIMENSIONS[environment]
    np.testing.assert_array_equal(padded[0, : len(observation)], observation)
    assert not padded[0, len(observation) :].any()
    assert env.action_space.low.min() == -1 and env.action_space.high.max() == 1


def test_a_reset_environment_repeats_itself():
    env = make_environment("ant")
    first = [env.reset(seed=3)[0], *[env.step(np.full(8, 0.5))[0] for _ in range(50)]]
    second = [env.reset(seed=3)[0], *[env.step(np.full(8, 0.5))[0] for _ in range(50)]]
    np.testing.assert_array_equal(first, second)


def test_scores_are_0_and_100_at_table_17s_returns():
    assert normalised_score("hopper", -20.272305) == 0
    assert normalised_score("hopper", 3234.3) == pytest.approx(100)
    np.testing.assert_allclose(normalised_score("ant", [-325.6, 3879.7]), [0, 100])


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"unknown environment 'humanoid'; known: halfcheetah"):
        make_environment("humanoid")
    with pytest.raises(ValueError, match="unknown mass set 'heavy'; known: d4rl, stock"):
        make_environment("hopper", masses="heavy")
    with pytest.raises(ValueError, match="hopper observations have width 11, not 9"):
        pad_observation("hopper", np.zeros((2, 9)))
