"""``make doctor STORE=1``: what it finds, what it repairs, and that a whole store has nothing to find."""

import json
import os
import subprocess
import sys

import pytest

from synthlib.__main__ import main
from synthlib.machine.cached import kept_arrays, mapped_arrays
from synthlib.machine.locks import try_claim
from synthlib.runs.repair import verify
from synthlib.runs.store import Store
from synthlib.study.engine import run_jobs
from tests.attacks.toys import run_job
from tests.common import needs_root, succeeds_for_another_user
from tests.machine.test_cached import make, make_mapped
from tests.runs.test_integrity import HOWS, as_before_checksums, assert_equal, copied, spoil, undisturbed  # noqa: F401
from tests.runs.test_integrity import train as train_job


def test_a_whole_store_has_nothing_to_find(copied, tmp_path):  # noqa: F811
    store, jobs = copied
    found = verify(store, tmp_path / "cache")
    assert found == (2, 0, 0, [])
    as_before_checksums(store, jobs)
    assert verify(store, tmp_path / "cache") == (2, 0, 2, [])


@pytest.mark.parametrize("how", HOWS)
def test_everything_that_is_damaged_is_named_and_then_made_again(how, copied, undisturbed, tmp_path):  # noqa: F811
    store, jobs = copied
    cache = tmp_path / "cache"
    kept_arrays(cache / "mdp" / "a.npz", make)
    mapped_arrays(cache / "datasets" / "a", make_mapped)
    (cache / "checksums.json").write_text("{}\n")
    files = sorted(path for path in store.root.rglob("*") if path.is_file() and path.name != "progress.json")
    spoilt = [*files, cache / "mdp" / "a.npz", cache / "checksums.json"]
    for path in (*spoilt, cache / "datasets" / "a" / "rewards.npy"):
        spoil(path, how)
    named = {finding.path for finding in verify(store, cache).findings if finding.is_damage}
    harmless = {path for path in spoilt if how in ("a bit", "a hole") and path not in named and path.suffix == ".json"}
    for path in harmless:  # a letter of a text that is still JSON, such as the name of a processor
        assert isinstance(json.loads(path.read_bytes()), dict) and path.name == "environment.json"
    assert named >= {*spoilt, cache / "datasets" / "a"} - harmless
    for job in jobs:
        train_job(job, store)
    assert_equal(store, undisturbed[0], jobs)
    assert not [finding for finding in verify(store, cache).findings if finding.is_damage]


@pytest.mark.parametrize("place", range(0, 400, 23))
def test_any_flipped_bit_of_progress_is_noticed(place, copied, tmp_path):  # noqa: F811
    store, (_, job) = copied
    path = store.folder(job) / "progress.json"
    before, content = json.loads(path.read_bytes()), bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << place % 7
    path.write_bytes(content)
    try:
        is_the_same = json.loads(path.read_bytes()) == before  # such as a blank that became a line's end
    except ValueError:
        is_the_same = False
    assert store.is_done(job) == is_the_same
    named = [finding.path for finding in verify(store, tmp_path / "cache").findings]
    assert named == ([] if is_the_same else [path])


def test_leftovers_are_removed_and_a_living_training_is_left_alone(copied, tmp_path):  # noqa: F811
    store, jobs = copied
    folder, kind = store.folder(jobs[0]), store.folder(jobs[0]).parent
    (folder / ".losses.csv.0123abcd.partial").write_text("half")
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    claim = try_claim(folder)
    owner = json.loads(claim.path.read_text())
    claim.release()
    (folder / "claim.json").write_text(json.dumps(owner | {"pid": int(dead.stdout)}))
    (folder / ".takeover").write_text("")
    (kind / "0123456789abcdef").mkdir()
    (kind / ".key.0123abcd.partial").mkdir()
    (kind / ".new.0123abcd.partial").mkdir()  # perhaps being made at this moment
    os.utime(kind / ".key.0123abcd.partial", (1, 1))
    alive = store.open(jobs[1])
    found = verify(store, tmp_path / "cache")
    alive.release()
    assert found.busy == 1 and {finding.done for finding in found.findings} == {"removed"}
    assert len(found.findings) == 5
    assert sorted(path.name for path in kind.iterdir()) == [".new.0123abcd.partial", folder.name]
    assert not [path for path in folder.iterdir() if path.name.startswith(".") or path.name == "claim.json"]


def test_arrays_from_before_checksums_are_left_over(copied, tmp_path):  # noqa: F811
    folder = tmp_path / "cache" / "datasets" / "a"
    mapped_arrays(folder, make_mapped)
    (folder / "sha256.json").unlink()
    (finding,) = verify(copied[0], tmp_path / "cache").findings
    assert finding.done == "removed" and not finding.is_damage and not folder.exists()


def test_a_folder_without_a_name_is_told(copied, tmp_path):  # noqa: F811
    store, jobs = copied
    (store.folder(jobs[0]) / "config.json").unlink()
    (finding,) = verify(store, tmp_path / "cache").findings
    assert "nothing says which training it is" in finding.what and "run its table again" in finding.done


@pytest.mark.parametrize("content", ["", '{"a', "[]", None])
def test_a_finished_training_gets_its_descriptions_back_when_its_table_is_run_again(content, copied, tmp_path):  # noqa: F811
    store, jobs = copied
    folder = store.folder(jobs[1])
    config = (folder / "config.json").read_bytes()
    for name in ("config.json", "environment.json"):
        (folder / name).unlink() if content is None else (folder / name).write_text(content)
    assert [finding.path for finding in verify(store, tmp_path / "cache").findings if finding.is_damage]
    run_jobs(jobs, store, workers=1)
    assert (folder / "config.json").read_bytes() == config
    assert json.loads((folder / "environment.json").read_text()) == {}, "where it was made is not known any more"
    assert not [finding for finding in verify(store, tmp_path / "cache").findings if finding.is_damage]
    assert not list(folder.glob("claim.json")) + list(folder.glob(".*"))


def test_what_was_set_aside_is_listed_wherever_it_lies(copied, tmp_path):  # noqa: F811
    store, jobs = copied
    cache = tmp_path / "cache"
    places = [cache / "a.json", cache / "mdp" / "a.npz", cache / "datasets" / "a", store.records / "toy" / "a"]
    places += [store.folder(jobs[0]), store.folder(jobs[1]) / "losses.csv"]
    aside = {path.with_name(f"{path.name}.damaged") for path in places}
    for path in aside:
        path.mkdir(parents=True)
    found = verify(store, cache)
    assert found.trainings == 2 and {finding.path for finding in found.findings} == aside
    assert {finding.what for finding in found.findings} == {"was set aside before"}


@needs_root
def test_another_user_is_told_who_has_to_repair(public_folder):
    store, job = Store(public_folder / "store", public_folder / "records"), run_job(1)
    train_job(job, store)
    spoil(store.folder(job) / "losses.csv", "cut")

    def look():
        findings = verify(store, public_folder / "cache").findings
        return ["its owner has to repair it" in finding.done for finding in findings] == [True]

    assert succeeds_for_another_user(look)


def test_the_command_says_all_this(outputs, capsys):
    store, job = Store(outputs / "store"), run_job(1)
    train_job(job, store)
    assert main(["doctor", "--store"]) == 0
    said = capsys.readouterr().out
    assert "trainings verified" in said and "0 damaged files, 0 leftovers" in said
    path = store.folder(job) / "evaluations.csv"
    spoil(path, "cut")
    assert main(["doctor", "--store"]) == 1
    assert f"DAMAGED  {path}: does not have the checksum of progress.json; kept as evaluations.csv.damaged" in (
        capsys.readouterr().out
    )
