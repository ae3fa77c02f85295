"""Which body masses a data set's policies are evaluated under, and why."""

import shutil

import h5py
import numpy as np
import pytest

from synthlib.offline import masses
from synthlib.offline.cards import card, card_markdown
from synthlib.offline.datasets import load
from synthlib.offline.hdf5 import DataFileError, read_metadata
from synthlib.offline.identity import data_identity
from synthlib.offline.masses import assumptions, choose_masses, with_label
from synthlib.offline.minari import read_minari, write_minari
from synthlib.offline.sources import REPLICA_FOLDER, find_files
from synthlib.study.plan import make_plan
from synthlib.study.summary import PlanSummary
from synthlib.tasks import ENVIRONMENTS, REPLICA_MASSES, physics_version
from tests.common import toy_file

FILE = "hopper_medium-v2.hdf5"


@pytest.fixture
def hopper(two_tiers, tmp_path, outputs):
    """A real hopper's file that does not say its masses; ``path:<its folder>`` has no other file."""
    (path,) = find_files("hopper-medium", two_tiers)
    path = shutil.copy(path, tmp_path / FILE)
    with h5py.File(path, "a") as file:
        del file.attrs["body_masses"]
    return path


def label(path, value, name="body_masses"):
    with h5py.File(path, "a") as file:
        file.attrs[name] = value


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_replica_has_masses_of_its_own_and_its_runs_the_identity_that_they_always_had(environment):
    name = f"{environment}-medium"
    assert choose_masses(name, "replica").masses == "replica"
    assert data_identity(name, "replica")[2] == "replica"
    assert physics_version(environment, "replica")["masses"] == REPLICA_MASSES[environment]
    provenance = load(name).metadata[f"{environment}_medium-v0.hdf5"]
    assert provenance["body_masses"] == "replica" and "masses" not in provenance


