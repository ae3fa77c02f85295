"""Recorded steps are made again: the embedded ones, those that others recorded with MuJoCo 2.0, and strange ones."""

import shutil

import h5py
import numpy as np
import pytest

from synthlib.offline.hdf5 import DataFileError
from synthlib.offline.recorded_steps import BARE_WIDTHS, choose_steps, read_steps
from synthlib.offline.replay import fitting, median_errors, replay, replay_steps
from synthlib.offline.replay_check import physics_findings
from synthlib.offline.sources import REPLICA_FOLDER, find_files
from synthlib.tasks import ENVIRONMENTS, REPLICA_MASSES
from tests.common import SHARED, toy_file

RECORDED = SHARED / "reference" / "physics"
OTHER = {"d4rl": "stock", "stock": "d4rl"}


def recorded_by_others(environment):
    """All steps of 400 rows that were recorded in 2020 on the v2 environments, of which no end is marked."""
    with np.load(RECORDED / f"transitions_{environment}.npz") as file:
        observations = file["observations"][:, : BARE_WIDTHS[environment]]
        columns = {"observations": observations, "actions": file["actions"]}
    columns |= {"rewards": np.zeros(len(observations)), "terminals": np.zeros(len(observations), bool)}
    return choose_steps(environment, columns, np.arange(len(observations)), 400, np.random.default_rng(0))


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded transitions are not beside this checkout")
@pytest.mark.parametrize(
    ("environment", "steps", "median", "today"),
    [
        ("hopper", 320, 1e-15, 6e-3),
        ("walker2d", 70, 1e-14, 9e-2),
        ("halfcheetah", 399, 1e-13, 9e-2),
        ("ant", 399, 1e-14, 5e-3),
    ],
)
def test_steps_of_mujoco_2_0_replay_exactly_on_all_four_robots(environment, steps, median, today):
    recorded = recorded_by_others(environment)
    assert len(recorded.chosen) >= steps, "hopper and walker2d lose those whose velocities were clipped"
    errors = replay_steps(recorded, environment, "d4rl").observation
    assert np.median(errors) < median and (errors < 1e-6).all()
    assert np.median(replay_steps(recorded, environment, "stock").observation) == pytest.approx(today, rel=0.4)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_embedded_steps_replay_on_the_replicas_masses_and_on_no_others(environment):
    path = REPLICA_FOLDER / f"{environment}_medium-v0.hdf5"
    errors = replay(path, environment, "replica", count=150)
    assert len(errors.reward) == 150
    assert np.median(errors.observation) < 1e-6 and errors.reward.max() < 1e-5
    masses = REPLICA_MASSES[environment]
    medians = median_errors(path, environment, count=50)
    assert fitting(medians) == [masses] and medians[OTHER[masses]] > 1e-3


def test_the_ants_reward_needs_the_step_before():
    steps = read_steps(REPLICA_FOLDER / "ant_medium-v0.hdf5", "ant", count=100)
    alone = steps._replace(continues=np.zeros_like(steps.continues))
    assert replay_steps(steps, "ant", "stock").reward.max() < 1e-5
    assert np.median(replay_steps(alone, "ant", "stock").reward) > 1e-4


@pytest.fixture
def hopper(two_tiers, tmp_path, outputs):
    """A copy of a file of real hopper steps, which may be changed."""
    (path,) = find_files("hopper-medium", two_tiers)
    return shutil.copy(path, tmp_path / path.name)


def finding(path):
    (sentence,) = physics_findings(["hopper-medium"], f"path:{path.parent}", 60)
    return sentence


def test_a_robot_is_replayed_once_and_the_finding_names_what_fits(two_tiers, outputs):
    (sentence,) = physics_findings(["hopper-medium", "hopper-medium-expert"], two_tiers, 40)
    assert sentence.startswith("hopper-medium: median one-step error d4rl ")
    assert sentence.endswith("; the data fit the d4rl masses")


