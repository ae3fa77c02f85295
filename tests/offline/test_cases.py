"""Files that users of such code report in public: each loads right, or is refused in one sentence.

Each file is built from the embedded replica. The same tests run on the files in ../shared/cases where that folder is.
"""

import re

import h5py
import numpy as np
import pytest

from synthlib.doctor import examine
from synthlib.offline.datasets import ADAPTED, load, qlearning_transitions, trajectories
from synthlib.offline.hdf5 import DataFileError, write_d4rl_file
from tests.common import SHARED

NAMES = ("hopper-medium-expert", "hopper-medium-replay")
COLUMNS = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations")


def replica(name, rows):
    """The first rows of an embedded data set."""
    data = load(name, next_observations=True)
    return {column: np.array(getattr(data, column)[:rows]) for column in COLUMNS}


def no_end():
    return {"hopper": replica("hopper-medium", 300)}, {}


def timeouts_zero():
    arrays = {"hopper": replica("hopper-medium", 6000), "halfcheetah": replica("halfcheetah-medium", 4000)}
    for columns in arrays.values():
        columns["timeouts"][:] = False
    return arrays, {}


def shuffled():
    arrays = replica("hopper-medium", 3000)
    order = np.random.default_rng(0).permutation(3000)
    return {"hopper": {name: array[order] for name, array in arrays.items()}}, {}


def attrs_bytes():
    names = np.array([b"Hopper-v2", b"Hopper-v3"])
    return {"hopper": replica("hopper-medium", 3000)}, {"env_names": names, "seed": np.int64(3)}


def attrs_empty():
    return {"hopper": replica("hopper-medium", 3000)}, {"note": h5py.Empty("S10")}


def huge_rewards():
    arrays = replica("hopper-medium", 3000)
    return {"hopper": arrays | {"rewards": arrays["rewards"] * 1e36}}, {}


@pytest.fixture(params=["built", "shared"])
def folder(request, tmp_path):
    """A function: name of a case -> its data source."""

    def find(case):
        if request.param == "shared":
            if not (SHARED / "cases" / case).is_dir():
                pytest.skip("the small files are not beside this checkout")
            return f"path:{(SHARED / 'cases' / case).resolve()}"
        arrays, attributes = globals()[case]()
        for name in NAMES:
            write_d4rl_file(tmp_path / f"{name.replace('-', '_')}-v2.hdf5", arrays["hopper"], attributes)
        if "halfcheetah" in arrays:
            write_d4rl_file(tmp_path / "halfcheetah_medium-v1.hdf5", arrays["halfcheetah"], attributes)
        return f"path:{tmp_path}"

    return find


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no_end", r"no episode ends in its 300 rows; set terminals or timeouts to True"),
        ("shuffled", r"next_observations is not the next row's observation in 2,9\d\d of the 2,9\d\d rows"),
        ("huge_rewards", r"rewards reach [\d.]+e\+36, beyond MuJoCo's own limit"),
    ],
)
def test_a_file_that_cannot_be_trained_on_is_refused_by_loader_and_doctor(folder, case, message, capsys):
    source = folder(case)
    for name in NAMES:
        with pytest.raises(DataFileError, match=message):
            load(name, source)
    assert examine(source, "smoke") == 1
    lines = capsys.readouterr().out.splitlines()
    problems = [line for line in lines if "PROBLEM  data: " in line]
    assert len(problems) >= len(NAMES)
    for line in problems:
        assert re.search(message, line)
    assert lines[-1].startswith("not ready: ") and lines[-1].endswith(
        f"(see above); then: make reproduce-table6 DATA={source} PRESET=smoke"
    )


def test_timeouts_that_say_nothing_are_found(folder, capsys):
    source = folder("timeouts_zero")
    for name, first in (("hopper-medium-replay", None), ("halfcheetah-medium", 999)):
        data = load(name, source, next_observations=True)
        ends = np.flatnonzero(data.timeouts)
        assert len(ends) >= 1 and (first is None or ends[0] == first)
        assert max(len(episode.rewards) for episode in trajectories(data)) == 1000
        found = qlearning_transitions(data)
        going_on = ~found.terminals
        kept = np.flatnonzero(~data.timeouts[:-1])
        np.testing.assert_array_equal(found.next_observations[going_on], data.next_observations[kept][going_on])
        (facts,) = data.metadata.values()
        assert [note.partition(", as")[0] for note in facts[ADAPTED]] == [f"time ran out in {len(ends)} rows"]
    examine(source, "smoke")
    assert "ok       data: hopper_medium_replay-v2.hdf5: time ran out in 1 rows" in capsys.readouterr().out


@pytest.mark.parametrize("case", ["attrs_bytes", "attrs_empty"])
def test_attributes_decide_nothing(folder, case, tmp_path, capsys, monkeypatch):
    source = folder(case)
    for name in NAMES:
        plain, cached = load(name, source), load(name, source, tmp_path / "cache")
        assert len(plain) == 3000 and cached.metadata == plain.metadata
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert examine(source, "smoke") == 0
    assert capsys.readouterr().out.endswith(f"ready: make reproduce-table6 DATA={source} PRESET=smoke\n")
