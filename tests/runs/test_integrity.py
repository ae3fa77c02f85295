"""What says "done" is whole: every file that is cut, emptied or changed is named, set aside and made again."""

import json
import os
import shutil

import pandas as pd
import pytest
import torch

from synthlib.machine import locks
from synthlib.machine.locks import ClaimLost
from synthlib.runs.progress import facts_of_file
from synthlib.runs.store import Store
from tests.attacks.toys import plan, pretraining_job, run_job
from tests.common import train


def trained(root, jobs):
    store = Store(root / "store", root / "records")
    for job in jobs:
        if not store.is_done(job):
            train(job, store)
    return store


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """(store, its jobs: a pre-training and a run that starts from it)."""
    jobs = plan([1])
    return trained(tmp_path_factory.mktemp("undisturbed"), jobs), jobs


@pytest.fixture
def copied(undisturbed, tmp_path):
    """The same in a folder that a test may spoil."""
    store, jobs = undisturbed
    shutil.copytree(store.root, tmp_path / "store")
    return Store(tmp_path / "store", tmp_path / "records"), jobs


def as_before_checksums(store, jobs):
    """Make the folders those that the code made before it kept checksums."""
    for job in jobs:
        path = store.folder(job) / "progress.json"
        known = json.loads(path.read_text())
        path.write_text(json.dumps({name: known[name] for name in ("updates", "time")}, indent=1) + "\n")


def assert_equal(store, other, jobs):
    for job in jobs:
        assert store.is_done(job) and other.is_done(job)
        for rows in (Store.evaluations, Store.losses):
            pd.testing.assert_frame_equal(rows(store, job), rows(other, job))
        for kept in job.keep:
            name = f"weights_{kept}.pt"
            one, two = (torch.load(one.folder(job) / name, weights_only=True) for one in (store, other))
            assert torch.equal(one["values"], two["values"])


def spoil(path, how):
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "emptied": b"",
            "cut": content[:middle],
            "a bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "a hole": content[: middle - 20] + bytes(40) + content[middle + 20 :],
        }[how]
    )


HOWS = ["emptied", "cut", "a bit", "a hole"]
FILES = [(0, "weights_10.pt"), (0, "weights_20.pt"), (0, "losses.csv"), (1, "evaluations.csv"), (1, "losses.csv")]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("place", "name"), FILES)
def test_a_damaged_file_is_named_set_aside_and_made_again(place, name, how, copied, undisturbed, capsys):
    store, jobs = copied
    path = store.folder(jobs[place]) / name
    spoil(path, how)
    assert not store.is_done(jobs[place]) and f"{path} is damaged" in capsys.readouterr().err
    if name == "evaluations.csv":
        assert store.evaluations(jobs[place]).empty  # and no other answer
    train(jobs[place], store)
    assert f"{path} does not have the checksum" in capsys.readouterr().out
    assert path.with_name(f"{name}.damaged").exists()
    assert_equal(store, undisturbed[0], jobs)


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_checkpoint_is_never_gone_on_from(how, copied, capsys):
    store, jobs = copied
    path = store.folder(jobs[1]) / "checkpoint.pt"
    spoil(path, how)
    longer = run_job(1, 80, pretraining=jobs[0])
    train(longer, store)
    assert f"{path} cannot be read" in capsys.readouterr().out
    assert_equal(store, trained(store.root.parent / "longer", [*jobs, longer]), [*jobs, longer])


@pytest.mark.parametrize("with_checkpoint", [True, False])
@pytest.mark.parametrize("name", ["progress.json", "config.json", "environment.json"])
@pytest.mark.parametrize("content", [b"", b'{"updates": ', b"[]", b"\xff\xfe", bytes(30)])
def test_damaged_json_is_named_and_made_again(content, name, with_checkpoint, copied, undisturbed, capsys):
    store, jobs = copied
    for job in jobs:
        (store.folder(job) / name).write_bytes(content)
        if not with_checkpoint:
            (store.folder(job) / "checkpoint.pt").unlink()
        assert store.status(job) in ("done", "started", "missing") and store.failure(job) is None
    for job in jobs:
        if not store.is_done(job):
            train(job, store)
    assert_equal(store, undisturbed[0], jobs)
    if name == "progress.json" and content != b"[]":
        assert str(store.folder(jobs[0]) / name) in capsys.readouterr().err


def test_a_damaged_record_of_a_failure_is_no_failure(copied):
    store, jobs = copied
    (store.folder(jobs[0]) / "progress.json").unlink()
    for content in ("", "{}", "[1]"):
        (store.folder(jobs[0]) / "FAILED.json").write_text(content)
        assert store.failure(jobs[0]) is None
    train(jobs[0], store)
    assert not (store.folder(jobs[0]) / "FAILED.json").exists()


