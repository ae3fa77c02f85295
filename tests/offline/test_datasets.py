import dataclasses

import numpy as np
import pytest

from synthlib.offline.datasets import (
    ADAPTED,
    OfflineDataset,
    cql_data,
    load,
    parse_source,
    qlearning_transitions,
    trajectories,
)
from synthlib.offline.hdf5 import DataFileError, sha256_of
from synthlib.offline.official import OFFICIAL_FILES, OfficialFile, file_name
from synthlib.offline.sources import data_sets_there, find_files, unnamed_files
from synthlib.tasks import DATASETS, normalised_score
from tests.common import golden, needs_root, succeeds_for_another_user, toy_file, umask

GOLDEN = golden("d4rl")
LIMIT = int(GOLDEN["input/max_episode_steps"])


def dataset_of(**arrays):
    arrays = {"timeouts": None} | arrays
    return OfflineDataset("toy", "toy", "medium", "toy", files=(), checksum="", masses="d4rl", **arrays)


def golden_input(timeouts):
    names = ["observations", "actions", "rewards", "terminals"] + ["timeouts"] * timeouts
    return dataset_of(**{name: GOLDEN[f"input/{name}"] for name in names})


@pytest.mark.parametrize("timeouts", [True, False])
@pytest.mark.parametrize("terminate_on_end", [True, False])
def test_transitions_are_those_of_d4rl(timeouts, terminate_on_end):
    case = f"qlearning/{'with' if timeouts else 'without'}_timeouts/terminate_on_end_{str(terminate_on_end).lower()}"
    found = qlearning_transitions(golden_input(timeouts), terminate_on_end, LIMIT)
    for name, array in found._asdict().items():
        expected = GOLDEN[f"{case}/{name}"]
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected, err_msg=name)


@pytest.mark.parametrize("timeouts", [True, False])
def test_trajectories_are_cut_where_d4rl_cuts(timeouts):
    case = f"sequence/{'with' if timeouts else 'without'}_timeouts"
    found = trajectories(golden_input(timeouts), LIMIT)
    np.testing.assert_array_equal([len(t.rewards) for t in found], GOLDEN[f"{case}/lengths"])
    returns = [t.rewards.sum(dtype=np.float64) for t in found]
    np.testing.assert_allclose(returns, GOLDEN[f"{case}/returns"], rtol=1e-6)
    np.testing.assert_array_equal(found[1].observations[0], GOLDEN["input/observations"][len(found[0].rewards)])


def loop_without_timeouts(terminals, limit, terminate_on_end):
    """Kept rows by the rule read literally, one row after the other (faithfulness 7.5)."""
    kept, counter = [], 0
    for i, terminal in enumerate(terminals[:-1]):
        final = counter == limit - 1
        if final and not terminate_on_end:
            counter = 0
            continue
        if terminal or final:
            counter = 0
        kept.append(i)
        counter += 1
    return kept


@pytest.mark.parametrize("terminate_on_end", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_counting_of_steps_without_timeouts_equals_the_literal_loop(seed, terminate_on_end):
    rng = np.random.default_rng(seed)
    rows = rng.integers(2, 200)
    terminals = rng.random(rows) < rng.choice([0.0, 0.05, 0.3, 0.9])
    data = dataset_of(
        observations=np.arange(rows)[:, None], actions=np.zeros((rows, 1)), rewards=np.zeros(rows), terminals=terminals
    )
    found = qlearning_transitions(data, terminate_on_end, max_episode_steps=5)
    np.testing.assert_array_equal(found.observations[:, 0], loop_without_timeouts(terminals, 5, terminate_on_end))


def test_normalised_scores_are_d4rls():
    for environment in ("halfcheetah", "hopper", "walker2d", "ant"):
        expected = 100 * GOLDEN[f"score/{environment}"]
        np.testing.assert_allclose(normalised_score(environment, GOLDEN["score/returns"]), expected, rtol=1e-12)


def test_cql_data_are_the_authors_subset_and_stream():
    data = golden_input(timeouts=True)
    transitions = qlearning_transitions(data)
    subset = cql_data(data, ratio=0.5)
    found = subset.batch(np.arange(14))
    np.random.seed(0)  # the authors use NumPy's global generator
    rows = np.random.permutation(28)[:14]
    np.testing.assert_array_equal(found.rewards, transitions.rewards[rows])
    np.testing.assert_array_equal(found.next_observations, transitions.next_observations[rows])
    np.testing.assert_array_equal(subset.draw(256).rewards, found.rewards[np.random.randint(14, size=256)])
    assert subset.q_max == 100 * found.rewards.max()
    assert found.terminals.dtype == np.float32
    assert np.abs(cql_data(dataset_of_extreme_actions()).draw(28).actions).max() == np.float32(0.999)


def dataset_of_extreme_actions():
    data = golden_input(timeouts=True)
    return dataclasses.replace(data, actions=np.sign(data.actions))


@pytest.mark.parametrize("ratio", [0, -1, 1.5, 0.001])
def test_cql_data_refuse_a_ratio_that_leaves_nothing(ratio):
    with pytest.raises(ValueError, match="data ratio"):
        cql_data(golden_input(timeouts=True), ratio)


def test_there_are_twelve_names_in_the_papers_order():
    assert len(set(DATASETS)) == 12
    assert DATASETS[:5] == (
        "halfcheetah-medium-expert",
        "hopper-medium-expert",
        "walker2d-medium-expert",
        "ant-medium-expert",
        "halfcheetah-medium-replay",
    )


def test_a_file_is_read_as_it_is(tmp_path):
    arrays = toy_file(tmp_path / "hopper_medium-v2.hdf5")
    data = load("hopper-medium", f"path:{tmp_path}", next_observations=True)
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(data, name), array)
        assert getattr(data, name).dtype == array.dtype
    assert (data.environment, data.tier, len(data)) == ("hopper", "medium", 30)
    assert data.checksum == sha256_of(tmp_path / "hopper_medium-v2.hdf5")
    assert data.metadata["hopper_medium-v2.hdf5"]["algorithm"] == "toy"


