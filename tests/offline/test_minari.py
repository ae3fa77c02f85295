import re
import sys
import tomllib

import numpy as np
import pytest

from synthlib.offline.datasets import load, trajectories
from synthlib.offline.minari import read_minari, write_minari
from tests.common import ROOT, toy_file


@pytest.fixture
def minari(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return pytest.importorskip("minari")


def test_episodes_go_to_minari_and_back(minari, tmp_path):
    toy_file(tmp_path / "hopper_medium-v2.hdf5", rows=34)  # the last four rows end nothing
    count = write_minari("hopper-medium", "replica/hopper/medium-v0", f"path:{tmp_path}")
    path = read_minari("replica/hopper/medium-v0", "hopper-medium", tmp_path / "back")
    before = load("hopper-medium", f"path:{tmp_path}")
    after = load("hopper-medium", f"path:{path.parent}", next_observations=True)
    assert count == len(trajectories(before)) == len(trajectories(after)) == 4
    for one, other in zip(trajectories(before), trajectories(after), strict=True):
        for first, second in zip(one, other, strict=True):
            np.testing.assert_array_equal(first, second)
    ends = np.flatnonzero(after.terminals | after.timeouts)
    original = load("hopper-medium", f"path:{tmp_path}", next_observations=True).next_observations
    np.testing.assert_array_equal(after.next_observations[ends], original[ends])
    assert not (after.terminals & after.timeouts).any()
    assert after.metadata[path.name]["source"] == "minari:replica/hopper/medium-v0"


def test_a_minari_data_set_of_another_task_is_refused(minari, tmp_path):
    toy_file(tmp_path / "hopper_medium-v2.hdf5")
    write_minari("hopper-medium", "toy/hopper-v0", f"path:{tmp_path}")
    with pytest.raises(ValueError, match=r"toy/hopper-v0: observations have width 11, walker2d has 17"):
        read_minari("toy/hopper-v0", "walker2d-medium", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_file_that_cannot_say_how_an_episode_ended_is_refused(minari, tmp_path):
    toy_file(tmp_path / "hopper_medium-v2.hdf5", next_observations=None)
    with pytest.raises(ValueError, match="has no next_observations"):
        write_minari("hopper-medium", "toy/hopper-v0", f"path:{tmp_path}")


def test_a_data_set_that_is_not_there_is_told_in_words_of_this_command(minari, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"fetch it with `minari download mujoco/hopper/medium-v0`$") as missing:
        read_minari("mujoco/hopper/medium-v0", "hopper-medium", tmp_path)
    assert "download=True" not in str(missing.value)


def test_a_damaged_data_set_is_told_by_its_name(minari, tmp_path):
    toy_file(tmp_path / "hopper_medium-v2.hdf5")
    write_minari("hopper-medium", "toy/hopper-v0", f"path:{tmp_path}")
    (stored,) = (tmp_path / "minari").rglob("*.hdf5")
    stored.write_bytes(stored.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"toy/hopper-v0 cannot be read .* `minari download --force toy/hopper-v0`$"):
        read_minari("toy/hopper-v0", "hopper-medium", tmp_path / "back")


def test_observations_in_several_parts_are_refused(minari, tmp_path):
    from gymnasium.spaces import Box, Dict

    buffer = minari.data_collector.EpisodeBuffer(
        id=0,
        observations={"observation": np.zeros((3, 11)), "goal": np.zeros((3, 2))},
        actions=np.zeros((2, 3)),
        rewards=[0.0, 0.0],
        terminations=[False, True],
        truncations=[False, False],
    )
    spaces = {"observation": Box(-1, 1, (11,), float), "goal": Box(-1, 1, (2,), float)}
    minari.create_dataset_from_buffers(
        "toy/maze-v0", [buffer], observation_space=Dict(spaces), action_space=Box(-1, 1, (3,), float)
    )
    with pytest.raises(ValueError, match="toy/maze-v0: each observation is a dict, not an array"):
        read_minari("toy/maze-v0", "hopper-medium", tmp_path / "back")


@pytest.mark.parametrize("name", ["x", "bad id-v0", "/abs-v0", "a/../b-v0"])
def test_a_name_that_minari_cannot_take_is_refused_before_anything_is_made(minari, tmp_path, name):
    toy_file(tmp_path / "hopper_medium-v2.hdf5")
    with pytest.raises(ValueError, match="is no name of a Minari data set"):
        write_minari("hopper-medium", name, f"path:{tmp_path}")
    assert not (tmp_path / "minari").exists()


def test_without_minari_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "minari", None)
    (locked,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["minari"]
    with pytest.raises(ModuleNotFoundError, match=f"-m pip install {re.escape(locked)}$"):
        read_minari("any/thing-v0", "hopper-medium", tmp_path)
