"""Real runs through the loop as a column: arms and seeds at once, evaluated by other processes, stopped and resumed."""

from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch

from synthlib.cql.column_runs import CQLRuns
from synthlib.cql.jobs import finetuning_job
from synthlib.dt.column_runs import DTRuns
from synthlib.runs import loop
from synthlib.runs.groups import Group
from synthlib.runs.store import Store
from synthlib.study.algorithms import training
from tests.common import small_dt_job, train

SETTINGS = {"updates": 12, "evaluate_every": 4, "episodes": 2, "pretraining_scale": 0.001, "mdp_trajectories": 2}


class Kind(NamedTuple):
    """The columns of an algorithm; ``job(arm, seed, source)`` makes a small job."""

    column: Any
    job: Any
    arms: tuple
    others: tuple
    """Arms of another shape, or of other settings."""


KINDS = {
    "cql": Kind(
        CQLRuns,
        lambda arm, seed, source: finetuning_job(arm, "hopper-medium", seed, SETTINGS, source),
        arms=({"pretraining": "none"}, {}, {"pretraining_updates": 0}),
        others=({"cql": {"sampled_actions": 10}},),
    ),
    "dt": Kind(
        DTRuns,
        lambda arm, seed, source: small_dt_job(arm, source, seed=seed),
        arms=({}, {"pretraining_updates": 0}),
        others=({"pretraining": "none"}, {"text": "wiki"}, {"training": {"batch_size": 5}}),
    ),
}


class Made(NamedTuple):
    kind: Kind
    jobs: list
    weights: Store


@pytest.fixture
def made(request, random_hopper_data, outputs):
    """Two seeds of each arm, and a store with what they start from."""
    kind = KINDS[request.param]
    jobs = [kind.job(arm, seed, random_hopper_data) for arm in kind.arms for seed in (42, 666)]
    store = Store(outputs / "pretrained")
    for pretraining in (job for one in jobs for job in one.requires):
        if not store.is_done(pretraining):
            train(pretraining, store)
    return Made(kind, jobs, store)


class Stopped(Exception):
    pass


def stopped_at(column, updates):
    """A ``column`` whose process ends before the update after ``updates``."""

    class StoppedAt(column):
        def update(self):
            if self._column.updates == updates:
                raise Stopped
            super().update()

    return StoppedAt


def started(job, weights):
    return training(job).start(job, weights)


def finetuned(jobs, weights, store, together):
    """Train ``jobs`` as one group into ``store``; their rows of evaluations and losses."""
    runs = [started(job, weights) for job in jobs]
    sessions = [store.open(job) for job in jobs]
    try:
        loop.finetune(runs, sessions, None, together)
    finally:
        for session in sessions:
            session.release()
    return [pd.read_csv(store.folder(job) / f"{name}.csv") for job in jobs for name in ("evaluations", "losses")]


def restored(job, weights, store):
    """The run of a job as it was saved."""
    run, session = started(job, weights), store.open(job)
    run.restore(session.resume())
    session.release()
    return run


@pytest.mark.parametrize("made", KINDS, indirect=True)
def test_arms_and_seeds_of_one_shape_are_alike(made, random_hopper_data):
    alike = [training(job).alike(job) for job in made.jobs]
    assert all(one == alike[0] for one in alike)
    for arm in made.kind.others:
        other = made.kind.job(arm, 42, random_hopper_data)
        assert training(other).alike(other) != alike[0], arm


@pytest.mark.slow
@pytest.mark.parametrize("made", KINDS, indirect=True)
def test_a_column_evaluates_as_its_runs_do_and_resumes_to_the_same_files(made, outputs, monkeypatch):
    kind, jobs, weights = made
    saved = Store(outputs / "whole")
    whole = finetuned(jobs, weights, saved, kind.column)
    for evaluations, losses in zip(whole[::2], whole[1::2], strict=True):
        assert list(evaluations["updates"]) == list(losses["updates"]) == [4, 8, 12]
    for job, rows in zip(jobs, whole[::2], strict=True):
        run = restored(job, weights, saved)
        run.evaluations = []
        run.evaluate()  # in this process, with the weights that the column ended with
        assert run.evaluations[0] == pytest.approx(rows.iloc[-1].to_dict(), rel=1e-6)

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)  # save after every update, so that the stop loses nothing
    cut = Store(outputs / "cut")
    with pytest.raises(Stopped):
        finetuned(jobs, weights, cut, stopped_at(kind.column, 8))
    assert cut.updates_done(jobs[0]) == 8
    resumed = finetuned(jobs, weights, cut, kind.column)
    for one, other in zip(whole, resumed, strict=True):
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("made", ["cql"], indirect=True)
def test_a_run_alone_goes_on_from_a_columns_checkpoint(made, outputs, monkeypatch):
    """With the processor's noise from there on; its minibatches are those it would have had."""
    kind, jobs, weights = made
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    store = Store(outputs / "mixed")
    with pytest.raises(Stopped):
        finetuned(jobs[:2], weights, store, stopped_at(kind.column, 8))
    alone = started(jobs[0], weights)
    for _ in range(8):
        alone.draw()
    run = restored(jobs[0], weights, store)
    assert torch.equal(alone.draw()[0].rewards, run.draw()[0].rewards)
    (evaluations, _) = finetuned(jobs[:1], weights, store, Group)
    assert list(evaluations["updates"]) == [4, 8, 12]