def test_d4rls_own_files_need_not_say_their_masses(tmp_path, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    assert choose_masses("halfcheetah-medium", "d4rl").masses == "d4rl", "the file is not even there"


def test_a_file_that_says_nothing_has_the_masses_that_its_steps_fit(hopper):
    source = f"path:{hopper.parent}"
    choice = choose_masses("hopper-medium", source)
    assert choice.masses == "d4rl" and not choice.assumed
    assert choice.why.startswith("because its recorded steps fit them (median error ")
    assert assumptions(["hopper-medium"], source) == []


def test_steps_under_todays_masses_are_evaluated_under_todays(tmp_path, outputs):
    """The replica's halfcheetah, as somebody else's file."""
    path = shutil.copy(REPLICA_FOLDER / "halfcheetah_medium-v0.hdf5", tmp_path)
    with h5py.File(path, "a") as file:
        file.attrs.clear()
    assert data_identity("halfcheetah-medium", f"path:{tmp_path}")[2] == "stock"
    assert load("halfcheetah-medium", f"path:{tmp_path}").masses == "stock"


def test_steps_that_fit_nothing_are_said_to_and_d4rls_masses_are_assumed(tmp_path, outputs):
    toy_file(tmp_path / "hopper_medium_expert-v2.hdf5")
    source = f"path:{tmp_path}"
    sentence = (
        "hopper-medium-expert: policies are evaluated under the d4rl body masses by default, "
        "because its recorded steps fit no known masses"
    )
    assert assumptions(["hopper-medium-expert"], source) == [sentence]
    assert sentence in str(PlanSummary(make_plan("table6", "smoke", source), workers=1))
    row = "| body masses for evaluations | d4rl, by default, because its recorded steps fit no known masses |"
    assert row in card_markdown(card("hopper-medium-expert", source))
    assert "body masses" not in str(PlanSummary(make_plan("table6", "smoke", "replica"), workers=1))


def test_a_damaged_file_has_an_identity_all_the_same(tmp_path, outputs):
    toy_file(tmp_path / FILE, rewards=np.ones(29))
    choice = choose_masses("hopper-medium", f"path:{tmp_path}")
    assert choice.masses == "d4rl" and choice.why.endswith("because its recorded steps cannot be replayed")


@pytest.mark.parametrize("place", ["attribute", "scalar"])
def test_what_a_file_says_counts(hopper, place):
    if place == "attribute":
        label(hopper, "stock")
    else:
        with h5py.File(hopper, "a") as file:
            file["metadata/body_masses"] = np.bytes_("stock")
    assert choose_masses("hopper-medium", f"path:{hopper.parent}") == ("stock", "because the file says so", False)


def test_the_label_of_old_files_means_what_it_meant(hopper):
    """It was "masses", and its "d4rl" left halfcheetah and ant under today's masses."""
    label(hopper, "d4rl", "masses")
    assert choose_masses("hopper-medium", f"path:{hopper.parent}").masses == "replica"
    assert read_metadata(REPLICA_FOLDER / "ant_medium-v0.hdf5")["masses"] == "d4rl"
    assert with_label({"masses": "stock", "seed": 1}) == {"body_masses": "stock", "seed": 1}
    assert with_label({"masses": "d4rl", "body_masses": "d4rl"})["body_masses"] == "d4rl"


@pytest.mark.parametrize("value", ["heavy", "", np.arange(3), h5py.Empty("f")])
def test_a_label_that_is_none_of_ours_does_not_decide(hopper, value):
    for name in ("body_masses", "masses"):
        label(hopper, value, name)
    assert choose_masses("hopper-medium", f"path:{hopper.parent}").masses == "d4rl"


def test_joined_files_must_agree_where_both_are_known(hopper):
    source, expert = f"path:{hopper.parent}", hopper.with_name("hopper_expert-v2.hdf5")
    toy_file(expert)  # fits nothing
    label(hopper, "stock")
    assert choose_masses("hopper-medium-expert", source).masses == "stock"
    label(expert, "d4rl")
    with pytest.raises(DataFileError, match="hopper-medium-expert: its files were made with different body masses"):
        choose_masses("hopper-medium-expert", source)
    label(hopper, "replica")  # a hopper of the replica weighs the same
    assert choose_masses("hopper-medium-expert", source).masses == "replica"


def test_masses_survive_the_way_through_minari_where_they_are_known(hopper, tmp_path, monkeypatch):
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    label(hopper, "replica")
    toy_file(hopper.with_name("hopper_medium_replay-v2.hdf5"))  # fits nothing
    for tier, expected in (("medium", "replica"), ("medium-replay", None)):
        write_minari(f"hopper-{tier}", f"here/hopper/{tier}-v0", f"path:{hopper.parent}")
        path = read_minari(f"here/hopper/{tier}-v0", f"hopper-{tier}", tmp_path / "back")
        assert read_metadata(path).get("body_masses") == expected


def test_steps_are_replayed_once_for_a_file_whatever_its_name(hopper, tmp_path, monkeypatch):
    calls = []
    original = masses.median_errors
    monkeypatch.setattr(masses, "median_errors", lambda *arguments: calls.append(arguments) or original(*arguments))
    source, cache = f"path:{hopper.parent}", tmp_path / "cache"
    first = choose_masses("hopper-medium", source, cache)
    hopper.rename(hopper.with_name("hopper_medium_replay-v2.hdf5"))
    assert choose_masses("hopper-medium-replay", source, cache) == first and len(calls) == 1
    (kept,) = (cache / "masses").iterdir()
    for damaged in ("{}", "no JSON", '{"d4rl": 0, "other": 1}'):
        kept.write_text(damaged)
        assert choose_masses("hopper-medium-replay", source, cache) == first
    assert len(calls) == 4


def test_a_cache_that_cannot_be_written_costs_only_time(hopper, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert choose_masses("hopper-medium", f"path:{hopper.parent}", tmp_path / "cache").masses == "d4rl"
