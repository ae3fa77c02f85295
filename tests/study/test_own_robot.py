"""A robot and data sets of one's own, in a folder outside the repository: known by name, trained, new when edited."""

import sys

import h5py
import numpy as np
import pytest
import yaml

from synthlib.__main__ import main
from synthlib.offline.environments import make_environment
from synthlib.offline.sources import files_with_facts, reference_returns
from synthlib.robots import find_robot, robot
from synthlib.study.params import ParameterError
from synthlib.study.plan import Selection, make_plan
from synthlib.tasks import (
    D4RL_DATASETS,
    DIMENSIONS,
    REFERENCE_RETURNS,
    in_data_order,
    is_own_data,
    normalised_score,
    parse_name,
)

CODE = """
import gymnasium
from synthlib.robots import robot

@robot(observation_width=4, action_width=1, reference_returns=(0.0, 50.0))
def cart(**options):
    return gymnasium.make("InvertedPendulum-v5", max_episode_steps=40, **options)

@robot(observation_width=4, action_width=1, reference_returns=(0.0, 50.0), target_return=30.0, version=1)
def slow(**options):
    return cart(**options)

def forgotten(**options):
    return cart(**options)
"""
TABLE = {
    "like": "cql_start",
    "title": "A cart",
    "datasets": ["my_robots:cart-random", "hopper-own-slippery"],
    "seeds": 2,
    "arms": {"CQL": {"pretraining": "none"}, "CQL, matched": {"pretraining_updates": 0}},
}


def recorded(path, env, width):
    """Random episodes of an environment in D4RL's layout."""
    rng, rows = np.random.default_rng(0), {}
    for episode in range(12):
        observation, ended = env.reset(seed=episode)[0], False
        while not ended:
            action = rng.uniform(-1, 1, width)
            following, reward, terminal, timeout, _ = env.step(action)
            found = {"observations": observation, "actions": action, "rewards": reward, "terminals": terminal}
            for name, value in (found | {"timeouts": timeout}).items():
                rows.setdefault(name, []).append(value)
            observation, ended = following, terminal or timeout
    with h5py.File(path, "w") as file:
        for name, values in rows.items():
            file[name] = np.array(values, dtype=bool if name in ("terminals", "timeouts") else np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch, outputs):
    """A folder of one's own with a robot, a table and, under data/, its data and data of hoppers of one's own."""
    own = tmp_path / "own"
    (own / "data").mkdir(parents=True)
    (own / "my_robots.py").write_text(CODE)
    (own / "carts.yaml").write_text(yaml.safe_dump(TABLE, sort_keys=False))
    monkeypatch.setenv("SYNTHLIB_PARAMS", str(own))
    path = list(sys.path)
    recorded(own / "data" / "cart_random.hdf5", make_environment("my_robots:cart"), 1)
    recorded(own / "data" / "hopper_own_slippery.hdf5", make_environment("hopper"), 3)
    yield own
    sys.path[:] = path
    sys.modules.pop("my_robots", None)


def source(folder):
    return f"path:{folder / 'data'}"


def keys(folder):
    """{data set: key of its first run}"""
    return {cell.dataset: cell.job.key for cell in reversed(make_plan("carts", "smoke", source(folder)).cells)}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("my_robots:cart-random", ("my_robots:cart", "random")),
        ("lab.robots:cart-two-words", ("lab.robots:cart", "two-words")),
        ("hopper-own", ("hopper", "own")),
        ("hopper-own-slippery", ("hopper", "own-slippery")),
    ],
)
def test_names_of_ones_own_data(name, parts):
    assert parse_name(name) == parts and is_own_data(name)


@pytest.mark.parametrize(
    "name", ["hopper-owned", "hopper-own-", "cart-own", "my_robots:cart", "my_robots:-x", ":cart-x"]
)
def test_other_names_stay_unknown(name):
    with pytest.raises(ValueError, match="unknown data set"):
        parse_name(name)
    assert not is_own_data(name)


def test_d4rls_data_come_first_in_a_table():
    assert in_data_order(["m:a-x", *reversed(D4RL_DATASETS), "hopper-own"]) == [*D4RL_DATASETS, "hopper-own", "m:a-x"]


def test_all_facts_of_a_robot_are_known_by_its_name(folder):
    assert DIMENSIONS["my_robots:cart"] == (4, 1) and REFERENCE_RETURNS["my_robots:cart"] == (0, 50)
    assert normalised_score("my_robots:cart", 25.0) == 50
    assert find_robot("my_robots:cart").target_return == 50 and find_robot("my_robots:slow").target_return == 30
    with pytest.raises(KeyError):
        DIMENSIONS["cheetah"]


