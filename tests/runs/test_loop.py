"""The loop of a pre-training, on one that only counts: what is saved, kept and made again."""

import pytest

from synthlib.runs import loop, session
from synthlib.runs.job import Job
from synthlib.runs.loop import pretrain
from synthlib.runs.store import Store


class Counting:
    """Its state is its number of updates; ``made`` lists every update that was made, of any attempt."""

    made = ()

    def __init__(self):
        self.updates, self.losses = 0, []

    def run(self, until, report):
        Counting.made += tuple(range(self.updates + 1, until + 1))
        self.updates = until

    def state_dict(self):
        return {"updates": self.updates}

    def load_state_dict(self, state):
        self.updates = state["updates"]

    def weights(self):
        return {"updates": self.updates}


def job(*keep):
    return Job("gpt2_pretraining", {"seed": 0}, keep[-1], keep=keep)


def train(one, runs):
    Counting.made, training = (), Counting()
    with runs.open(one).recording_failure() as opened:
        pretrain([training], Counting.weights, [opened], report=None, stride=1)
    return Counting.made


@pytest.fixture
def runs(tmp_path):
    return Store(tmp_path / "store", tmp_path / "records")


def test_a_longer_pretraining_goes_on_and_one_that_is_there_is_not_made_again(runs):
    assert train(job(2, 5), runs) == (1, 2, 3, 4, 5)
    assert train(job(2, 5, 8), runs) == (6, 7, 8)
    assert train(job(5, 8), runs) == ()
    assert [runs.weights(job(n))["updates"] for n in (2, 5, 8)] == [2, 5, 8]


def test_an_earlier_checkpoint_is_made_from_the_start_and_the_rest_goes_on_from_the_saved_state(runs):
    train(job(5), runs)
    assert train(job(3, 5, 7), runs) == (1, 2, 3, 6, 7)
    assert [runs.weights(job(n))["updates"] for n in (3, 5, 7)] == [3, 5, 7]
    assert train(job(1, 7), runs) == (1,)
    assert runs.checkpoint(job(7))["updates"] == 7


@pytest.mark.parametrize("killed_before", ["checkpoint.pt", "progress.json", "weights_5.pt"])
def test_a_pretraining_killed_in_its_last_save_is_finished_by_the_next_start(killed_before, runs, monkeypatch):
    class Killed(BaseException):
        pass

    def or_die(write):
        def written(path, *content):
            if path.name == killed_before:
                raise Killed
            write(path, *content)

        return written

    with monkeypatch.context() as patched:
        for name in ("write_atomically", "write_json"):
            patched.setattr(session, name, or_die(getattr(session, name)))
        with pytest.raises(Killed):
            train(job(5), runs)
    assert not runs.is_done(job(5))
    train(job(5), runs)
    assert runs.is_done(job(5)) and runs.weights(job(5))["updates"] == 5


def test_it_saves_on_its_way(runs, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    saved = []
    monkeypatch.setattr(
        session.Session, "save", lambda self, state, updates, **rows: saved.append(updates), raising=True
    )
    train(job(3), runs)
    assert saved == [1, 2, 3]