def test_a_cache_gives_the_same_arrays_memory_mapped(tmp_path):
    toy_file(tmp_path / "hopper_medium-v2.hdf5")
    plain = load("hopper-medium", f"path:{tmp_path}")
    for _ in range(2):
        cached = load("hopper-medium", f"path:{tmp_path}", cache=tmp_path / "cache")
        for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
            np.testing.assert_array_equal(getattr(cached, name), getattr(plain, name))
            assert isinstance(getattr(cached, name), np.memmap)
        assert cached.metadata == plain.metadata
    assert len(list((tmp_path / "cache" / "datasets").iterdir())) == 1
    for of_cache, of_file in zip(cql_data(cached).draw(50), cql_data(plain).draw(50), strict=True):
        np.testing.assert_array_equal(of_cache, of_file)
    assert cql_data(cached).dataset is cached, "nothing is copied"


@needs_root
def test_another_user_reads_what_the_first_has_unpacked(public_folder):
    source, cache = f"path:{public_folder / 'data'}", public_folder / "cache"
    with umask(0o022):
        (public_folder / "data").mkdir()
        toy_file(public_folder / "data" / "hopper_medium-v2.hdf5")
        load("hopper-medium", source, cache)
    before = sorted(cache.rglob("*"))
    assert succeeds_for_another_user(lambda: len(load("hopper-medium", source, cache)) == 30)
    assert sorted(cache.rglob("*")) == before and len(before) > 5


def test_changed_content_is_not_served_from_the_cache(tmp_path):
    toy_file(tmp_path / "hopper_medium-v2.hdf5", seed=0)
    before = load("hopper-medium", f"path:{tmp_path}", cache=tmp_path / "cache")
    arrays = toy_file(tmp_path / "hopper_medium-v2.hdf5", seed=1)
    after = load("hopper-medium", f"path:{tmp_path}", cache=tmp_path / "cache")
    assert before.checksum != after.checksum
    np.testing.assert_array_equal(after.rewards, arrays["rewards"])


def test_medium_expert_is_joined_when_it_is_not_there(tmp_path):
    cut = np.arange(25) % 15 == 14
    medium = toy_file(tmp_path / "hopper_medium-v2.hdf5", rows=25, timeouts=cut)
    expert = toy_file(tmp_path / "hopper_expert-v2.hdf5", seed=1)
    data = load("hopper-medium-expert", f"path:{tmp_path}")
    np.testing.assert_array_equal(data.rewards, np.concatenate([medium["rewards"], expert["rewards"]]))
    assert data.timeouts[24], "the unfinished medium episode must not run on into the expert's first"
    assert data.timeouts[:24].sum() == cut.sum()
    assert len({load(name, f"path:{tmp_path}").checksum for name in ("hopper-medium-expert", "hopper-medium")}) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"next_observations": None},
        {"timeouts": None},
        {"rewards": np.ones((30, 1))},
        {"terminals": np.zeros((30, 1), dtype=np.uint8), "timeouts": (np.arange(30) % 15 == 14).astype(np.float64)},
        {"observations": np.ones((30, 11), dtype=np.float64)},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_variants_of_the_layout_are_read(tmp_path, changes):
    toy_file(tmp_path / "hopper_medium-v2.hdf5", **changes)
    data = load("hopper-medium", f"path:{tmp_path}")
    assert data.rewards.shape == (30,) and data.rewards.dtype == np.float32
    assert data.observations.dtype == np.float32
    assert data.terminals.shape == (30,) and data.terminals.dtype == bool
    assert (data.timeouts is None) == (changes.get("timeouts", 0) is None)