def test_an_edited_robot_makes_new_runs_and_a_version_stands_for_the_code(folder):
    def slow():
        (cell, *_) = make_plan(
            "carts", "smoke", source(folder), selection=Selection(datasets=("my_robots:slow-x",))
        ).cells
        return cell.job.key

    recorded(folder / "data" / "slow_x.hdf5", make_environment("my_robots:slow"), 1)
    before, versioned = keys(folder), slow()
    (folder / "my_robots.py").write_text(CODE + "\n# edited\n")
    sys.modules.pop("my_robots")  # as in another process
    after = keys(folder)
    assert before["my_robots:cart-random"] != after["my_robots:cart-random"]
    assert before["hopper-own-slippery"] == after["hopper-own-slippery"] and versioned == slow()


def test_reference_returns_lie_in_a_small_file_beside_the_data(folder):
    before = keys(folder)
    assert reference_returns("hopper-own-slippery", source(folder)) is None
    beside = folder / "data" / "hopper_own_slippery.yaml"
    beside.write_text("reference_returns: [10, 110]\n")
    assert reference_returns("hopper-own-slippery", source(folder)) == (10, 110)
    assert beside in files_with_facts("hopper-own-slippery", source(folder))
    after = keys(folder)
    assert {name for name in before if before[name] != after[name]} == {"hopper-own-slippery"}
    assert normalised_score("hopper", 60.0, (10, 110)) == 50


@pytest.mark.parametrize("text", ["reference_returns: 3", "reference_returns: [2, 1]", "returns: [1, 2]", "- [", "3"])
def test_a_file_that_says_something_else_is_a_sentence(text, folder):
    (folder / "data" / "hopper_own_slippery.yaml").write_text(text)
    with pytest.raises(ParameterError, match=r"hopper_own_slippery.yaml: "):
        make_plan("carts", "smoke", source(folder))


def test_what_is_not_there_is_a_sentence(folder):
    def refused(name, data=None):
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            make_plan("carts", "smoke", data or source(folder), selection=Selection(datasets=(name,)))
        return str(error.value)

    assert "is data of your own, which replica does not have: say DATA=path:folder" in refused("hopper-own", "replica")
    assert "which d4rl does not have" in refused("my_robots:cart-random", "d4rl")
    assert "no hopper_own-v2.hdf5 in" in refused("hopper-own")
    recorded(folder / "data" / "x_y.hdf5", make_environment("my_robots:cart"), 1)
    assert "there is no module 'no_robots' on the Python path" in refused("no_robots:x-y")
    assert "my_robots has no robot 'x'; its robots: cart, slow" in refused("my_robots:x-y")
    (folder / "data" / "x_y.hdf5").rename(folder / "data" / "forgotten_y.hdf5")
    assert "my_robots:forgotten is not registered: put @robot(...) above" in refused("my_robots:forgotten-y")
    assert "DATASETS: no data set called 'hoper-own'" in refused("hoper-own")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"observation_width": 0}, "widths must be at least 1"),
        ({"reference_returns": (1.0, 1.0)}, "the return that scores 0 and a higher one"),
        ({"reference_returns": (1.0, float("nan"))}, "the return that scores 0 and a higher one"),
    ],
)
def test_a_robot_that_cannot_be_is_refused_when_it_is_registered(changes, said):
    facts = {"observation_width": 1, "action_width": 1, "reference_returns": (0.0, 1.0)}
    with pytest.raises(ValueError, match=said):
        robot(**(facts | changes))


@pytest.mark.slow
def test_it_is_trained_watched_and_shown(folder, capsys):
    """With the Decision Transformer here, with CQL on the page OWN_RUNS.md."""
    (folder / "data" / "hopper_own_slippery.yaml").write_text("reference_returns: [0, 1]\n")
    arms = {"DT": {"pretraining": "none"}}
    table = TABLE | {"like": "dt_start", "arms": arms, "control": None}
    (folder / "carts.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    size = ["--preset", "smoke", "--data", source(folder), "--workers", "2"]
    assert main(["run", "carts", *size]) == 0
    capsys.readouterr()
    assert main(["show", "carts", *size]) == 0
    shown = capsys.readouterr().out
    rows = [line.split()[0] for line in shown.splitlines() if " ours " in line]
    assert rows == ["hopper-own-slippery", "my_robots:cart-random", "Average"]
    assert "by the reference returns beside the data hopper-own-slippery: 0 scores 0 and 1 scores 100" in shown
    main(["watch", "carts", *size, "--datasets", "my_robots:cart-random"])
    watched = capsys.readouterr()
    assert "my_robots:cart-random, seed 42" in watched.out and "steps" in watched.out