def test_states_that_contradict_the_observations_are_a_finding(hopper):
    with h5py.File(hopper, "a") as file:
        file["infos/qvel"][...] += 1
    assert "cannot be replayed" in finding(hopper)
    assert finding(hopper).endswith("infos/qpos and infos/qvel do not belong to the observations")


def test_rows_out_of_order_fit_nothing_though_their_next_observations_are_right(hopper):
    with h5py.File(hopper, "a") as file:
        order = np.random.default_rng(0).permutation(len(file["rewards"]))
        for name in ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts"):
            file[name][...] = file[name][()][order]
        for name in ("infos/qpos", "infos/qvel"):
            file[name][...] = file[name][()][order]
    sentence = finding(hopper)
    assert "the data fit no known masses to 1e-04" in sentence
    assert sentence.endswith("policies are evaluated under the d4rl masses, because the file says so")


def test_a_file_whose_label_its_steps_contradict_is_a_finding(hopper):
    with h5py.File(hopper, "a") as file:
        file.attrs["body_masses"] = "stock"
    expected = "the data fit the d4rl masses; policies are evaluated under the stock masses, because the file says so"
    assert finding(hopper).endswith(expected)


def test_steps_that_any_masses_reproduce_are_said_to_fit_both(hopper):
    """A robot in free fall that does not turn: the masses do not matter."""
    rows = 40
    height, speed, step = 5.0 - np.zeros(rows), np.zeros(rows), 0.002
    for row in range(1, rows):
        height[row], speed[row] = height[row - 1], speed[row - 1]
        for _ in range(4):
            speed[row] -= 9.81 * step
            height[row] += speed[row] * step
    observations = np.zeros((rows, 11))
    observations[:, 0], observations[:, 6] = height, speed
    zeros = {"actions": np.zeros((rows, 3)), "rewards": np.zeros(rows), "terminals": np.zeros(rows, bool)}
    hopper.unlink()
    toy_file(hopper, observations=observations, next_observations=None, timeouts=None, **zeros)
    assert finding(hopper).endswith("the data fit both mass sets")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": np.ones(29)}, "rewards cannot be replayed: it must have a row of 1 numbers"),
        ({"actions": np.ones((30, 4))}, "actions cannot be replayed: it must have a row of 3 numbers"),
        ({"observations": np.full((30, 11), b"x")}, "observations cannot be replayed"),
        ({"infos/qpos": np.ones((30, 7)), "infos/qvel": np.ones((30, 6))}, "infos/qpos cannot be replayed"),
        ({"infos/qpos": np.float32(1), "infos/qvel": np.ones((30, 6))}, "infos/qpos cannot be replayed"),
        ({"timeouts": np.ones(30, bool)}, "there is no step whose states before and after it are both recorded"),
        ({"observations": np.full((30, 11), np.nan)}, "there is no step whose states"),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_the_file_and_the_reason(tmp_path, changes, message):
    path = tmp_path / "hopper_medium-v2.hdf5"
    changes = {"observations": np.zeros((30, 11))} | changes
    toy_file(path, **{name: array for name, array in changes.items() if array is not None and np.ndim(array)})
    with h5py.File(path, "a") as file:
        for name, array in changes.items():
            if not np.ndim(array):
                file[name] = array
    with pytest.raises(DataFileError, match=message) as caught:
        read_steps(path, "hopper", 10)
    assert str(path) in str(caught.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("environment", "widths"), [("halfcheetah", (17, 6)), ("ant", (27, 8))])
def test_states_that_no_robot_can_have_fit_nothing_and_nobody_warns(environment, widths, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)  # MuJoCo would write its log into the working directory
    path = tmp_path / f"{environment}_medium-v2.hdf5"
    changes = {"observations": np.full((30, widths[0]), 1e30), "actions": np.full((30, widths[1]), 1e200)}
    toy_file(path, widths=widths, timeouts=None, **changes)
    assert fitting(median_errors(path, environment, count=10)) == []
    assert list(tmp_path.iterdir()) == [path] and capfd.readouterr() == ("", "")