def test_folders_from_before_checksums_are_read_and_gone_on_from(copied, undisturbed):
    store, jobs = copied
    as_before_checksums(store, jobs)
    assert_equal(store, undisturbed[0], jobs)
    longer = run_job(1, 80, pretraining=jobs[0])
    train(longer, store)
    assert_equal(store, trained(store.root.parent / "longer", [*jobs, longer]), [*jobs, longer])


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", ["weights_20.pt", "checkpoint.pt"])
def test_damaged_archives_from_before_checksums_are_noticed_too(name, how, copied, undisturbed):
    store, jobs = copied
    as_before_checksums(store, jobs)
    spoil(store.folder(jobs[0]) / name, how)
    if name == "checkpoint.pt":  # nothing asks for it before more updates are wanted
        spoil(store.folder(jobs[0]) / "weights_20.pt", how)
    assert not store.is_done(jobs[0])
    train(jobs[0], store)
    assert_equal(store, undisturbed[0], jobs)


def test_what_was_suspended_writes_nothing_over_what_its_successor_finished(tmp_path, monkeypatch):
    """At whatever rename of a save it was stopped."""
    job, expected = run_job(3), trained(tmp_path / "expected", [run_job(3)])
    for stopped_at in range(1, 6):
        store = Store(tmp_path / f"store{stopped_at}")
        first = store.open(job)
        renames = [0]

        def stop(session=first, store=store, renames=renames, stopped_at=stopped_at):
            """What is called before a rename: at one of them, this process sleeps while another takes over."""
            renames[0] += 1
            if renames[0] == stopped_at:
                with monkeypatch.context() as patched:
                    patched.setattr(locks, "_may_be_taken", lambda folder: True)
                    successor = store.open(job)
                assert successor is not None
                _train_in(successor, job, store)
            return locks.Claim.held(session._claim)

        monkeypatch.setattr(first._claim, "held", stop)
        with pytest.raises(ClaimLost):
            _train_in(first, job, store)
        assert renames[0] == stopped_at
        assert_equal(store, expected, [job])
        assert store.failure(job) is None and not list(store.folder(job).glob(".*"))


def _train_in(session, job, store):
    from synthlib.runs import loop
    from synthlib.study.algorithms import training

    with session.recording_failure():
        loop.train(training(job), [session], store, lambda updates: None)


def test_a_reader_that_comes_in_the_middle_of_a_save_sees_the_last_rows(copied):
    store, jobs = copied
    path = store.folder(jobs[1]) / "evaluations.csv"
    before = store.evaluations(jobs[1])
    path.write_text(path.read_text() + "65,1.0,1.0\n")  # the longer job has written its rows, not yet its progress
    assert store.is_done(jobs[1])
    pd.testing.assert_frame_equal(store.evaluations(jobs[1]), before)


def test_nothing_is_written_through_a_link(copied, tmp_path):
    store, _ = copied
    job, victim = run_job(9), tmp_path / "victim"
    victim.mkdir()
    store.folder(job).parent.mkdir(exist_ok=True)
    store.folder(job).symlink_to(victim)
    with pytest.raises(OSError, match="is a link, and nothing is written through links"):
        store.open(job)
    assert list(victim.iterdir()) == []
    store.folder(job).unlink()
    (tmp_path / "precious.txt").write_text("precious")
    session = store.open(job)
    for name in ("checkpoint.pt", "evaluations.csv", "progress.json"):
        (store.folder(job) / name).symlink_to(tmp_path / "precious.txt")
    session.save({"updates": 5}, 5, [{"updates": 5, "score": 1.0}])
    session.release()
    assert (tmp_path / "precious.txt").read_text() == "precious"
    assert not (store.folder(job) / "checkpoint.pt").is_symlink()


def test_a_training_leaves_nothing_but_its_files(copied):
    store, jobs = copied
    for left in (".checkpoint.pt.0123abcd.partial", ".takeover", "claim.json"):
        (store.folder(jobs[0]) / left).write_text("{}" if left == "claim.json" else "")
    os.utime(store.folder(jobs[0]) / "claim.json", (1, 1))
    locks._watched[store.folder(jobs[0]) / "claim.json"] = (None, 0.0)
    abandoned = store.folder(jobs[0]).with_name(f".{run_job(5).key}.0123abcd.partial")
    abandoned.mkdir()
    assert store.open(jobs[0]) is None  # its owner is unknown: watched for some time
    stat = (store.folder(jobs[0]) / "claim.json").stat()
    locks._watched[store.folder(jobs[0]) / "claim.json"] = ((stat.st_mtime_ns, stat.st_ino, None), -1000.0)
    store.open(jobs[0]).release()
    names = {path.name for path in store.folder(jobs[0]).iterdir()}
    assert names == {
        "checkpoint.pt",
        "config.json",
        "environment.json",
        "losses.csv",
        "progress.json",
        "weights_10.pt",
        "weights_20.pt",
    }


def test_progress_lists_updates_rows_checksums_and_the_token_of_the_writer(copied):
    store, (pretraining, run) = copied
    known = json.loads((store.folder(run) / "progress.json").read_text())
    assert known["updates"] == 60 and known["rows"]["evaluations.csv"]["rows"] == 12 and len(known["token"]) == 16
    weights = json.loads((store.folder(pretraining) / "progress.json").read_text())["weights"]
    assert weights == {
        f"weights_{kept}.pt": facts_of_file(store.folder(pretraining) / f"weights_{kept}.pt") for kept in (10, 20)
    }
    assert pretraining_job(1).key == pretraining.key
