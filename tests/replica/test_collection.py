import json
from dataclasses import asdict

import h5py
import numpy as np
import pytest
import torch

from synthlib.offline.cards import card, card_markdown, episode_statistics
from synthlib.offline.datasets import load, trajectories
from synthlib.offline.hdf5 import read_d4rl_file, read_metadata
from synthlib.offline.replay import fitting, median_errors, replay
from synthlib.offline.sources import REPLICA_FOLDER
from synthlib.replica.__main__ import main
from synthlib.replica.collection import collect, differences, episodes_to_arrays, regenerate, replay_arrays
from synthlib.replica.policies import (
    collect_episode,
    environment_for,
    load_policy,
    policy_from_torch,
    save_policy,
)
from synthlib.replica.selection import saved_policy
from synthlib.replica.td3 import TD3, TD3Config
from synthlib.replica.training import train
from synthlib.tasks import normalised_score
from tests.common import random_policy, toy_file, write_episodes


@pytest.fixture(scope="module")
def episodes():
    return collect(random_policy(), size=400, seed=3, processes=1)


def test_numpy_inference_is_the_trained_actor(tmp_path):
    agent = TD3(11, 3, TD3Config("hopper", steps=1, hidden=32))
    policy = policy_from_torch(agent.actor.state_dict(), {"environment": "hopper"})
    save_policy(tmp_path / "policy.npz", policy)
    loaded = load_policy(tmp_path / "policy.npz")
    assert loaded.facts == {"environment": "hopper"}
    for observation in np.random.default_rng(0).normal(size=(20, 11)):
        expected = agent.actor.double()(torch.from_numpy(observation)).tanh().detach().numpy()
        np.testing.assert_allclose(loaded.act(observation), expected, rtol=1e-12)


def test_episodes_do_not_depend_on_the_number_of_processes(episodes):
    again = collect(random_policy(), size=400, seed=3, processes=2)
    assert len(again) == len(episodes) > 1
    for one, other in zip(episodes, again, strict=True):
        for first, second in zip(one, other, strict=True):
            np.testing.assert_array_equal(first, second)
    assert not np.array_equal(episodes[0].observations[0], episodes[1].observations[0])


def test_whole_episodes_are_collected_until_there_are_enough(episodes):
    lengths = [len(episode.rewards) for episode in episodes]
    assert sum(lengths) >= 400 > sum(lengths[:-1])


def test_the_recorded_action_is_the_one_that_was_taken(episodes):
    env = environment_for(random_policy())
    episode = episodes[0]
    assert np.abs(episode.actions).max() <= 1 and episode.actions.dtype == np.float32
    env.reset()
    env.set_state(episode.qpos[0], episode.qvel[0])
    for t, action in enumerate(episode.actions):
        observation, reward, _, _, _ = env.step(action)
        np.testing.assert_allclose(observation, episode.next_observations[t], atol=1e-6)
        np.testing.assert_allclose(reward, episode.rewards[t], atol=1e-6)


def test_exploration_noise_has_the_scale_it_was_trained_with(episodes):
    policy, episode = random_policy(), max(episodes, key=lambda episode: len(episode.rewards))
    means = np.array([policy.act(observation.astype(float)) for observation in episode.observations])
    inside = np.abs(episode.actions) < 1
    assert 0.07 < (episode.actions - means)[inside].std() < 0.13


def test_a_fall_ends_an_episode_but_the_last_step_of_all_is_a_time_out(monkeypatch):
    policy = random_policy()
    env = environment_for(policy)
    fallen = collect_episode(policy, env, seed=3, index=0)
    length = len(fallen.rewards)
    assert fallen.terminal and length < 1000
    monkeypatch.setattr("synthlib.replica.policies.MAX_EPISODE_STEPS", length)
    assert not collect_episode(policy, env, seed=3, index=0).terminal
    arrays = episodes_to_arrays([fallen, fallen._replace(terminal=False)])
    np.testing.assert_array_equal(np.flatnonzero(arrays["terminals"]), [length - 1])
    np.testing.assert_array_equal(np.flatnonzero(arrays["timeouts"]), [2 * length - 1])


@pytest.mark.parametrize("whole", [True, False])
def test_nothing_of_the_layout_is_lost_on_the_way_through_a_file(tmp_path, episodes, whole):
    write_episodes(tmp_path, episodes, whole)
    data = load("hopper-medium", f"path:{tmp_path}", next_observations=True)
    arrays = episodes_to_arrays(episodes)
    for name in ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations"):
        np.testing.assert_array_equal(getattr(data, name), arrays[name], err_msg=name)
    assert len(trajectories(data)) == len(episodes)
    assert data.metadata["hopper_medium-v0.hdf5"]["mujoco"] == "3.3.7"