def test_an_ant_of_27_dimensions_gets_its_84_zeros(tmp_path):
    toy_file(tmp_path / "ant-medium.h5", widths=(27, 8))
    data = load("ant-medium", f"path:{tmp_path}", next_observations=True)
    assert data.observations.shape == data.next_observations.shape == (30, 111)
    assert not data.observations[:, 27:].any() and data.observations[:, :27].all()


NAN = np.ones((30, 11), dtype=np.float32)
NAN[7, 3] = np.nan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observations": NAN}, r"observations hold NaN or infinity in 1 rows \(first: 7\)"),
        ({"rewards": np.full(30, np.inf)}, "rewards hold NaN or infinity in 30 rows"),
        ({"observations": np.ones((30, 17))}, "width 17, hopper has 11"),
        ({"actions": np.ones((30, 6))}, "actions have width 6, hopper has 3"),
        ({"actions": np.full((30, 3), 2.0)}, r"100 % of the numbers in actions are outside .* another scale"),
        ({"rewards": np.linspace(0, 1e36, 30)}, r"rewards reach 1e\+36, beyond MuJoCo's own limit .* in 29 rows"),
        ({"rewards": np.linspace(0, 1e300, 30)}, "rewards reach 1e[+]300, beyond"),
        ({"observations": np.full((30, 11), -1e11)}, r"observations reach 1e\+11, beyond"),
        ({"rewards": np.ones((30, 2))}, r"rewards is float64 of shape \(30, 2\)"),
        ({"rewards": np.ones(29)}, "differ in length"),
        ({"terminals": np.full(30, 3)}, "terminals must be 0 or 1; row 0 is not"),
        ({"terminals": None}, "lacks terminals; it has actions, metadata"),
        ({"terminals": None, "dones": np.zeros(30)}, "split it into terminals"),
        ({"observations": np.full((30, 11), b"a")}, "not real numbers"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_the_reason(tmp_path, changes, message):
    toy_file(tmp_path / "hopper_medium-v2.hdf5", **changes)
    with pytest.raises(DataFileError, match=message) as error:
        load("hopper-medium", f"path:{tmp_path}")
    assert "hopper_medium-v2.hdf5" in str(error.value)


def test_actions_that_mujoco_clips_are_clipped_and_this_is_said(tmp_path):
    actions = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    toy_file(tmp_path / "hopper_medium-v2.hdf5", actions=actions)
    data = load("hopper-medium", f"path:{tmp_path}")
    np.testing.assert_array_equal(data.actions, np.clip(actions, -1, 1))
    reached = f"{np.abs(actions).max():.3g}"
    assert data.metadata["hopper_medium-v2.hdf5"][ADAPTED] == [
        f"actions reach {reached} and are clipped to [-1, 1], as MuJoCo does"
    ]
    assert load("hopper-medium", f"path:{tmp_path}", tmp_path / "cache").metadata == data.metadata


def test_actions_that_are_rounded_above_one_stay_as_they_are(tmp_path):
    arrays = toy_file(tmp_path / "hopper_medium-v2.hdf5", actions=np.full((30, 3), 1.0005, np.float32))
    data = load("hopper-medium", f"path:{tmp_path}")
    np.testing.assert_array_equal(data.actions, arrays["actions"])
    assert ADAPTED not in data.metadata["hopper_medium-v2.hdf5"]


@pytest.mark.parametrize("source", ["d4rl", "path"])
def test_d4rls_own_files_are_read_as_they_are_whatever_their_flags_say(tmp_path, monkeypatch, source):
    """Known by their content: nobody here has seen whether each of their rows passes the checks for other files."""
    silent = np.zeros(30, dtype=bool)
    following = np.random.default_rng(1).normal(size=(30, 11)).astype(np.float32)
    path = tmp_path / "hopper_medium-v2.hdf5"
    actions = np.linspace(-1.5, 1.5, 90, dtype=np.float32).reshape(30, 3)
    arrays = toy_file(path, timeouts=silent, next_observations=following, actions=actions)
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    with pytest.raises(DataFileError):
        load("hopper-medium", f"path:{tmp_path}")
    monkeypatch.setitem(OFFICIAL_FILES, path.name, OfficialFile(path.stat().st_size, sha256_of(path)))
    for cache in (None, tmp_path / "cache"):
        data = load("hopper-medium", "d4rl" if source == "d4rl" else f"path:{tmp_path}", cache)
        for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
            np.testing.assert_array_equal(getattr(data, name), arrays[name])


def test_two_files_are_joined_only_if_both_say_where_time_ran_out(tmp_path):
    toy_file(tmp_path / "hopper_medium-v2.hdf5", timeouts=None)
    toy_file(tmp_path / "hopper_expert-v2.hdf5")
    with pytest.raises(DataFileError, match=r"hopper_medium-v2.hdf5 has no timeouts"):
        load("hopper-medium-expert", f"path:{tmp_path}")
    toy_file(tmp_path / "hopper_medium-v2.hdf5")
    toy_file(tmp_path / "hopper_expert-v2.hdf5", timeouts=None)
    with pytest.raises(DataFileError, match=r"hopper_expert-v2.hdf5 has no timeouts"):
        load("hopper-medium-expert", f"path:{tmp_path}")


def test_a_missing_file_is_named_with_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no hopper_medium-v2.hdf5 in .*no HDF5 file"):
        load("hopper-medium", f"path:{tmp_path}")
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"make data DATA=d4rl"):
        load("ant-medium-replay", "d4rl")


