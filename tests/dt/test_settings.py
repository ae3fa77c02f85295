"""What an arm may ask for beside the paper's settings: it is trained and evaluated, by the readable code if need be."""

import numpy as np
import pytest

from synthlib.dt import column_runs, flops, pretraining_jobs
from synthlib.dt import jobs as dt_jobs
from synthlib.dt.model import DTConfig, LastAction, baseline_config, predict_actions, pretrained_config
from synthlib.dt.pretraining import logits
from synthlib.dt.pretraining_fast import fast_logits
from synthlib.dt.similarity import similarities_of_run
from synthlib.kernels.twins import best
from synthlib.runs.identity import identity_of
from tests.common import noted_choices, small_dt_job, trained_dt

TWO_HEADS = {"width": 16, "layers": 1, "heads": 2}
OTHER_WINDOW = {"context": 5, "return_scale": 50.0, "time_limit": 9}


@pytest.mark.parametrize("arm", [{}, {"gpt2": {"heads": 2}}, {"pretraining": "none"}], ids=str)
def test_several_heads_are_trained_by_the_readable_code(arm, random_hopper_data, outputs, monkeypatch):
    trained, played = (noted_choices(monkeypatch, module) for module in (dt_jobs, column_runs))
    store, job = trained_dt(arm | {"model": TWO_HEADS}, random_hopper_data, outputs)
    assert predict_actions in trained and LastAction in played
    assert all(required.config["gpt2"]["heads"] == 2 for required in job.requires)
    assert len(job.requires) == (0 if arm.get("pretraining") == "none" else 1)
    assert list(store.evaluations(job)["updates"]) == [4, 8, 12]
    assert np.isfinite(store.evaluations(job)["score"]).all() and np.isfinite(store.losses(job)["train_loss"]).all()


def test_a_pretraining_with_several_heads_takes_hugging_faces_pass(random_hopper_data, outputs, monkeypatch):
    chosen = noted_choices(monkeypatch, pretraining_jobs)
    trained_dt({"model": TWO_HEADS}, random_hopper_data, outputs, updates=4)
    assert logits in chosen and fast_logits not in chosen


def test_the_window_changes_no_key_until_it_differs(random_hopper_data):
    def job(**window):
        return small_dt_job({"model": {"width": 16, "layers": 1, **window}}, random_hopper_data)

    assert not job().config["model"].keys() & OTHER_WINDOW.keys()
    assert job().key == job(context=20, return_scale=1000, time_limit=1000).key
    assert len({job().key} | {job(**{name: value}).key for name, value in OTHER_WINDOW.items()}) == 4
    assert flops.finetuning(job(context=5)) < flops.finetuning(job()) / 3
    # The pre-training knows nothing of windows.
    assert job().requires[0].key == job(**OTHER_WINDOW).requires[0].key


@pytest.mark.parametrize("heads", [1, 2])
def test_another_window_reaches_the_batches_the_model_and_the_evaluation(
    heads, random_hopper_data, outputs, monkeypatch
):
    batches, windows = [], []
    update = dt_jobs.DTTraining.update
    monkeypatch.setattr(
        dt_jobs.DTTraining,
        "update",
        lambda training, batch, generator: batches.append(batch) or update(training, batch, generator),
    )
    kind = best(LastAction, DTConfig(11, 3, heads=heads))
    act = kind.__call__
    monkeypatch.setattr(
        kind, "__call__", lambda policy, *window: windows.append([p.copy() for p in window]) or act(policy, *window)
    )
    arm = {"pretraining": "none", "model": {"width": 16, "layers": 1, "heads": heads}}
    usual_store, usual = trained_dt(arm, random_hopper_data, outputs, updates=4)
    usual_batches, usual_windows = batches[:], windows[:]
    batches.clear(), windows.clear()
    store, other = trained_dt(arm | {"model": arm["model"] | OTHER_WINDOW}, random_hopper_data, outputs, updates=4)

    assert {batch.observations.shape for batch in usual_batches} == {(4, 20, 11)}
    assert {batch.observations.shape for batch in batches} == {(4, 5, 11)}
    for batch, same_draw in zip(batches, usual_batches, strict=True):
        starts, cut = (one.timesteps[np.arange(4), (one.mask > 0).argmax(axis=1)] for one in (same_draw, batch))
        np.testing.assert_array_equal(cut, starts.clip(max=8))
        assert batch.timesteps.max() <= 8

    assert usual_windows[0][2].item(0) == pytest.approx(3.6) and windows[0][2].item(0) == 72.0
    assert max(window[0].shape[1] for window in windows) == 5
    assert max(window[3].max() for window in windows) == 8
    assert (store.evaluations(other)["length_mean"] == 9).all()
    assert (usual_store.evaluations(usual)["length_mean"] > 9).all()


def test_similarities_are_taken_over_the_windows_of_the_model(random_hopper_data, outputs):
    arm = {"pretraining_updates": 0, "model": {"width": 16, "layers": 1, **OTHER_WINDOW}}
    store, job = trained_dt(arm, random_hopper_data, outputs)
    pretrained, untrained = similarities_of_run(job, store, ratio=1.0, batch_size=8)
    assert untrained["features"] < pretrained["features"] < 1


def test_impossible_windows_are_refused():
    for name in OTHER_WINDOW:
        with pytest.raises(ValueError, match="must be positive"):
            baseline_config(5, 3, **{name: 0})
    with pytest.raises(ValueError, match="time limit of 1500 steps needs as many rows of the time embedding, not 1000"):
        baseline_config(5, 3, time_limit=1500)
    assert baseline_config(5, 3, time_limit=1500, timesteps=1500).time_limit == 1500
    assert pretrained_config(5, 3, time_limit=1024).time_limit == 1024


def test_a_configuration_comes_back_from_its_job():
    for config in (DTConfig(5, 3), DTConfig(5, 3, heads=2, **OTHER_WINDOW)):
        assert DTConfig(**identity_of(config)) == config
