"""The robots, and what they weigh.

``golden/mujoco_210.npz`` holds what the real MuJoCo 2.1.0, which is inside the PyPI wheel pymujoco 0.0.4 (Python 3.6 to
3.10), makes of gymnasium's model files: the compiled inertials, and 40 physics steps of each robot. In 20 of
halfcheetah's steps the torso or the head touches the floor.
"""

import mujoco
import numpy as np
import pytest

from synthlib.offline.environments import make_environment, unwrapped_environment
from synthlib.tasks import (
    DIMENSIONS,
    ENVIRONMENTS,
    REPLICA_MASSES,
    normalised_score,
    pad_observation,
    physics_version,
)
from tests.common import golden


def tensors(axes, moments):
    """Inertia tensors (B, 3, 3) of bodies in their own frames: the order of the principal axes is MuJoCo's choice."""
    rotations = np.empty((len(axes), 9))
    for rotation, quaternion in zip(rotations, axes, strict=True):
        mujoco.mju_quat2Mat(rotation, quaternion)
    rotations = rotations.reshape(-1, 3, 3)
    return rotations * moments[:, None] @ rotations.transpose(0, 2, 1)


def physics_steps(model, before, controls):
    """The state (K, nq + nv) one physics step after each state in ``before`` (K, nq + nv)."""
    data, after = mujoco.MjData(model), []
    for state, control in zip(before, controls, strict=True):
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.qvel[:] = np.split(state, [model.nq])
        data.ctrl[:] = control
        mujoco.mj_step(model, data)
        after.append(np.concatenate([data.qpos, data.qvel]))
    return np.array(after)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_robots_weigh_what_they_did_in_d4rls_time(environment):
    old, model = golden("mujoco_210"), unwrapped_environment(environment, "d4rl").model
    np.testing.assert_allclose(model.body_mass, old[f"{environment}/body_mass"], rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(model.body_ipos, old[f"{environment}/body_ipos"], atol=1e-15)
    expected = tensors(old[f"{environment}/body_iquat"], old[f"{environment}/body_inertia"])
    np.testing.assert_allclose(tensors(model.body_iquat, model.body_inertia), expected, atol=1e-15)
    assert np.abs(unwrapped_environment(environment, "stock").model.body_mass - model.body_mass).max() > 1e-3


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_robots_move_as_they_did_in_d4rls_time(environment):
    before, controls, after = (golden("mujoco_210")[f"{environment}/{name}"] for name in ("before", "ctrl", "after"))
    model = unwrapped_environment(environment, "d4rl").model
    np.testing.assert_allclose(physics_steps(model, before, controls), after, atol=1e-11)
    today = unwrapped_environment(environment, "stock").model
    assert np.median(np.abs(physics_steps(today, before, controls) - after).max(axis=1)) > 1e-3


def test_a_head_that_is_dragged_along_the_floor_is_felt():
    """With MuJoCo's midphase, the floor no longer touches a torso whose centre of mass was moved."""
    steps = golden("mujoco_210")
    before, controls, after = (steps[f"halfcheetah/{name}"] for name in ("before", "ctrl", "after"))
    model = unwrapped_environment("halfcheetah", "d4rl").model
    model.opt.disableflags = 0
    wrong = np.abs(physics_steps(model, before, controls) - after).max(axis=1) > 1e-6
    assert np.count_nonzero(wrong) == 20, "these steps would not show the mistake"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_physics_of_the_replica_and_its_published_runs_are_as_they_were(environment):
    """Bit by bit: D4RL's masses by the rule of one capsule, or the model as gymnasium loads it."""
    model, loaded = (unwrapped_environment(environment, masses).model for masses in ("replica", "stock"))
    expected = {name: getattr(loaded, name).copy() for name in ("body_mass", "body_inertia", "body_ipos", "body_iquat")}
    if environment in ("hopper", "walker2d"):
        radius, half_length = loaded.geom_size[1:, :2].T  # of each body's one geom; the first is the floor
        height = 2 * half_length + radius
        mass = 1000.0 * np.pi * radius**2 * height
        expected["body_mass"][1:] = mass
        expected["body_inertia"][1:] = mass[:, None] * (3 * radius**2 + height**2)[:, None] / 12
        along = loaded.body_inertia[1:].argmin(axis=1)
        expected["body_inertia"][np.arange(1, loaded.nbody), along] = mass * radius**2 / 2
    assert model.opt.disableflags == loaded.opt.disableflags == 0
    for name, array in expected.items():
        np.testing.assert_array_equal(getattr(model, name), array, err_msg=name)


def test_masses_decide_the_motion_and_are_named_in_the_version():
    def third_position(masses):
        env = make_environment("walker2d", masses=masses)
        env.reset(seed=1)
        for _ in range(30):
            observation = env.step(np.full(6, 0.3))[0]
        return observation

    assert not np.allclose(third_position("d4rl"), third_position("stock"), atol=1e-4)
    for environment in ENVIRONMENTS:
        assert [physics_version(environment, masses)["masses"] for masses in ("d4rl", "stock")] == ["d4rl", "stock"]
        assert physics_version(environment, "replica")["masses"] == REPLICA_MASSES[environment]
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
    with pytest.raises(ValueError, match="unknown mass set 'heavy'; known: d4rl, stock, replica"):
        make_environment("hopper", masses="heavy")
    with pytest.raises(ValueError, match="hopper observations have width 11, not 9"):
        pad_observation("hopper", np.zeros((2, 9)))