def test_what_a_folder_has_is_known_by_the_names_of_its_files(tmp_path, monkeypatch):
    for name in ("ant-own-v2.hdf5", "hopper_medium-v1.h5", "hopper-expert.hdf5", "walker2d_own_from-lab.h5", "ant.h5"):
        toy_file(tmp_path / name)
    there = ["hopper-medium-expert", "hopper-medium", "hopper-expert", "ant-own", "walker2d-own-from-lab"]
    assert data_sets_there(f"path:{tmp_path}") == there, "the first is joined of the next two"
    assert all(find_files(name, f"path:{tmp_path}") for name in there)
    assert unnamed_files(f"path:{tmp_path}") == ["ant.h5"]
    toy_file(tmp_path / "hopper_medium-v0.h5")
    assert data_sets_there(f"path:{tmp_path}") == there, "loading it says that it has two files"
    assert len(data_sets_there("replica")) == 16 and unnamed_files("replica") == []
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "not_yet"))
    assert data_sets_there("d4rl") == []


def test_two_files_for_one_name_are_refused_unless_one_is_v2(tmp_path):
    toy_file(tmp_path / "hopper_medium-v0.hdf5")
    toy_file(tmp_path / "hopper-medium.hdf5")
    with pytest.raises(ValueError, match="several files for hopper-medium"):
        load("hopper-medium", f"path:{tmp_path}")
    toy_file(tmp_path / "hopper_medium-v2.hdf5", seed=3)
    assert load("hopper-medium", f"path:{tmp_path}").files[0].name == "hopper_medium-v2.hdf5"


@pytest.mark.parametrize("text", ["replicas", "path:", "path:/no/such/folder", "", "d4rl:x"])
def test_an_unknown_source_is_refused(text):
    with pytest.raises(ValueError, match="data source"):
        parse_source(text)


@pytest.mark.parametrize("name", ["hopper-expertise", "hopper-", "hopper", "cheetah-medium", "hopper_medium", "", "-"])
def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(ValueError, match=rf"unknown data set '{name}'; .*halfcheetah, .*then one of medium-expert, "):
        load(name, f"path:{tmp_path}")


@pytest.mark.parametrize("name", ["hopper-expert", "hopper-random", "hopper-full-replay"])
def test_d4rls_other_names_are_data_sets_too(tmp_path, monkeypatch, name):
    toy_file(tmp_path / file_name(name))
    data = load(name, f"path:{tmp_path}")
    assert (data.environment, data.tier, len(data)) == ("hopper", name.removeprefix("hopper-"), 30)
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    with pytest.raises(DataFileError, match=rf"is not D4RL's {file_name(name)}"):
        load(name, "d4rl")


def test_the_replica_says_which_tiers_it_has():
    assert len(load("hopper-expert")) > 40_000
    with pytest.raises(FileNotFoundError, match="hopper-random: the replica has no such tier; it has medium-expert,"):
        load("hopper-random")


def test_medium_expert_is_joined_of_d4rls_files_too(tmp_path, monkeypatch):
    for tier in ("medium", "expert"):
        path = tmp_path / f"hopper_{tier}-v2.hdf5"
        toy_file(path)
        monkeypatch.setitem(OFFICIAL_FILES, path.name, OfficialFile(path.stat().st_size, sha256_of(path)))
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    assert len(load("hopper-medium-expert", "d4rl")) == 60
    toy_file(path, rows=20)
    with pytest.raises(DataFileError, match=r"is not D4RL's hopper_expert-v2.hdf5"):
        load("hopper-medium-expert", "d4rl")
