import pytest
import torch

from synthlib.machine.files import read_json
from synthlib.runs import publish as publishing
from synthlib.runs import session as sessions
from synthlib.runs.publish import publish
from synthlib.runs.store import Store
from tests.common import job, save

ROWS = [{"updates": 5, "score": 1.0}, {"updates": 10, "score": 2.0}]


class Plan:
    def __init__(self, *jobs):
        self._jobs = jobs

    def jobs(self):
        return self._jobs


@pytest.fixture
def published(tmp_path):
    """Two stores with the same records: the one that made them, and one of a fresh clone."""
    made = Store(tmp_path / "made", tmp_path / "records")
    save(made, job(10, keep=(10,)), 10, ROWS)
    session = made.open(job(10, keep=(10,)))
    session.save_weights(10, {"q1": torch.ones(2)})
    session.release()
    publish(Plan(job(10, keep=(10,)), job(10, seed=2)), made)
    return made, Store(tmp_path / "clone", tmp_path / "records")


def test_a_published_run_is_done_in_a_clone_and_reads_the_same(published):
    made, clone = published
    wanted = job(10, keep=(10,))
    assert clone.status(wanted) == "done" and clone.is_published(wanted) and made.is_published(wanted)
    assert clone.evaluations(wanted).equals(made.evaluations(wanted))
    assert list(clone.evaluations(job(5))["score"]) == [1.0]
    assert torch.equal(clone.weights(wanted)["q1"], torch.ones(2))


def test_a_record_holds_no_checkpoint_and_no_name_of_a_machine(published):
    _, clone = published
    record = clone.record(job())
    assert sorted(path.name for path in record.iterdir()) == [
        "config.json",
        "environment.json",
        "evaluations.csv",
        "progress.json",
        "weights_10.pt",
    ]
    assert "host" not in read_json(record / "environment.json")


def test_what_a_record_does_not_reach_is_trained_from_the_start(published):
    _, clone = published
    assert clone.status(job(20)) == "missing" and clone.status(job(10, keep=(4,))) == "missing"
    save(clone, job(20), 15, [*ROWS, {"updates": 15, "score": 3.0}])
    assert clone.status(job(20)) == "started" and clone.is_done(job(10))
    assert list(clone.evaluations(job(20))["score"]) == [1.0, 2.0, 3.0]


def test_publishing_again_copies_only_what_is_new(published):
    made, clone = published
    assert publish(Plan(job(10, keep=(10,))), clone) == []
    save(made, job(10, seed=2), 10, ROWS)
    (folder,) = publish(Plan(job(10, seed=2)), made)
    assert folder == made.record(job(10, seed=2))
    save(made, job(20, seed=2), 20, [*ROWS, {"updates": 20, "score": 4.0}])
    publish(Plan(job(20, seed=2)), made)
    assert list(clone.evaluations(job(20, seed=2))["score"]) == [1.0, 2.0, 4.0]
    assert publish(Plan(job(20, seed=2)), made) == []


def test_publishing_takes_nothing_away(published, tmp_path):
    made, clone = published
    session = made.open(job(10, keep=(4, 10)))
    session.save_weights(4, {"q1": torch.zeros(2)})
    session.release()
    publish(Plan(job(10, keep=(4, 10))), made)
    assert clone.is_done(job(10, keep=(4, 10))) and publish(Plan(job(10, keep=(10,))), made) == []
    # Elsewhere a shorter run of the same training, with weights that the record lacks.
    other = Store(tmp_path / "other", tmp_path / "records")
    save(other, job(5, keep=(2,)), 5, ROWS[:1])
    session = other.open(job(5, keep=(2,)))
    session.save_weights(2, {"q1": torch.zeros(2)})
    session.release()
    publish(Plan(job(5, keep=(2,))), other)
    assert clone.is_done(job(10, keep=(2, 4, 10))) and list(clone.evaluations(job(10))["score"]) == [1.0, 2.0]


def test_a_publication_that_breaks_off_leaves_the_older_record_whole(published, monkeypatch):
    made, clone = published
    save(made, job(20, keep=(10,)), 20, [*ROWS, {"updates": 20, "score": 4.0}])

    def full(*_):
        raise OSError(28, "no space left")

    monkeypatch.setattr(publishing, "write_json", full)
    with pytest.raises(OSError, match="no space left"):
        publish(Plan(job(20, keep=(10,))), made)
    assert clone.is_done(job(10, keep=(10,))) and not clone.is_done(job(20))
    assert [path.name for path in made.record(job()).parent.iterdir()] == [job().key]


def test_what_another_machine_adds_to_a_record_leaves_its_rows_and_is_noted(published, tmp_path, monkeypatch):
    made, clone = published
    first = read_json(made.record(job()) / "environment.json")
    monkeypatch.setattr(sessions, "describe_environment", lambda: first | {"host": "x", "processor": "another"})
    other = Store(tmp_path / "other", tmp_path / "records")
    save(other, job(10, keep=(2,)), 10, [{"updates": 10, "score": 9.0}])
    session = other.open(job(10, keep=(2,)))
    session.save_weights(2, {"q1": torch.zeros(2)})
    session.release()
    publish(Plan(job(10, keep=(2,))), other)
    environment = read_json(made.record(job()) / "environment.json")
    assert list(clone.evaluations(job())["score"]) == [1.0, 2.0]
    assert environment.pop("continued") == [first | {"processor": "another"}] and environment == first
