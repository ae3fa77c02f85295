"""What a plan reads of the data, and what is checked before trainings start."""

import numpy as np
import pytest

from synthlib.offline import checksums, datasets
from synthlib.offline.hdf5 import DataFileError, sha256_of
from synthlib.offline.identity import check_data, data_identity, planned_data
from synthlib.offline.official import OFFICIAL_FILES, OfficialFile, official_file
from synthlib.paths import data_cache, store_root
from synthlib.study import summary
from synthlib.study.plan import make_plan
from synthlib.tasks import DATASETS
from tests.common import toy_file

FILE = "hopper_medium-v2.hdf5"


@pytest.fixture(autouse=True)
def forget():
    """Every test plans in a process that knows no data set yet; none leaves its own behind."""
    data_identity.cache_clear()
    yield
    data_identity.cache_clear()


@pytest.fixture
def calls(monkeypatch):
    """{name: number of calls} of the functions that read arrays or every byte of a file."""
    counts = {"sha256_of": 0, "read_d4rl_file": 0, "mapped_arrays": 0}

    def count(module, name):
        original = getattr(module, name)

        def counted(*arguments):
            counts[name] += 1
            return original(*arguments)

        monkeypatch.setattr(module, name, counted)

    count(checksums, "sha256_of")
    count(datasets, "read_d4rl_file")
    count(datasets, "mapped_arrays")
    return counts


def test_a_second_plan_reads_no_byte_of_the_arrays(tmp_path, outputs, calls):
    toy_file(tmp_path / "hopper_medium_expert-v2.hdf5")
    first = make_plan("table6", "smoke", f"path:{tmp_path}")
    assert calls == {"sha256_of": 1, "read_d4rl_file": 0, "mapped_arrays": 0}
    data_identity.cache_clear()  # as in another process
    second = make_plan("table6", "smoke", f"path:{tmp_path}")
    assert calls == {"sha256_of": 1, "read_d4rl_file": 0, "mapped_arrays": 0}
    assert [job.key for job in second.jobs()] == [job.key for job in first.jobs()]
    assert {path.name for path in data_cache().iterdir()} == {checksums.MEMORY, "masses"}


def test_the_identity_is_that_of_the_loaded_data(tmp_path, outputs):
    toy_file(tmp_path / FILE)
    toy_file(tmp_path / "hopper_expert-v2.hdf5", seed=1)
    for name in ("hopper-medium", "hopper-medium-expert"):
        loaded = datasets.load(name, f"path:{tmp_path}")
        assert data_identity(name, f"path:{tmp_path}") == (loaded.environment, loaded.checksum, loaded.masses)
        assert planned_data(name, loaded.checksum, f"path:{tmp_path}").checksum == loaded.checksum
    assert data_identity("hopper-medium", None) == ("hopper", None, "d4rl")


def test_d4rls_files_are_planned_with_before_they_are_there(tmp_path, outputs, monkeypatch, calls):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "nowhere"))
    plan = make_plan("table6", "paper", "d4rl")
    checksums_wanted = {cell.dataset: cell.job.config["dataset"]["checksum"] for cell in plan.cells}
    assert checksums_wanted == {name: official_file(name).sha256 for name in DATASETS}
    assert not any(calls.values()) and not outputs.exists()
    assert data_identity("ant-full-replay", "d4rl") == ("ant", official_file("ant-full-replay").sha256, "d4rl")


def test_d4rls_files_have_one_identity_whether_they_are_there_or_not(tmp_path, outputs, monkeypatch):
    toy_file(tmp_path / FILE)
    known = OfficialFile((tmp_path / FILE).stat().st_size, sha256_of(tmp_path / FILE))
    monkeypatch.setitem(OFFICIAL_FILES, FILE, known)
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "nowhere"))
    planned = data_identity("hopper-medium", "d4rl")
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    data = planned_data("hopper-medium", planned[1], "d4rl")
    assert planned == (data.environment, data.checksum, data.masses)
    toy_file(tmp_path / FILE, seed=1)
    with pytest.raises(DataFileError, match="is not D4RL's"):
        check_data(["hopper-medium"], "d4rl")


def test_data_that_changed_after_the_plan_are_refused(tmp_path, outputs):
    toy_file(tmp_path / FILE)
    _, planned, _ = data_identity("hopper-medium", f"path:{tmp_path}")
    toy_file(tmp_path / FILE, seed=1)
    with pytest.raises(ValueError, match="hopper-medium changed on disk"):
        planned_data("hopper-medium", planned, f"path:{tmp_path}")


def hold_nan(path):
    observations = np.ones((30, 11), dtype=np.float32)
    observations[7, 3] = np.nan
    toy_file(path, observations=observations)


def lack_a_reward(path):
    toy_file(path, rewards=np.ones(29))


def lose_a_chunk(path):
    toy_file(path, rows=5000)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (hold_nan, r"observations hold NaN .*first: 7"),
        (lack_a_reward, "arrays differ in length"),
        (lose_a_chunk, "cannot be read as HDF5"),
    ],
)
def test_damaged_arrays_are_said_once_and_before_any_training(tmp_path, outputs, monkeypatch, damage, message):
    damage(tmp_path / "hopper_medium_expert-v2.hdf5")  # it opens, so it can be planned with
    plan = make_plan("table6", "smoke", f"path:{tmp_path}")
    monkeypatch.setattr(summary, "run_jobs", lambda *arguments: pytest.fail("a training was started"))
    with pytest.raises(DataFileError, match=message):
        summary.run_plan(plan, workers=2)
    assert not store_root().exists()


def test_only_the_data_of_missing_trainings_are_loaded_each_once(tmp_path, outputs, monkeypatch, calls):
    toy_file(tmp_path / "hopper_medium_expert-v2.hdf5")
    plan = make_plan("table6", "smoke", f"path:{tmp_path}")
    monkeypatch.setattr(summary, "seconds_of", lambda jobs: {})
    monkeypatch.setattr(summary, "run_jobs", lambda *arguments: None)
    summary.run_plan(plan, workers=2)
    assert calls == {"sha256_of": 1, "read_d4rl_file": 1, "mapped_arrays": 1}
    check_data(["hopper-medium-expert"] * 2, f"path:{tmp_path}")
    assert calls["read_d4rl_file"] == 1, "what is unpacked is not read again"
    monkeypatch.setattr(summary.Store, "is_done", lambda self, job: True)
    summary.run_plan(plan, workers=2)
    assert calls["mapped_arrays"] == 2, "with nothing to train, nothing is loaded"
