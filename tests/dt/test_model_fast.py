from dataclasses import replace

import numpy as np
import pytest
import torch

from synthlib.dt.dropout import draw_dropouts
from synthlib.dt.finetuning import DTTraining, baseline_training, dropout_generator, pretrained_training
from synthlib.dt.model import (
    DecisionTransformer,
    DTConfig,
    LastAction,
    baseline_config,
    predict_actions,
    pretrained_config,
)
from synthlib.dt.model_fast import FastLastAction, fast_predict_actions
from synthlib.kernels.twins import best
from tests.common import golden_batch, golden_inputs, golden_model

CONFIGURATIONS = {
    "baseline": (baseline_config, baseline_training),
    "pretrained": (pretrained_config, pretrained_training),
}


def test_the_fast_pass_is_for_one_head():
    one, two = DTConfig(5, 3), DTConfig(5, 3, heads=2)
    assert (best(predict_actions, one), best(LastAction, one)) == (fast_predict_actions, FastLastAction)
    assert (best(predict_actions, two), best(LastAction, two)) == (predict_actions, LastAction)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_twins_have_the_same_loss_and_gradients(name, layers):
    """In float64 and with dropout, so that only a difference in the function can show."""
    config, _ = CONFIGURATIONS[name]
    model = DecisionTransformer(config(5, 3, width=32, layers=layers), seed=0).double()
    observations, actions, returns, timesteps, mask = golden_inputs()
    inputs = (observations.double(), actions.double(), returns.double(), timesteps, mask.double())
    real = mask > 0
    dropouts = draw_dropouts(model.config, *timesteps.shape, dropout_generator(0, 0))
    slow = model(*inputs, dropouts)
    action, embeddings = predict_actions(model, *inputs, dropouts=dropouts)
    assert torch.equal(action, slow.action) and torch.equal(embeddings, slow.embeddings)
    fast, embeddings = fast_predict_actions(model, *inputs, dropouts=dropouts)
    torch.testing.assert_close(fast[real], slow.action[real], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(embeddings, slow.embeddings)
    weights = [p for p in model.parameters() if p.requires_grad]
    gradients = [torch.autograd.grad(a[real].square().sum(), weights, allow_unused=True) for a in (slow.action, fast)]
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-11)


LENGTHS = [60, pytest.param(200, marks=pytest.mark.slow)]  # the warm-up has ended after 20


def train_twins(name, dtype, updates):
    """The losses (updates, 2 twins, 3) of readable and fast version, and both models after that."""
    config, training = CONFIGURATIONS[name]
    runs = [
        DTTraining(
            DecisionTransformer(config(5, 3, width=16, layers=2), 0).to(dtype),
            replace(training(), warmup_updates=20, learning_rate=1e-3),
            predict,
        )
        for predict in (predict_actions, fast_predict_actions)
    ]
    losses = [[run.update(golden_batch(k % 3), dropout_generator(4, k)) for run in runs] for k in range(updates)]
    return torch.tensor(losses, dtype=torch.float64), [run.model for run in runs]


@pytest.mark.parametrize("updates", LENGTHS)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_twins_are_equal_in_float64(name, updates):
    losses, models = train_twins(name, torch.float64, updates)
    torch.testing.assert_close(losses[:, 1], losses[:, 0], rtol=0, atol=1e-10)
    assert losses[-10:, 0, 0].mean() < losses[:10, 0, 0].mean()
    for slow, fast in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(fast, slow, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("updates", LENGTHS)
def test_twins_stay_together_in_float32(name, updates):
    losses, _ = train_twins(name, torch.float32, updates)
    torch.testing.assert_close(losses[:, 1], losses[:, 0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("case", ["share_false", "share_true"])
def test_twins_choose_the_same_action(case):
    model = golden_model(case)
    observations, actions, returns, timesteps, _ = (part.numpy() for part in golden_inputs())
    actions[:, -1] = 0
    for length in (1, 7, 20):
        window = [part[:, -length:] for part in (observations, actions, returns, timesteps)]
        slow, fast = (kind(model)(*window) for kind in (LastAction, FastLastAction))
        assert fast.shape == (4, 3)
        np.testing.assert_allclose(fast, slow, atol=5e-6)


def test_actions_do_not_depend_on_the_calls_before(monkeypatch):
    """Windows that grow, slide, lose an episode, jump, come again, go back, and have another past."""
    model = golden_model("share_true")
    rng = np.random.default_rng(0)
    steps, width, actions = 30, model.config.observation_width, model.config.action_width
    made = [rng.standard_normal((4, steps, n)).astype(np.float32) for n in (width, actions, 1)]
    made.append(np.tile(np.arange(steps), (4, 1)))

    def window(end, episodes=slice(None)):
        parts = [part[episodes, max(0, end - 20) : end].copy() for part in made]
        parts[1][:, -1] = 0
        return parts

    calls = [window(end) for end in range(1, 26)] + [window(end, slice(1, None)) for end in (26, 27)]
    calls += [window(29, slice(1, None)), window(7), window(7), window(6), window(8)]
    calls.append(window(9))
    calls[-1][0][2, 3, 1] += 1
    calls.append(window(10))
    calls[-1][1][2, 3, 1] += 1
    goes_on = {*range(1, 25), 26}
    predict, embed, embedded = FastLastAction(model), model.embed, []
    monkeypatch.setattr(model, "embed", lambda *window: embedded.append(window[3].shape[1]) or embed(*window))
    for i, call in enumerate(calls):
        found = predict(*call)
        assert embedded.pop() == (2 if i in goes_on else call[3].shape[1]), i
        np.testing.assert_allclose(found, FastLastAction(model)(*call), atol=5e-6, err_msg=str(i))
        embedded.clear()
        for part in call:
            part[:] = 0  # what the caller does with its arrays afterwards is its own business