def test_a_compact_ant_is_stored_without_its_zeros_and_loaded_with_them(tmp_path):
    policy = random_policy("ant", scale=0.01)
    ant = collect_episode(policy, environment_for(policy), seed=0, index=0)
    short = ant._replace(**{name: getattr(ant, name)[:50] for name in ant._fields if name != "terminal"})
    for whole, stored in ((False, 27), (True, 111)):
        write_episodes(tmp_path / str(whole), [short], whole, policy=policy)
        path = tmp_path / str(whole) / "ant_medium-v0.hdf5"
        with h5py.File(path) as file:
            assert file["observations"].shape == (50, stored)
        assert read_d4rl_file(path, "ant")[0]["next_observations"].shape == (50, 111)


def test_the_same_content_gives_the_same_bytes(tmp_path, episodes):
    first, second = (write_episodes(tmp_path / name, episodes, whole=False) for name in "ab")
    assert first["sha256"] == second["sha256"]
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["files"]["hopper_medium-v0.hdf5"] == first


def toy_training(folder, lengths, unfinished=0):
    """The replay buffer of a training whose row ``i`` has reward ``i``."""
    rows = sum(lengths) + unfinished
    ends = np.zeros(rows + 100, dtype=np.float32)  # buffers are larger than what is in them
    stops = np.cumsum(lengths)
    ends[stops - 1] = np.where(np.arange(len(lengths)) % 2, 1, 2)
    columns = {"ends": ends, "rewards": np.arange(rows + 100, dtype=np.float32)}
    columns |= {name: np.zeros((rows + 100, 11), np.float32) for name in ("observations", "next_observations")}
    columns |= {"actions": np.zeros((rows + 100, 3), np.float32), "physics": np.zeros((rows + 100, 12))}
    (folder / "replay").mkdir(parents=True)
    for name, array in columns.items():
        np.save(folder / "replay" / f"{name}.npy", array)
    return stops


