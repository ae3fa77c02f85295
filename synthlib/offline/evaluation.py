"""Evaluation in MuJoCo: deterministic episodes, all environments stepped together.

The paper evaluates ten episodes of at most 1000 steps every 5,000 updates (faithfulness 6.4). Its environments are
not seeded; ours are, from the run's seed and the number of updates, so that a resumed run repeats its evaluations.
"""

from typing import NamedTuple

import numpy as np

from synthlib.offline.environments import make_environment
from synthlib.tasks import MAX_EPISODE_STEPS, normalised_score, pad_observation


class Evaluation(NamedTuple):
    """One evaluation: ``returns`` (E,) raw, ``lengths`` (E,) steps, ``score`` the normalised mean return x 100."""

    returns: np.ndarray
    lengths: np.ndarray
    score: float


class Evaluator:
    """``episodes`` copies of one environment, kept from one evaluation to the next."""

    def __init__(self, environment, episodes, masses="d4rl", max_steps=MAX_EPISODE_STEPS):
        self.environment = environment
        self.max_steps = max_steps
        # Unwrapped: the time limit is counted here, and each wrapper would cost a tenth of a step.
        self._envs = [make_environment(environment, masses).unwrapped for _ in range(episodes)]

    def evaluate(self, act, seed):
        """Run every episode to its end; episode ``i`` starts from seed ``seed + i``.

        ``act`` maps float32 observations (n, O), as in the data, to actions (n, A) in [-1, 1].
        Raises FloatingPointError when it answers NaN.
        """
        count = len(self._envs)
        observations = np.stack([env.reset(seed=seed + i)[0] for i, env in enumerate(self._envs)])
        returns, lengths = np.zeros(count), np.zeros(count, dtype=np.int64)
        running = np.arange(count)
        for _ in range(self.max_steps):
            actions = act(pad_observation(self.environment, observations[running].astype(np.float32)))
            if np.isnan(actions).any():
                raise FloatingPointError(f"the policy answers NaN in {self.environment}; its training has diverged")
            alive = np.ones(len(running), dtype=bool)
            for slot, (i, action) in enumerate(zip(running, actions, strict=True)):
                observations[i], reward, terminal, _, _ = self._envs[i].step(action)
                returns[i] += reward
                lengths[i] += 1
                alive[slot] = not terminal
            running = running[alive]
            if not len(running):
                break
        return Evaluation(returns, lengths, float(normalised_score(self.environment, returns.mean())))


def evaluation_seed(run_seed, updates):
    """Seed of the first episode of the evaluation after ``updates`` updates of the run with ``run_seed``."""
    return int(np.random.SeedSequence([run_seed, updates]).generate_state(1)[0] >> 1)
