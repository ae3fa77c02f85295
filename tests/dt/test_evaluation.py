from types import SimpleNamespace

import numpy as np
import pytest
import torch

from synthlib.dt.evaluation import TARGET_RETURNS, ReturnConditioned, readable_episode
from synthlib.dt.model import DecisionTransformer, LastAction, pretrained_config
from synthlib.dt.model_fast import FastLastAction
from synthlib.offline.evaluation import Evaluator, rollout
from synthlib.tasks import normalised_score
from tests.common import golden, golden_model

GOLDEN = golden("dt_eval")
STATISTICS = GOLDEN["state_mean"], GOLDEN["state_std"]
CONFIG = pretrained_config(5, 3)


class ToyEnvironment:
    """The linear system of the golden file; ``noise`` moves the first state by the seed."""

    action_space = SimpleNamespace(shape=(3,))

    def __init__(self, case, noise=0.0):
        self.case = case
        self.noise = noise

    def reset(self, seed=None):
        offset = np.random.default_rng(seed).normal(size=5) if self.noise else 0.0
        self.state = GOLDEN["env/s0"] + self.noise * offset
        return self.state, {}

    def step(self, action):
        action = action.astype(np.float64)
        reward = GOLDEN["env/w"] @ self.state + GOLDEN["env/c"] - 0.1 * action @ action
        self.state = GOLDEN["env/A"] @ self.state + GOLDEN["env/B"] @ action
        done = self.state[GOLDEN[f"{self.case}/done_state_index"]] > GOLDEN[f"{self.case}/done_threshold"]
        return self.state, reward, bool(done), False, {}


def policy(model, target, statistics=STATISTICS, kind=LastAction):
    return ReturnConditioned(kind(model), model.config, *statistics, target)


def setting(case, **changes):
    model = golden_model("share_true" if GOLDEN[f"{case}/share_input_output_proj"] else "share_false", **changes)
    return model, float(GOLDEN[f"{case}/target_return"]), int(GOLDEN[f"{case}/max_ep_len"])


@pytest.mark.parametrize("case", ["case0", "case1", "case2", "case3"])
def test_an_episode_equals_the_reference(case):
    model, target, max_steps = setting(case)
    episode = readable_episode(model, ToyEnvironment(case), *STATISTICS, target, max_steps=max_steps)
    assert len(episode.actions) == GOLDEN[f"{case}/episode_length"]
    np.testing.assert_allclose(episode.actions, GOLDEN[f"{case}/actions"], atol=1e-4)
    np.testing.assert_allclose(episode.rewards, GOLDEN[f"{case}/rewards"], atol=1e-4)
    np.testing.assert_allclose(episode.observations, GOLDEN[f"{case}/states"][:-1], atol=1e-4)
    np.testing.assert_allclose(episode.returns_to_go, GOLDEN[f"{case}/rtg_scaled"], atol=1e-6)
    assert episode.rewards.sum() == pytest.approx(GOLDEN[f"{case}/episode_return"], abs=1e-3)


@pytest.mark.parametrize("case", ["case0", "case1", "case2", "case3"])
def test_the_batch_equals_the_reference(case):
    model, target, max_steps = setting(case)
    envs = [ToyEnvironment(case) for _ in range(2)]
    returns, lengths = rollout(policy(model, target), envs, 0, max_steps)
    assert lengths.tolist() == [GOLDEN[f"{case}/episode_length"]] * 2
    assert returns == pytest.approx(np.tile(GOLDEN[f"{case}/episode_return"], 2), abs=1e-3)


@pytest.mark.parametrize("kind", [LastAction, FastLastAction])
@pytest.mark.parametrize(
    "window", [{}, {"context": 1}, {"context": 2}, {"context": 12, "return_scale": 9.0, "time_limit": 15}]
)
def test_episodes_as_one_batch_equal_episodes_one_by_one(window, kind):
    """Different starts and lengths: episodes that end early must not disturb the others."""
    model, target, max_steps = setting("case1", **window)
    envs = [ToyEnvironment("case1", noise=0.5) for _ in range(6)]
    returns, lengths = rollout(policy(model, target, kind=kind), envs, 10, max_steps)
    episodes = [readable_episode(model, env, *STATISTICS, target, 10 + i, max_steps) for i, env in enumerate(envs)]
    assert lengths.tolist() == [len(episode.rewards) for episode in episodes]
    assert len(set(lengths.tolist())) > 2 and lengths.max() > model.config.context
    np.testing.assert_allclose(returns, [episode.rewards.sum() for episode in episodes], atol=1e-3)


def test_the_model_sees_at_most_the_last_twenty_steps():
    seen = []

    def predict(observations, actions, returns_to_go, timesteps):
        seen.append((observations.shape, timesteps[0, 0], timesteps[0, -1], actions[:, -1].any()))
        return np.full((len(observations), 3), 0.1, dtype=np.float32)

    rollout(ReturnConditioned(predict, CONFIG, *STATISTICS, 100.0), [ToyEnvironment("case0")], 0, max_steps=30)
    assert seen[0] == ((1, 1, 5), 0, 0, False)
    assert seen[-1] == ((1, 20, 5), 10, 29, False)


def test_a_model_that_answers_nan_is_reported():
    def predict(observations, *_):
        return np.full((len(observations), 3), np.nan, dtype=np.float32)

    with pytest.raises(FloatingPointError, match="NaN at step 0"):
        rollout(ReturnConditioned(predict, CONFIG, *STATISTICS, 100.0), [ToyEnvironment("case0")], 0)


@pytest.mark.parametrize(("environment", "widths"), [("hopper", (11, 3)), ("ant", (111, 8))])
def test_mujoco_evaluation_repeats_with_its_seed(environment, widths):
    model = DecisionTransformer(pretrained_config(*widths, width=16, layers=1), seed=0)
    evaluator, target = Evaluator(environment, episodes=3, max_steps=25), TARGET_RETURNS[environment]
    statistics = np.zeros(widths[0], dtype=np.float32), np.ones(widths[0], dtype=np.float32)
    one, same, other = (evaluator.play(policy(model, target, statistics), seed=seed) for seed in (3, 3, 50))
    assert np.array_equal(one.returns, same.returns) and not np.array_equal(one.returns, other.returns)
    assert len(set(one.returns.tolist())) == 3
    assert one.score == pytest.approx(normalised_score(environment, one.returns.mean()))
    assert TARGET_RETURNS[environment] == {"hopper": 3600, "ant": 5000}[environment]
    asked = evaluator.play(policy(model, -5000.0, statistics), seed=3)
    assert not np.array_equal(asked.returns, one.returns)
    assert torch.is_grad_enabled()