def test_the_replay_buffer_is_thinned_by_whole_episodes_evenly_over_time(tmp_path):
    lengths = np.random.default_rng(0).integers(10, 200, size=400)
    stops = toy_training(tmp_path, lengths, unfinished=30)
    rows = stops[-1]
    arrays = replay_arrays("hopper", tmp_path, steps=rows + 30, size=rows // 4)
    kept = arrays["rewards"].astype(int)
    assert abs(len(kept) - rows / 4) < 200
    assert kept.max() < rows, "an unfinished episode must not come in"
    np.testing.assert_array_equal(np.flatnonzero(arrays["terminals"] | arrays["timeouts"]), jumps(kept, stops))
    quarters = np.histogram(kept, bins=8, range=(0, rows))[0]
    assert quarters.min() > 0.7 * len(kept) / 8, "every phase of the training has its share"


def jumps(kept, stops):
    """Places in ``kept`` where an episode ends, checking that each is whole."""
    ends = np.flatnonzero(np.isin(kept, stops - 1))
    starts = np.concatenate([[0], ends[:-1] + 1])
    assert np.isin(kept[starts], np.concatenate([[0], stops])).all()
    for start, end in zip(starts, ends, strict=True):
        np.testing.assert_array_equal(np.diff(kept[start : end + 1]), 1)
    return ends


def test_the_replay_buffer_stops_at_the_medium_policy(tmp_path):
    toy_training(tmp_path, [50] * 20)
    arrays = replay_arrays("hopper", tmp_path, steps=500, size=10_000)
    np.testing.assert_array_equal(arrays["rewards"], np.arange(500))
    assert arrays["infos/qpos"].shape == arrays["infos/qvel"].shape == (500, 6)
    with pytest.raises(ValueError, match="5 transitions of hopper's replay buffer are not one whole episode"):
        replay_arrays("hopper", tmp_path, steps=500, size=5)


@pytest.mark.parametrize("whole", [True, False])
def test_stored_transitions_replay_on_their_own_physics_and_on_no_other(tmp_path, episodes, whole):
    """From the stored states, and from the observations alone; both have float32 precision."""
    write_episodes(tmp_path, episodes, whole)
    path = tmp_path / "hopper_medium-v0.hdf5"
    errors = replay(path, "hopper", "d4rl", count=200)
    assert len(errors.reward) == 200
    assert np.quantile(errors.observation, 0.99) < 1e-4 and errors.observation.max() < 1e-2
    assert np.quantile(errors.reward, 0.99) < 1e-4
    assert not errors.termination.any()
    assert np.median(replay(path, "hopper", "stock", count=200).observation) > 100 * np.median(errors.observation)
    assert fitting(median_errors(path, "hopper", count=50)) == ["d4rl"]


def test_statistics_are_those_of_the_episodes(tmp_path, episodes):
    entry = write_episodes(tmp_path, episodes, whole=False)
    returns = [episode.rewards.sum(dtype=np.float64) for episode in episodes]
    lengths = [len(episode.rewards) for episode in episodes]
    assert entry["episodes"] == entry["terminations"] == len(episodes)
    assert entry["mean_length"] == pytest.approx(np.mean(lengths))
    assert entry["mean_return"] == pytest.approx(np.mean(returns))
    assert entry["score"] == pytest.approx(normalised_score("hopper", np.mean(returns)))
    with pytest.raises(ValueError, match="no episode of hopper ends within 9 transitions"):
        episode_statistics("hopper", np.ones(9), np.zeros(9, bool))


def test_a_card_tells_what_is_in_a_data_set(tmp_path, episodes):
    write_episodes(tmp_path, episodes, whole=False)
    write_episodes(tmp_path, episodes[:3], whole=False, tier="expert")
    found = card("hopper-medium-expert", f"path:{tmp_path}")
    json.dumps(found)
    assert found["episodes"] == len(episodes) + 3 == sum(found["histogram"]["counts"])
    assert found["kind"] == "replica" and found["unfinished_rows"] == 0
    assert set(found["provenance"]) == {"hopper_medium-v0.hdf5", "hopper_expert-v0.hdf5"}
    page = card_markdown(found)
    assert "How it differs from D4RL" in page and "D4RL has 1,999,400" in page


def test_a_card_of_other_peoples_data_claims_nothing_about_them(tmp_path):
    toy_file(tmp_path / "hopper_medium-v2.hdf5", rows=34)
    found = card("hopper-medium", f"path:{tmp_path}")
    assert found["kind"] == "as supplied" and found["differences_from_d4rl"] == []
    assert found["unfinished_rows"] == 4


def test_regenerated_files_may_differ_by_chance_only():
    entry = {"mean_return": 1000.0, "std_return": 300.0, "mean_length": 400.0, "std_length": 100.0, "episodes": 100}
    assert differences("hopper", entry | {"mean_return": 1100.0}, entry) == []
    assert "mean return 1300, expected 1000" in differences("hopper", entry | {"mean_return": 1300.0}, entry)[0]
    assert "mean length 500" in differences("hopper", entry | {"mean_length": 500.0}, entry)[0]


@pytest.fixture
def embedded(tmp_path, monkeypatch, episodes):
    """A stand-in for the embedded replica: a hopper of two random policies."""
    folder = tmp_path / "embedded"
    for tier in ("medium", "expert", "medium_replay"):
        write_episodes(folder, episodes, whole=False, tier=tier)
    for tier in ("medium", "expert"):
        save_policy(folder / f"hopper_{tier}.npz", random_policy())
    monkeypatch.setattr("synthlib.replica.collection.REPLICA_FOLDER", folder)
    monkeypatch.setattr("synthlib.offline.sources.REPLICA_FOLDER", folder)
    return folder


@pytest.mark.slow
def test_a_larger_replica_is_rolled_out_and_loads(embedded, tmp_path):
    lines = []
    for _ in range(2):
        regenerate(["hopper"], 600, tmp_path / "large", processes=1, report=lines.append)
    assert [("as the embedded data" in line, "already there" in line) for line in lines] == [
        *[(True, False)] * 2,
        (False, False),
        *[(False, True)] * 3,
    ]
    data = load("hopper-medium", f"path:{tmp_path / 'large'}")
    assert 600 <= len(data) < 700
    assert data.checksum != load("hopper-medium").checksum
    assert len(load("hopper-medium-expert", f"path:{tmp_path / 'large'}")) >= 1200
    replays = [load("hopper-medium-replay", source).checksum for source in ("replica", f"path:{tmp_path / 'large'}")]
    assert replays[0] == replays[1]


@pytest.mark.slow
def test_the_command_collects_and_says_how_to_use_it(embedded, tmp_path, capsys):
    folder, rest = tmp_path / "large", ["--environments", "hopper", "--processes", "1"]
    assert main(["collect", "--size", "600", "--folder", str(folder), *rest]) == 0
    assert capsys.readouterr().out.endswith(f"use it with DATA=path:{folder}\n")
    assert len(load("hopper-medium", f"path:{folder}")) >= 600
    with pytest.raises(SystemExit):
        main(["collect", "--size", "0", *rest])
    assert "0: at least one transition is needed" in capsys.readouterr().err


@pytest.mark.slow
def test_a_replica_can_be_rolled_out_under_other_masses_and_its_files_say_so(embedded, tmp_path, capsys):
    folder = tmp_path / "heavy"
    rest = ["--environments", "hopper", "--processes", "1", "--size", "600", "--folder", str(folder)]
    assert main(["collect", "--masses", "stock", *rest]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("under the stock masses") for line in lines] == [True, True, False, False]
    path = folder / "hopper_medium-v0.hdf5"
    assert read_metadata(path)["body_masses"] == "stock" == load("hopper-medium", f"path:{folder}").masses
    assert fitting(median_errors(path, "hopper", count=50)) == ["stock"]
    assert load("hopper-medium-replay", f"path:{folder}").masses == "d4rl", "copied from the embedded file"


def test_a_policy_of_an_old_training_keeps_the_masses_that_it_was_trained_under(tmp_path):
    assert all(load_policy(path).facts["body_masses"] == "replica" for path in REPLICA_FOLDER.glob("*.npz"))
    config = asdict(TD3Config("ant", steps=40)) | {"masses": "d4rl"}
    del config["body_masses"]
    folder = tmp_path / "ant"
    (folder / "policies").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(TD3(27, 8, TD3Config("ant", steps=40)).actor.state_dict(), folder / "policies" / "40.pt")
    assert saved_policy(folder, 40).facts["body_masses"] == "replica"
    train(TD3Config("ant", steps=40), folder, report=lambda line: None)  # not refused as another training


def test_the_command_trains_and_refuses_another_configuration(tmp_path, capsys):
    train = ["train", "--environments", "hopper", "--trainings", str(tmp_path), "--steps", "40"]
    assert main(train) == 0
    written = tmp_path / "hopper" / "config.json"
    config = json.loads(written.read_text())
    assert (config["environment"], config["steps"]) == ("hopper", 40)
    written.write_text(json.dumps(config | {"hidden": 8}))
    assert main(train) == 1
    assert "error: " in capsys.readouterr().err


@pytest.mark.slow
def test_a_larger_replica_takes_its_replay_buffer_from_the_training(embedded, tmp_path):
    toy_training(tmp_path / "training" / "hopper", [50] * 20)
    regenerate(["hopper"], 300, tmp_path / "large", tmp_path / "training", processes=1, report=lambda line: None)
    assert 250 <= len(load("hopper-medium-replay", f"path:{tmp_path / 'large'}")) <= 350


def test_a_larger_replica_that_is_not_like_the_embedded_one_is_refused(embedded, tmp_path):
    manifest = json.loads((embedded / "manifest.json").read_text())
    manifest["files"]["hopper_medium-v0.hdf5"]["mean_return"] += 1000
    (embedded / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"hopper_medium-v0.hdf5 came out unlike the embedded data \(mean return"):
        regenerate(["hopper"], 600, tmp_path / "large", processes=1, report=lambda line: None)
    assert not (tmp_path / "large").exists()


def test_an_embedded_file_that_was_touched_is_refused(embedded, episodes):
    load("hopper-medium-expert")
    manifest = json.loads((embedded / "manifest.json").read_text())
    write_episodes(embedded, episodes[:2], whole=False)
    (embedded / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"hopper_medium-v0.hdf5 has SHA-256 .* changed or damaged"):
        load("hopper-medium-expert")


def test_files_made_with_different_masses_are_not_joined(tmp_path, episodes):
    write_episodes(tmp_path, episodes, whole=False)
    stock = random_policy()
    write_episodes(tmp_path, episodes, False, "expert", stock._replace(facts=stock.facts | {"body_masses": "stock"}))
    assert load("hopper-medium", f"path:{tmp_path}").masses == "d4rl"
    with pytest.raises(ValueError, match="different body masses"):
        load("hopper-medium-expert", f"path:{tmp_path}")
