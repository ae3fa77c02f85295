"""The committed data themselves: every environment that is there is there whole."""

import json

import numpy as np
import pytest

from synthlib.offline.cards import card, episode_statistics
from synthlib.offline.datasets import cql_data, load, trajectories
from synthlib.offline.replay import replay
from synthlib.offline.sources import REPLICA_FOLDER
from synthlib.replica.policies import collect_episode, environment_for, load_policy
from synthlib.tasks import DATASETS, DIMENSIONS, ENVIRONMENTS, environment_of

MANIFEST = json.loads((REPLICA_FOLDER / "manifest.json").read_text())["files"]
EMBEDDED = sorted({entry["environment"] for entry in MANIFEST.values()})


@pytest.fixture(scope="module")
def manifest():
    return MANIFEST


def test_the_replica_is_small_and_its_environments_whole(manifest):
    assert {"hopper", "halfcheetah"} <= set(EMBEDDED) <= set(ENVIRONMENTS)
    files = {f"{env}_{tier}-v0.hdf5" for env in EMBEDDED for tier in ("medium", "expert", "medium_replay")}
    assert set(manifest) == files == {path.name for path in REPLICA_FOLDER.glob("*.hdf5")}
    assert sum(path.stat().st_size for path in REPLICA_FOLDER.iterdir()) < 50e6


@pytest.mark.parametrize("name", [name for name in DATASETS if environment_of(name) in EMBEDDED])
def test_every_data_set_loads_whole_with_its_card(name):
    data = load(name)
    observation_width, action_width = DIMENSIONS[data.environment]
    assert data.observations.shape == (len(data), observation_width)
    assert data.actions.shape == (len(data), action_width)
    assert sum(len(episode.rewards) for episode in trajectories(data)) == len(data), "whole episodes only"
    assert max(len(episode.rewards) for episode in trajectories(data)) <= 1000
    files = ("medium", "expert") if data.tier == "medium-expert" else (data.tier.replace("-", "_"),)
    assert len(data) == sum(MANIFEST[f"{data.environment}_{tier}-v0.hdf5"]["transitions"] for tier in files)
    assert len(cql_data(data).rows) == len(data) - np.count_nonzero(data.timeouts[:-1]) - 1
    found = card(name)
    assert found["unfinished_rows"] == 0 and found["kind"] == "replica"


def test_the_manifest_tells_the_truth(manifest):
    for environment in EMBEDDED:
        data = load(f"{environment}-medium")
        entry = manifest[f"{environment}_medium-v0.hdf5"]
        found = episode_statistics(environment, data.rewards, data.terminals, data.timeouts)
        assert {name: entry[name] for name in found} == pytest.approx(found)


@pytest.mark.parametrize("environment", EMBEDDED)
def test_stored_transitions_replay_on_the_pinned_physics(environment):
    for tier in ("medium", "medium_replay"):
        errors = replay(REPLICA_FOLDER / f"{environment}_{tier}-v0.hdf5", environment, "replica", count=150)
        assert np.quantile(errors.observation, 0.9) < 1e-5 and np.quantile(errors.reward, 0.9) < 1e-5
        assert errors.termination.mean() < 0.02


@pytest.mark.parametrize("environment", EMBEDDED)
def test_a_committed_policy_made_the_committed_episodes(manifest, environment):
    """Over the first steps only: across processors the last bits differ, and then everything."""
    for tier in ("medium", "expert"):
        policy = load_policy(REPLICA_FOLDER / f"{environment}_{tier}.npz")
        seed = manifest[f"{environment}_{tier}-v0.hdf5"]["episode_seed"]
        episode = collect_episode(policy, environment_for(policy), seed, index=0)
        data = load(f"{environment}-medium-expert")
        first = 0 if tier == "medium" else len(load(f"{environment}-medium"))
        steps = min(20, len(episode.rewards))
        stored = data.observations[first : first + steps, : episode.observations.shape[1]]
        np.testing.assert_allclose(episode.observations[:steps], stored, atol=1e-3)
        np.testing.assert_allclose(episode.actions[:steps], data.actions[first : first + steps], atol=1e-3)
