import numpy as np
import pytest
import torch

from synthlib.dt.finetuning import (
    DTTraining,
    DTTrainingConfig,
    action_error,
    baseline_training,
    check_finite,
    cluster_annealing,
    dropout_generator,
    learning_rate,
    pretrained_training,
)
from synthlib.dt.model import DecisionTransformer, baseline_config, predict_actions, pretrained_config
from synthlib.dt.model_fast import fast_predict_actions
from tests.common import DT_GOLDEN, SMALL_DT, golden_batch, golden_model, golden_name

GOLDEN_SCHEDULE = {"learning_rate": 0.002, "weight_decay": 0.1, "warmup_updates": 4}
MODES = {
    "from_scratch": baseline_training(**GOLDEN_SCHEDULE),
    "pretrained_as_executed": pretrained_training(**GOLDEN_SCHEDULE),
    "paper_table": pretrained_training(**GOLDEN_SCHEDULE, decayed="not_backbone", time_embedding_steps=1),
}


@pytest.mark.parametrize("predict", [predict_actions, fast_predict_actions])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", ["share_false", "share_true"])
def test_three_updates_equal_the_reference(case, mode, predict):
    expected = {
        name.removeprefix(f"{case}/{mode}/"): DT_GOLDEN[name]
        for name in DT_GOLDEN.files
        if name.startswith(f"{case}/{mode}/")
    }
    # In the golden file the time embedding is always GPT-2's table, with tied projections or without.
    model = golden_model(case, wpe_as_time_embedding=True)
    training = DTTraining(model, MODES[mode], predict)
    names = expected["param_names"].tolist()
    for step in range(3):
        assert learning_rate(MODES[mode], step) == pytest.approx(expected["lr_used"][step, 0], rel=1e-12)
        loss, _ = training.loss(golden_batch(step), None)
        gradients = torch.autograd.grad(loss, model.parameters(), allow_unused=True)
        named = zip(map(golden_name, dict(model.named_parameters())), gradients, strict=True)
        norms = {name: gradient.norm() for name, gradient in named if gradient is not None}
        wanted = {n: v for n, v in zip(names, expected["grad_norms"][step], strict=True) if not np.isnan(v)}
        assert norms.keys() == wanted.keys()
        for name, value in wanted.items():
            assert norms[name].item() == pytest.approx(value, rel=2e-5, abs=1e-7), (step, name)
        done = training.update(golden_batch(step), None)
        assert done.loss == pytest.approx(expected["losses"][step], rel=2e-5)
        assert done.gradient_norm == pytest.approx(expected["grad_total_norm"][step], rel=2e-5)

    weights = {golden_name(name): p.detach().numpy() for name, p in model.named_parameters()}
    compared = 0
    for key, value in expected.items():
        if not key.startswith("after3/"):
            continue
        name = key.removeprefix("after3/")
        ours = weights["wpe.weight"][DT_GOLDEN["wpe_rows"]] if name == "wpe.weight_rows" else weights[name]
        if name.endswith("c_attn.bias"):
            # The key's bias cannot change any attention weight: Adam makes steps out of its rounding noise.
            width = ours.shape[0] // 3
            ours, value = np.delete(ours, np.s_[width : 2 * width]), np.delete(value, np.s_[width : 2 * width])
        np.testing.assert_allclose(ours, value, atol=5e-6, rtol=0, err_msg=name)
        compared += 1
    assert compared == len(wanted)


@pytest.mark.parametrize("mode", MODES)
def test_the_modes_differ_more_than_the_tolerance(mode):
    """So that passing the test above means that the mode is right."""
    for other in MODES.keys() - {mode}:
        for name in ("after3/wpe.weight_rows", "after3/h.0.mlp.c_fc.weight"):
            distance = np.abs(DT_GOLDEN[f"share_true/{mode}/{name}"] - DT_GOLDEN[f"share_true/{other}/{name}"]).max()
            assert distance > 2e-5, (other, name)


def test_defaults_are_what_was_executed():
    """Faithfulness 3.4, 3.7, 3.8; Table 10 except for its decay."""
    shared = {"learning_rate": 1e-4, "warmup_updates": 5000, "batch_size": 64, "gradient_clip": 0.25}
    decay = {"weight_decay": 1e-4, "decayed": "all"}
    assert baseline_training() == DTTrainingConfig(**shared, **decay, eps=1e-8, time_embedding_steps=1)
    assert pretrained_training() == DTTrainingConfig(**shared, **decay, eps=1e-6, time_embedding_steps=2)


def test_padding_carries_no_loss():
    predicted, actions = torch.zeros(2, 3, 2), torch.ones(2, 3, 2)
    actions[:, 0] = -10.0
    mask = torch.tensor([[0.0, 1, 1], [0, 1, 1]])
    assert action_error(predicted, actions, mask).item() == 1.0


def test_unused_parameters_do_not_move():
    """The state and return heads get no gradient and hence no decay."""
    model = DecisionTransformer(baseline_config(5, 3, **SMALL_DT), seed=0)
    before = (
        model.predict_state.weight.clone(),
        model.predict_return.weight.clone(),
        model.predict_action.weight.clone(),
    )
    DTTraining(model, baseline_training(weight_decay=0.5)).update(golden_batch(0), None)
    assert torch.equal(model.predict_state.weight, before[0]) and torch.equal(model.predict_return.weight, before[1])
    assert not torch.equal(model.predict_action.weight, before[2])


def resume_from(state, updates):
    config = pretrained_config(5, 3, width=32)
    training = DTTraining(DecisionTransformer(config, seed=99), pretrained_training(warmup_updates=4))
    if state is not None:
        training.load_state_dict(state)
    losses = [
        training.update(golden_batch(k % 3), dropout_generator(1, k)).loss for k in range(training.updates, updates)
    ]
    return training, losses


def test_resuming_repeats_the_run(tmp_path):
    whole, losses = resume_from(None, 6)
    half, _ = resume_from(None, 3)
    torch.save(half.state_dict(), tmp_path / "state.pt")
    rest, later = resume_from(torch.load(tmp_path / "state.pt", weights_only=True), 6)
    assert later == losses[3:]
    for one, other in zip(whole.model.parameters(), rest.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_dropout_masks_differ_between_updates_and_seeds():
    draws = {torch.rand(1, generator=dropout_generator(seed, k)).item() for seed in (0, 1) for k in range(5)}
    assert len(draws) == 10


def test_a_loss_that_is_no_number_is_named():
    training, _ = resume_from(None, 1)
    batch = golden_batch(0)._replace(returns_to_go=np.full_like(DT_GOLDEN["batch0/rtg"], np.inf))
    done = training.update(batch, None)
    with pytest.raises(FloatingPointError, match="loss is nan within the updates before 2; look for NaN in the data"):
        check_finite(done._asdict(), training.updates)


def test_cluster_annealing():
    """Faithfulness 3.10."""
    assert cluster_annealing(0) == pytest.approx(0.9933, abs=1e-4)
    assert cluster_annealing(2500) == 0.5
    assert cluster_annealing(5000) == pytest.approx(0.0067, abs=1e-4)
    assert cluster_annealing(10**9) == pytest.approx(0, abs=1e-300)


def test_wrong_options_are_refused():
    model = DecisionTransformer(baseline_config(5, 3, **SMALL_DT), seed=0)
    with pytest.raises(ValueError, match="decayed='none' is unknown"):
        DTTraining(model, DTTrainingConfig(decayed="none"))
    with pytest.raises(ValueError, match="needs the cluster term"):
        DTTraining(model, DTTrainingConfig(cluster_weight=0.1))
