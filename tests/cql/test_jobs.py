import copy

import numpy as np
import pandas as pd
import pytest
import torch

from synthlib.cql import jobs as cql_jobs
from synthlib.cql.jobs import finetuning_job, pretraining_job
from synthlib.runs import loop
from synthlib.runs.store import Store
from synthlib.study.params import load_artefact
from tests.common import train

SETTINGS = {
    "updates": 12,
    "evaluate_every": 4,
    "episodes": 2,
    "pretraining_scale": 0.001,
    "mdp_trajectories": 2,
}


def trained(arm, source, outputs, seed=42, settings=SETTINGS):
    store = Store(outputs / "store")
    job = finetuning_job(arm, "hopper-medium", seed, settings, source)
    for pretraining in job.requires:
        if not store.is_done(pretraining):
            train(pretraining, store)
    train(job, store)
    return store, job


def test_identity_names_everything_that_decides_the_numbers(random_hopper_data, outputs):
    def key(arm=None, seed=42, source=random_hopper_data, **settings):
        return finetuning_job(arm or {}, "hopper-medium", seed, SETTINGS | settings, source).key

    assert key() == key(updates=99)
    assert len({key(), key(seed=0), key({"pretraining": "none"}), key({"pretraining_updates": 0})}) == 4
    assert len({key(), key({"mdp": {"states": 10}}), key({"cql": {"sampled_actions": 10}}), key(evaluate_every=3)}) == 4
    assert key({"mdp": {"states": 100}}) == key()  # the default said aloud is the same run


def test_every_control_of_the_weights_is_a_run_of_its_own_from_the_same_file(random_hopper_data):
    controls = [{"kind": "permuted"}, {"kind": "norms_only"}, {"kind": "permuted", "seed": 1}]
    arms = [{}, *({"critic_weights": control} for control in controls)]
    jobs = [finetuning_job(arm, "hopper-medium", 42, SETTINGS, random_hopper_data) for arm in arms]
    assert len({job.key for job in jobs}) == 4
    assert len({job.requires[0].key for job in jobs}) == 1
    assert "weights" not in jobs[0].config["critics"]  # the identity of runs without a control is older


