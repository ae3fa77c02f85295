"""Real runs through the loop as a column: arms and seeds at once, evaluated by other processes, stopped and resumed."""

import pandas as pd
import pytest

from synthlib.dt.column_runs import DTRuns
from synthlib.dt.jobs import FineTuning
from synthlib.runs import loop
from synthlib.runs.store import Store
from synthlib.study.algorithms import training
from tests.common import small_dt_job, train

ARMS = ({}, {"pretraining_updates": 0})


@pytest.fixture
def jobs(random_hopper_data, outputs):
    made = [small_dt_job(arm, random_hopper_data, seed=seed) for arm in ARMS for seed in (42, 666)]
    store = Store(outputs / "pretrained")
    for pretraining in (job for one in made for job in one.requires):
        if not store.is_done(pretraining):
            train(pretraining, store)
    return made, store


class Stopped(Exception):
    pass


class StoppedAt(DTRuns):
    """A column whose process ends before the update after 8 updates."""

    def update(self):
        if self._column.updates == 8:
            raise Stopped
        super().update()


def finetuned(jobs, weights, store, together):
    """Train ``jobs`` as one group into ``store``; their rows of evaluations and losses."""
    runs = [FineTuning(job, weights) for job in jobs]
    sessions = [store.open(job) for job in jobs]
    try:
        loop.finetune(runs, sessions, None, together)
    finally:
        for session in sessions:
            session.release()
    return [pd.read_csv(store.folder(job) / f"{name}.csv") for job in jobs for name in ("evaluations", "losses")]


def test_arms_with_one_shape_are_alike(jobs, random_hopper_data):
    made, _ = jobs
    alike = [training(job).alike(job) for job in made]
    assert all(one == alike[0] for one in alike)
    for arm in ({"pretraining": "none"}, {"text": "wiki"}, {"training": {"batch_size": 5}}):
        other = small_dt_job(arm, random_hopper_data)
        assert training(other).alike(other) != alike[0], arm


def test_a_column_evaluates_as_its_runs_do_and_resumes_to_the_same_files(jobs, outputs, monkeypatch):
    made, weights = jobs
    whole = finetuned(made, weights, Store(outputs / "whole"), DTRuns)
    for evaluations, losses in zip(whole[::2], whole[1::2], strict=True):
        assert list(evaluations["updates"]) == list(losses["updates"]) == [4, 8, 12]

    saved = Store(outputs / "whole")
    for job, rows in zip(made, whole[::2], strict=True):
        run = FineTuning(job, weights)
        session = saved.open(job)
        run.restore(session.resume())
        session.release()
        run.evaluations = []
        run.evaluate()  # in this process, with the weights that the column ended with
        assert run.evaluations[0] == pytest.approx(rows.iloc[-1].to_dict(), rel=1e-6)

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)  # save after every update, so that the stop loses nothing
    cut = Store(outputs / "cut")
    with pytest.raises(Stopped):
        finetuned(made, weights, cut, StoppedAt)
    assert cut.updates_done(made[0]) == 8
    resumed = finetuned(made, weights, cut, DTRuns)
    for one, other in zip(whole, resumed, strict=True):
        pd.testing.assert_frame_equal(one, other)
