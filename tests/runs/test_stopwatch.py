"""The time of a training: it adds up over its starts, and a training from before times were kept has none."""

import time

import pytest
import torch

from synthlib.cql import jobs as cql_jobs
from synthlib.machine.files import read_json, write_json
from synthlib.runs import loop
from synthlib.runs.job import Job
from synthlib.runs.publish import publish
from synthlib.runs.stopwatch import Spent, Stopwatch
from synthlib.runs.store import Store
from tests.common import job, save, train
from tests.runs.test_loop import Counting

SETTINGS = {"updates": 12, "evaluate_every": 4, "episodes": 2, "pretraining_scale": 0.001, "mdp_trajectories": 2}


def cql_job(source, updates=12, seed=42):
    settings = SETTINGS | {"updates": updates}
    return cql_jobs.finetuning_job({"pretraining": "none"}, "hopper-medium", seed, settings, source)


def timed(one, store):
    """(seconds on the wall that the training of ``one`` took here, what is recorded of it afterwards)."""
    began = time.perf_counter()
    train(one, store)
    return time.perf_counter() - began, store.spent(one)


def test_the_time_of_a_training_adds_up_over_its_starts_without_the_time_between(random_hopper_data, outputs):
    store = Store(outputs / "store")
    first, (updates, before) = timed(cql_job(random_hopper_data, 4), store)
    assert updates == 4 and 0 < before.evaluation_wall_seconds < before.wall_seconds < first
    assert 0 < before.evaluation_processor_seconds < before.processor_seconds
    time.sleep(first + 1)  # longer than either start takes
    second, (updates, after) = timed(cql_job(random_hopper_data, 12), store)
    assert updates == 12
    assert before.wall_seconds < after.wall_seconds < before.wall_seconds + second
    assert before.processor_seconds < after.processor_seconds
    assert before.evaluation_wall_seconds < after.evaluation_wall_seconds < after.wall_seconds


def test_a_training_that_was_killed_keeps_the_time_of_its_saved_updates(random_hopper_data, outputs, monkeypatch):
    class Killed(BaseException):
        pass

    store, one, updates = Store(outputs / "store"), cql_job(random_hopper_data), cql_jobs.FineTuning.update

    def update_or_die(run):
        if run.updates == 6:
            time.sleep(2)  # is lost: nothing is saved any more
            raise Killed
        updates(run)

    with monkeypatch.context() as patched:
        patched.setattr(cql_jobs.FineTuning, "update", update_or_die)
        with pytest.raises(Killed):
            train(one, store)
    saved, before = store.spent(one)
    assert saved == 4 and read_json(store.folder(one) / "progress.json")["time"] == before.to_json()
    second, (saved, after) = timed(one, store)
    assert saved == 12 and before.wall_seconds < after.wall_seconds < before.wall_seconds + second


def test_runs_that_are_one_computation_share_its_time(random_hopper_data, outputs):
    store = Store(outputs / "store")
    jobs = [cql_job(random_hopper_data, seed=seed) for seed in (0, 1)]
    sessions, began = [store.open(one) for one in jobs], time.perf_counter()
    loop.train(cql_jobs.TRAININGS[1], sessions, store, lambda updates: None)
    wall = time.perf_counter() - began
    for session in sessions:
        session.release()
    spent = [store.spent(one)[1] for one in jobs]
    assert wall / 2 < sum(one.wall_seconds for one in spent) < 1.1 * wall  # not twice
    assert spent[0].wall_seconds == pytest.approx(spent[1].wall_seconds, rel=0.2)


def test_what_a_pretraining_makes_again_is_no_part_of_its_time(tmp_path, monkeypatch):
    class Slow(Counting):
        def run(self, until, report):
            time.sleep(0.1 * (until - self.updates))
            super().run(until, report)

    def pretrain(*keep):
        wanted, training = Job("gpt2_pretraining", {"seed": 0}, keep[-1], keep=keep), Slow()
        with store.open(wanted).recording_failure() as session:
            loop.pretrain([training], type(training).weights, [session], report=None, stride=1)
        return store.spent(wanted)[1].wall_seconds

    store = Store(tmp_path / "store")
    assert 0.5 <= pretrain(5) < 0.9
    assert 0.7 <= pretrain(4, 5, 7) < 1.1  # updates 1 to 4 are made again on the way


def without_times(folder):
    """Make a training what it was before times were kept."""
    progress = read_json(folder / "progress.json")
    write_json(folder / "progress.json", {"updates": progress["updates"]})
    if (path := folder / "checkpoint.pt").exists():
        state = torch.load(path, weights_only=True)
        assert state.pop("time")["wall_seconds"] >= 0
        torch.save(state, path)


def test_a_training_from_before_times_were_kept_loads_and_has_none(random_hopper_data, outputs):
    store, shorter = Store(outputs / "store"), cql_job(random_hopper_data, 4)
    train(shorter, store)
    without_times(store.folder(shorter))
    assert store.is_done(shorter) and store.spent(shorter) is None and store.updates_done(shorter) == 4
    longer = cql_job(random_hopper_data, 12)
    train(longer, store)  # it goes on, and what the first updates took stays unknown
    assert store.is_done(longer) and store.spent(longer) is None
    assert list(store.evaluations(longer)["updates"]) == [4, 8, 12]


def test_a_training_that_never_started_has_no_time(tmp_path):
    assert Store(tmp_path).spent(job()) is None


def test_a_published_record_has_the_time_and_none_in_its_key(tmp_path):
    store = Store(tmp_path / "store", tmp_path / "records")
    save(store, job(), 10)
    publish(type("Plan", (), {"jobs": lambda self: [job()]})(), store)
    clone = Store(tmp_path / "clone", tmp_path / "records")
    assert clone.spent(job()) == store.spent(job()) is not None
    assert "time" not in read_json(clone.record(job()) / "config.json")


def test_what_is_saved_is_what_was_spent():
    spent = Spent(2.0, 1.0, 0.5, 0.25)
    assert (spent + spent).to_json()["wall_seconds"] == 4.0
    assert (spent.update_wall_seconds, spent.update_processor_seconds) == (1.5, 0.75)
    watch = Stopwatch()
    with watch.evaluating():
        time.sleep(0.05)
    watch.shared_by = 2
    half = watch.elapsed()
    assert 0.025 <= half.evaluation_wall_seconds <= half.wall_seconds and half.processor_seconds < half.wall_seconds
    watch.restart()
    assert watch.elapsed().evaluation_wall_seconds == 0
