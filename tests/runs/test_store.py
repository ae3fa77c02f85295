import json

import pytest
import torch

from synthlib.machine.locks import ClaimLost
from synthlib.runs import session as sessions
from synthlib.runs.job import Job
from synthlib.runs.publish import publish
from synthlib.runs.store import Store
from tests.common import job, save


def test_identity_is_the_configuration_and_not_its_length_or_place():
    assert job(10).key == job(20).key
    assert job().key == Job("cql", {"seed": 1}, 10, context={"source": "path:/elsewhere"}).key
    assert job(seed=1, ratio=0.5).key == job(ratio=0.5, seed=1).key
    assert job(seed=2).key != job(seed=1).key
    assert Job("critic_pretraining", {"seed": 1}, 10).key != job().key


def test_a_longer_job_goes_on_from_a_shorter_one_and_reads_its_rows(tmp_path):
    store = Store(tmp_path)
    rows = [{"updates": 5, "score": 1.0}, {"updates": 10, "score": 2.0}]
    save(store, job(10), 10, rows)
    assert store.status(job(10)) == "done" and store.is_done(job(5))
    assert store.status(job(20)) == "started" and store.fraction_done(job(20)) == 0.5
    assert list(store.evaluations(job(5))["score"]) == [1.0]
    session = store.open(job(20))
    assert session.resume()["updates"] == 10
    session.release()


def test_a_job_whose_kept_weights_are_missing_is_not_done(tmp_path):
    store = Store(tmp_path)
    save(store, job(10), 10)
    wanted = job(10, keep=(4,))
    assert not store.is_done(wanted)
    session = store.open(wanted)
    session.save_weights(4, {"q1": torch.zeros(2)})
    session.release()
    assert store.is_done(wanted)


def test_zero_updates_are_done_only_once_saved(tmp_path):
    store = Store(tmp_path)
    assert store.status(job(0)) == "missing"
    save(store, job(0), 0)
    assert store.status(job(0)) == "done"


def test_two_writers_cannot_open_one_training(tmp_path):
    store = Store(tmp_path)
    session = store.open(job())
    assert store.open(job(99)) is None
    assert store.status(job()) == "running"
    session.release()


def test_a_failure_leaves_its_traceback_and_is_forgotten_after_success(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(FloatingPointError), store.open(job()).recording_failure():
        raise FloatingPointError("loss is NaN")
    assert store.status(job()) == "failed"
    failure = store.failure(job())
    assert failure["error"] == "FloatingPointError: loss is NaN" and "Traceback" in failure["traceback"]
    save(store, job(), 10)
    assert store.status(job()) == "done" and store.failure(job()) is None


def test_a_truncated_checkpoint_is_set_aside_and_training_starts_again(tmp_path, capsys):
    store = Store(tmp_path)
    save(store, job(20), 10)
    path = store.folder(job()) / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:100])
    session = store.open(job(20))
    assert session.resume() is None
    session.release()
    assert "cannot be read" in capsys.readouterr().out
    assert (path.parent / "checkpoint.pt.damaged").exists()


def test_a_checkpoint_that_the_disk_does_not_give_is_left_where_it_is(tmp_path, monkeypatch):
    store = Store(tmp_path)
    save(store, job(20), 10)
    session = store.open(job(20))

    def stale(*_, **__):
        raise OSError(116, "stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "load", stale)
        with pytest.raises(OSError, match="stale"):
            session.resume()
    assert session.resume()["updates"] == 10
    session.release()


def test_a_training_that_goes_on_elsewhere_says_so(tmp_path, monkeypatch):
    runs = Store(tmp_path / "store", tmp_path / "records")
    save(runs, job(20), 10)
    save(runs, job(20), 15)
    there = runs.folder(job()) / "environment.json"
    first = json.loads(there.read_text())
    assert "continued" not in first
    elsewhere = first | {"host": "elsewhere", "device": "a GPU", "started": "later"}
    monkeypatch.setattr(sessions, "describe_environment", lambda: elsewhere)
    save(runs, job(20), 20)
    save(runs, job(30), 25)
    assert json.loads(there.read_text()) == first | {"continued": [elsewhere]}
    publish(type("Plan", (), {"jobs": lambda self: [job(20)]})(), runs)
    assert "elsewhere" not in (runs.record(job()) / "environment.json").read_text()


def test_a_disk_that_is_full_when_the_machine_is_noted_is_a_failure_of_that_training(tmp_path, monkeypatch):
    runs = Store(tmp_path)
    save(runs, job(20), 10)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sessions, "_note_where", full)
    with pytest.raises(OSError, match="No space"), runs.open(job(20)).recording_failure():
        pass
    assert "No space" in runs.failure(job(20))["error"] and runs.status(job(20)) == "failed"


def test_a_claim_that_was_lost_is_no_failure_of_the_training(tmp_path):
    store = Store(tmp_path)
    session = store.open(job())
    claim = store.folder(job()) / "claim.json"
    with pytest.raises(ClaimLost), session.recording_failure():
        claim.write_text(json.dumps({"host": "elsewhere", "pid": 1, "token": "theirs"}))
        session.save({}, 5)
    assert store.failure(job()) is None and store.status(job()) == "running"


def test_what_a_killed_process_left_half_written_is_cleared_away(tmp_path):
    store = Store(tmp_path)
    save(store, job(), 10)
    left = store.folder(job()) / ".checkpoint.pt.0123abcd.partial"
    left.write_bytes(b"half")
    store.open(job()).release()
    assert not left.exists() and store.is_done(job())


def test_the_record_holds_the_full_configuration(tmp_path):
    store = Store(tmp_path)
    save(store, job(ratio=0.5), 10)
    folder = store.folder(job(ratio=0.5))
    assert json.loads((folder / "config.json").read_text()) == {"kind": "cql", "seed": 1, "ratio": 0.5}
    assert json.loads((folder / "environment.json").read_text())["torch"].startswith("2.13.0")


def test_the_record_says_how_a_training_was_made(tmp_path):
    runs = Store(tmp_path / "store", tmp_path / "records")
    there = runs.folder(job()) / "environment.json"
    for updates, facts in ((10, {"noise": "of the device"}), (20, {"noise": "of the device"}), (30, {})):
        session = runs.open(job(30))
        with session.recording_failure(facts):
            session.save({}, updates)
        written = json.loads(there.read_text())
        assert written["noise"] == "of the device" and ("continued" in written) == (updates == 30)
    assert "noise" not in written["continued"][0]
