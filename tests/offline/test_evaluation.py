import numpy as np
import pytest

from synthlib.offline.environments import make_environment
from synthlib.offline.evaluation import Evaluator, evaluation_seed, rollout
from synthlib.tasks import normalised_score


def act(observations):
    """A deterministic policy that depends on the state, so that a mixed-up environment would show."""
    return np.tanh(observations[:, :3] - observations[:, 3:6]).astype(np.float32)


def one_by_one(seed, max_steps=1000):
    """The same evaluation the plain way: one gymnasium environment, one episode after the other."""
    returns, lengths = [], []
    for episode in range(4):
        env = make_environment("hopper")
        observation, _ = env.reset(seed=seed + episode)
        total, length = 0.0, 0
        while length < max_steps:
            observation, reward, terminal, timeout, _ = env.step(act(observation[None].astype(np.float32))[0])
            total, length = total + reward, length + 1
            if terminal or timeout:
                break
        returns.append(total)
        lengths.append(length)
    return returns, lengths


def test_environments_stepped_together_give_what_they_give_alone():
    result = Evaluator("hopper", episodes=4).evaluate(act, seed=7)
    returns, lengths = one_by_one(seed=7)
    np.testing.assert_allclose(result.returns, returns, rtol=1e-12)
    assert list(result.lengths) == lengths and len(set(lengths)) > 1
    assert result.score == pytest.approx(normalised_score("hopper", np.mean(returns)))


def test_an_evaluation_repeats_itself_and_stops_at_the_limit():
    evaluator = Evaluator("halfcheetah", episodes=2, max_steps=20)
    first = evaluator.evaluate(lambda observations: np.zeros((len(observations), 6)), seed=1)
    second = evaluator.evaluate(lambda observations: np.zeros((len(observations), 6)), seed=1)
    np.testing.assert_array_equal(first.returns, second.returns)
    assert list(first.lengths) == [20, 20]


def test_the_ant_is_observed_as_in_the_data():
    seen = []

    def record(observations):
        seen.append(observations)
        return np.zeros((len(observations), 8))

    Evaluator("ant", episodes=2, max_steps=3).evaluate(record, seed=0)
    assert seen[0].shape == (2, 111) and seen[0].dtype == np.float32
    assert not seen[2][:, 27:].any() and seen[2][:, :27].all()


def test_a_policy_that_answers_nan_is_an_error():
    with pytest.raises(FloatingPointError, match="NaN in hopper"):
        Evaluator("hopper", episodes=1).evaluate(lambda observations: np.full((1, 3), np.nan), seed=0)


class Countdown:
    """Ends after ``seed`` steps; the reward of a step is the action, the observation is how many steps are left."""

    def reset(self, seed):
        self.left = seed
        return np.array([float(seed)]), {}

    def step(self, action):
        self.left -= 1
        return np.array([float(self.left)]), float(action[0]), self.left == 0, False, {}


def test_a_policy_hears_of_the_rewards_of_the_episodes_that_still_run():
    heard = []

    def policy(observations, rewards, running):
        heard.append((observations[:, 0].tolist(), rewards.tolist(), running.tolist()))
        return 10.0 * running[:, None] + len(heard)

    returns, lengths = rollout(policy, [Countdown() for _ in range(3)], seed=1, max_steps=10)
    assert heard == [
        ([1, 2, 3], [0, 0, 0], [0, 1, 2]),
        ([1, 2], [11, 21], [1, 2]),
        ([1], [22], [2]),
    ]
    assert returns.tolist() == [1, 11 + 12, 21 + 22 + 23] and lengths.tolist() == [1, 2, 3]


def test_an_evaluator_plays_a_policy_with_memory_as_the_same_one_without():
    evaluator, seen = Evaluator("ant", episodes=2, max_steps=5), []

    def remembering(observations, rewards, running):
        seen.append(rewards)
        return np.tanh(observations[:, :8])

    one, other = evaluator.play(remembering, seed=3), evaluator.evaluate(lambda x: np.tanh(x[:, :8]), seed=3)
    np.testing.assert_array_equal(one.returns, other.returns)
    assert not seen[0].any() and np.stack(seen[1:]).all()


def test_evaluation_seeds_differ_between_runs_and_evaluations():
    seeds = {evaluation_seed(run, updates) for run in (0, 1, 42) for updates in (100, 200, 5000)}
    assert len(seeds) == 9 and evaluation_seed(42, 100) == evaluation_seed(42, 100)