def test_a_pretraining_seed_is_another_file_and_42_is_the_usual_one(random_hopper_data):
    def job(**arm):
        return finetuning_job(arm, "hopper-medium", 0, SETTINGS, random_hopper_data)

    assert job(pretraining_seed=42).key == job().key != job(pretraining_seed=43).key
    matched = job(pretraining_seed=43, pretraining_updates=0)
    assert matched.requires[0].key == job(pretraining_seed=43).requires[0].key  # one pre-training, left at its start


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ({"pretraining": "none", "critic_weights": {"kind": "permuted"}}, "none cannot have critic_weights as well"),
        ({"pretraining": "none", "mdp": {}, "pretraining_seed": 1}, "none cannot have mdp, pretraining_seed as well"),
        ({"pretraining": "mdp"}, "pretraining: 'mdp' is unknown"),
        ({"critic_weights": {"kind": "scaled"}}, "unknown kind 'scaled'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(arm, words):
    with pytest.raises(ValueError, match=words):
        finetuning_job(arm, "hopper-medium", 0, SETTINGS, None)


@pytest.mark.parametrize("arm", ["S=10", "S=100000", "CQL+Identity", "CQL+Mapping"])
def test_an_mdp_has_as_many_actions_as_states(arm):
    """Faithfulness 4.1, 4.7 and 4.8, where an arm gives the states alone."""
    settings = (load_artefact("table6").arms | load_artefact("table29").arms)[arm]
    mdp = pretraining_job("hopper", settings, SETTINGS).config["mdp"]
    assert mdp["actions"] == mdp["states"] == settings["mdp"]["states"] != 100
    assert mdp["trajectories"] == SETTINGS["mdp_trajectories"]


def test_pretraining_is_shared_by_environments_of_equal_width(outputs):
    keys = {env: pretraining_job(env, {}, SETTINGS).key for env in ("halfcheetah", "walker2d", "hopper", "ant")}
    assert keys["halfcheetah"] == keys["walker2d"] and len(set(keys.values())) == 3


def test_one_pretraining_keeps_table_8s_checkpoints_on_its_way(outputs):
    store = Store(outputs / "store")
    job = pretraining_job("hopper", {}, SETTINGS)
    assert job.updates == 100 and job.keep == (1, 10, 40, 100)
    train(job, store)
    shorter = pretraining_job("hopper", {"pretraining_updates": 10_000}, SETTINGS)
    assert shorter.key == job.key and store.is_done(shorter)
    apart = Store(outputs / "apart")
    train(shorter, apart)
    for name, weight in apart.weights(shorter)["q1"].items():
        assert torch.equal(weight, store.weights(shorter)["q1"][name])


def test_a_shorter_pretraining_asked_for_later_leaves_the_longer_ones_state(outputs):
    store = Store(outputs / "store")
    job = pretraining_job("hopper", {}, SETTINGS)
    train(job, store)
    odd = pretraining_job("hopper", {"pretraining_updates": 7_000}, SETTINGS)
    assert odd.updates == 7 and not store.is_done(odd)
    train(odd, store)
    assert store.is_done(odd) and store.is_done(job) and store.updates_done(job) == 100


def test_arms_start_from_what_they_say(random_hopper_data, outputs):
    """Matched: zero updates of seed 42, the same critics for every seed; baseline: critics of the run's own seed."""
    store = Store(outputs / "store")

    def two_seeds(arm):
        return [finetuning_job(arm, "hopper-medium", seed, SETTINGS, random_hopper_data) for seed in (0, 1)]

    matched, baseline = two_seeds({"pretraining_updates": 0}), two_seeds({"pretraining": "none"})
    train(matched[0].requires[0], store)
    first = [cql_jobs.FineTuning(job, store).agent for job in (*matched, *baseline)]
    weights = [agent.state_dict()["weights"] for agent in first]
    q = next(name for name in weights[0] if name.startswith("q1"))
    policy = next(name for name in weights[0] if name.startswith("policy") and weights[0][name].dim() == 2)
    assert torch.equal(weights[0][q], weights[1][q])
    assert not torch.equal(weights[2][q], weights[3][q])
    for name in (q, policy):
        assert not torch.equal(weights[0][name], weights[3][name])
    assert torch.equal(weights[0][policy], weights[2][policy])  # same seed, same policy


@pytest.mark.parametrize("kind", ["permuted", "norms_only"])
def test_a_control_starts_with_the_size_of_the_pretrained_weights_and_draws_anew_for_every_run(
    kind, random_hopper_data, outputs
):
    store = Store(outputs / "store")
    jobs = [
        finetuning_job(arm, "hopper-medium", seed, SETTINGS, random_hopper_data)
        for arm, seed in (({}, 0), ({"critic_weights": {"kind": kind}}, 0), ({"critic_weights": {"kind": kind}}, 1))
    ]
    train(jobs[0].requires[0], store)
    pretrained, control, other = (cql_jobs.FineTuning(job, store).agent.weights() for job in jobs)
    for network in ("q1", "q2", "target_q1", "target_q2"):
        for layer in ("0", "2"):
            name = f"{network}.trunk.{layer}.weight"
            torch.testing.assert_close(control[name].norm(), pretrained[name].norm())
            assert not torch.equal(control[name], pretrained[name])
            assert not torch.equal(control[name], other[name])
        assert torch.equal(control[f"{network}.q_head.weight"], pretrained[f"{network}.q_head.weight"])
    assert torch.equal(control["target_q1.trunk.0.weight"], control["q1.trunk.0.weight"])
    assert torch.equal(control["policy.trunk.0.weight"], pretrained["policy.trunk.0.weight"])
    train(jobs[1], store)
    assert list(store.losses(jobs[1])["updates"]) == [4, 8, 12]


def test_a_run_records_its_evaluations_and_losses(random_hopper_data, outputs):
    store, job = trained({"mdp": {"states": 10}}, random_hopper_data, outputs)
    evaluations, losses = store.evaluations(job), store.losses(job)
    assert list(evaluations["updates"]) == list(losses["updates"]) == [4, 8, 12]
    assert evaluations["environment_seed"].nunique() == 3
    np.testing.assert_allclose(evaluations["score"], 100 * (evaluations["return_mean"] + 20.272305) / 3254.572305)
    assert losses["qf_loss_total"].notna().all()
    assert (losses["largest_target_q"] >= losses["average_target_q"]).all() and losses["above_cap"].between(0, 1).all()


def test_a_checkpoint_of_code_that_logged_less_goes_on_and_never_logs_half_an_interval(random_hopper_data, outputs):
    job = finetuning_job({"pretraining": "none"}, "hopper-medium", 42, SETTINGS, random_hopper_data)
    run, resumed = (cql_jobs.FineTuning(job, None) for _ in range(2))
    for _ in range(2):
        run.update()
    saved = copy.deepcopy(run.state())
    saved["sums"] = {name: value for name, value in saved["sums"].items() if name != "above_cap"}
    resumed.restore(saved)
    for _ in range(6):
        run.update()
        resumed.update()
    first, second = resumed.losses
    assert second == run.losses[1] and "above_cap" in second
    assert first == {name: value for name, value in run.losses[0].items() if name != "above_cap"}


@pytest.mark.parametrize("start", [{"pretraining": "none"}, {"mdp": {"states": 10}}])
def test_an_arm_may_have_other_networks_and_its_critics_are_pretrained_alike(start, random_hopper_data, outputs):
    store, job = trained(start | {"cql": {"hidden": [16, 24, 16]}}, random_hopper_data, outputs)
    assert list(store.losses(job)["updates"]) == [4, 8, 12] and store.losses(job)["qf_loss_total"].notna().all()
    for pretraining in job.requires:
        assert store.weights(pretraining)["q1"]["trunk.4.weight"].shape == (16, 24)
    said_aloud = finetuning_job(start | {"cql": {"hidden": [256, 256]}}, "hopper-medium", 42, SETTINGS, None)
    assert said_aloud.key == finetuning_job(start, "hopper-medium", 42, SETTINGS, None).key


def test_seeds_and_arms_see_the_same_minibatches(random_hopper_data, outputs):
    store, arm = Store(outputs / "store"), {"pretraining": "none"}
    jobs = [finetuning_job(arm, "hopper-medium", seed, SETTINGS, random_hopper_data) for seed in (0, 7)]
    streams = [cql_jobs.FineTuning(job, store).data.generator.randint(1000, size=20) for job in jobs]
    np.testing.assert_array_equal(*streams)


def test_a_run_interrupted_anywhere_equals_an_undisturbed_one(random_hopper_data, outputs, monkeypatch):
    store, job = trained({"pretraining": "none"}, random_hopper_data, outputs)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    broken = Store(outputs / "broken")

    class Killed(BaseException):
        pass

    for stop in (3, 9):  # between two evaluations, and again later
        updates = cql_jobs.FineTuning.update

        def update_or_die(run, stop=stop, updates=updates):
            if run.updates == stop:
                raise Killed
            updates(run)

        monkeypatch.setattr(cql_jobs.FineTuning, "update", update_or_die)
        with pytest.raises(Killed):
            train(job, broken)
        monkeypatch.setattr(cql_jobs.FineTuning, "update", updates)
        assert broken.updates_done(job) == stop
    train(job, broken)
    pd.testing.assert_frame_equal(store.evaluations(job), broken.evaluations(job))
    pd.testing.assert_frame_equal(store.losses(job), broken.losses(job))


def test_a_longer_run_continues_a_shorter_one(random_hopper_data, outputs):
    arm = {"pretraining": "none"}
    straight, long_job = trained(arm, random_hopper_data, outputs)
    stepwise = Store(outputs / "stepwise")
    for updates in (4, 12):
        job = finetuning_job(arm, "hopper-medium", 42, SETTINGS | {"updates": updates}, random_hopper_data)
        train(job, stepwise)
    pd.testing.assert_frame_equal(straight.evaluations(long_job), stepwise.evaluations(long_job))


def test_data_that_change_after_planning_are_refused(random_hopper_data, outputs):
    job = finetuning_job({"pretraining": "none"}, "hopper-medium", 42, SETTINGS, random_hopper_data)
    job.config["dataset"]["checksum"] = "0" * 64
    store = Store(outputs / "store")
    with pytest.raises(ValueError, match="changed on disk"):
        train(job, store)
    assert store.status(job) == "failed"
