"""Whose data a report says that its runs were trained on, and where its files go."""

import shutil
from functools import partial

import pytest

from synthlib.offline.download import DownloadError
from synthlib.offline.identity import data_identity
from synthlib.offline.sources import REPLICA_FOLDER, checksum
from synthlib.paths import RECORDS
from synthlib.report import finished_runs
from synthlib.report.data_page import page_folder
from synthlib.report.finished_runs import runs_of_plan
from synthlib.report.sources import open_runs
from synthlib.runs.store import Store
from synthlib.study.plan import make_plan
from tests.common import toy_file

TABLE, PRESET = "cql_start_scouts", "scouting"  # a few runs of it are published


def replica_as_own_files(folder):
    """The replica's files as somebody's own: the published runs were trained on the same content."""
    folder.mkdir()
    for path in REPLICA_FOLDER.glob("*.hdf5"):
        (folder / path.name).symlink_to(path)
    return folder


def test_two_folders_of_data_never_share_an_output_folder(tmp_path, outputs):
    own_copy, other = replica_as_own_files(tmp_path / "mine"), replica_as_own_files(tmp_path / "theirs")
    first, second = (open_runs("own", PRESET, f"path:{folder}") for folder in (own_copy, other))
    assert first.folder(TABLE) == second.folder(TABLE), "the same content gives the same numbers"
    data_identity.cache_clear()
    changed = other / "halfcheetah_medium-v0.hdf5"
    changed.unlink()
    toy_file(changed, rows=300, widths=(17, 6))
    assert first.folder(TABLE) != second.folder(TABLE)
    names = {open_runs("own", PRESET, data).folder(TABLE).name for data in ("replica", "d4rl", f"path:{own_copy}")}
    assert names == {TABLE, f"{TABLE}-d4rl", first.folder(TABLE).name}


def test_the_table_names_the_folder_and_the_checksums(tmp_path, outputs):
    own_copy = replica_as_own_files(tmp_path / "mine")
    runs = open_runs("own", PRESET, f"path:{own_copy}")
    report = runs.report(TABLE)
    first = checksum("halfcheetah-medium", f"path:{own_copy}")[:8]
    named = f"the user's own files in D4RL's layout, in {own_copy} (SHA-256 "
    for text in (report.caption(), report.text(), report.html()):
        text = text.replace("&#x27;", "'")
        assert named in text and f"halfcheetah-medium {first}" in text
    assert report.runs.provenance["data"] == f"path:{own_copy}"
    assert str(own_copy) in runs.limits()


def test_one_data_set_gives_its_own_digits_to_the_folder(tmp_path, outputs):
    toy_file(tmp_path / "hopper_medium_expert-v2.hdf5")
    source = f"path:{tmp_path}"
    digits = checksum("hopper-medium-expert", source)[:8]
    assert open_runs("own", "smoke", source).folder("table6") == outputs / "smoke" / f"table6-path-{digits}"
    assert page_folder("01_datasets", "smoke", source) == outputs / "smoke" / f"01_datasets-path-{digits}"


def test_pages_of_other_sources_have_their_name(tmp_path, outputs):
    assert page_folder("scoreboard", "quick", "replica") == outputs / "quick" / "scoreboard"
    assert page_folder("scoreboard", "quick", "d4rl") == outputs / "quick" / "scoreboard-d4rl"
    with pytest.raises(FileNotFoundError, match="none of the data sets is there"):
        page_folder("scoreboard", "quick", f"path:{tmp_path}")


def test_only_the_data_of_trainings_that_are_missing_are_fetched(tmp_path, outputs, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", "/sys/d4rl")  # nothing can be fetched into it
    runs = open_runs("own", PRESET, "d4rl")
    with pytest.raises(DownloadError, match=r"-v2\.hdf5 is wanted"):
        runs.prepare(TABLE)
    monkeypatch.setattr(Store, "is_done", lambda store, job: True)
    runs.prepare(TABLE)


@pytest.mark.parametrize(
    ("table", "of_a_card"),
    [
        ("cql_stronger", "; 9 of 9 runs on NVIDIA H100 80GB HBM3, TF32"),
        ("cql_start", ""),
    ],
)
def test_a_table_says_which_of_its_published_runs_are_of_a_card(table, of_a_card, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path))
    label = runs_of_plan(make_plan(table, "evening", "replica")).label
    assert label.endswith("comparable with the paper's)" + of_a_card)


@pytest.mark.parametrize("content", [None, "{"], ids=["missing", "damaged"])
def test_a_run_whose_device_is_not_known_stays_in_its_table(content, tmp_path, outputs, monkeypatch):
    records = tmp_path / "records"
    plan = make_plan("cql_stronger", "evening", "replica")
    for job in plan.jobs():
        shutil.copytree(RECORDS / job.kind / job.key, records / job.kind / job.key)
    spoilt = records / plan.cells[0].job.kind / plan.cells[0].job.key / "environment.json"
    spoilt.unlink() if content is None else spoilt.write_text(content)
    monkeypatch.setattr(finished_runs, "Store", partial(Store, records=records))
    assert runs_of_plan(plan).label.endswith("; 8 of 9 runs on NVIDIA H100 80GB HBM3, TF32")
