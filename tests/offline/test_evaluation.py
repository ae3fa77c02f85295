import numpy as np
import pytest

from synthlib.offline.environments import make_environment
from synthlib.offline.evaluation import Evaluator, evaluation_seed
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


def test_evaluation_seeds_differ_between_runs_and_evaluations():
    seeds = {evaluation_seed(run, updates) for run in (0, 1, 42) for updates in (100, 200, 5000)}
    assert len(seeds) == 9 and evaluation_seed(42, 100) == evaluation_seed(42, 100)
