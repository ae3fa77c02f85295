"""Evaluation in MuJoCo: deterministic policies, all environments stepped together.

The paper evaluates ten episodes of at most 1000 steps every 5,000 updates (faithfulness 6.4). Its environments are
not seeded. Ours are seeded by the run's seed and the number of updates, so a resumed run repeats its evaluations.

:func:`rollout` is the one loop. It takes policies that remember their episodes, as the Decision Transformer does, and
policies that see only the present observation.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from synthlib.offline.environments import unwrapped_environment
from synthlib.tasks import MAX_EPISODE_STEPS, normalised_score, pad_observation


class Policy(Protocol):
    """A policy that acts in several episodes at once, and may remember them."""

    def __call__(self, observations: np.ndarray, rewards: np.ndarray, running: np.ndarray) -> np.ndarray:
        """Actions (n, A) in the n episodes that still run.

        ``observations`` (n, O) are float32. ``rewards`` (n,) are the rewards of the previous step, 0 at the first step.
        ``running`` (n,) are the numbers of these episodes, in increasing order. An episode that ended never comes back.
        """


class Evaluation(NamedTuple):
    """One evaluation: ``returns`` (E,) raw, ``lengths`` (E,) steps, ``score`` the normalised mean return x 100."""

    returns: np.ndarray
    lengths: np.ndarray
    score: float


def rollout(
    policy: Policy, envs: Sequence[Any], seed: int, max_steps: int = MAX_EPISODE_STEPS, where: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Raw returns (E,) and lengths (E,) of one episode in each of E gymnasium-like environments ``envs``.

    Episode i starts from ``seed + i`` and ends when its environment terminates it or after ``max_steps`` steps. Raises
    FloatingPointError when an action of the policy is NaN; the error message contains ``where``.
    """
    observations = np.stack([env.reset(seed=seed + i)[0] for i, env in enumerate(envs)])
    returns, rewards, lengths = np.zeros(len(envs)), np.zeros(len(envs)), np.zeros(len(envs), dtype=np.int64)
    running = np.arange(len(envs))
    for step in range(max_steps):
        actions = policy(observations[running].astype(np.float32), rewards[running], running)
        if np.isnan(actions).any():
            raise FloatingPointError(f"the policy answers NaN {where}at step {step}; its training has diverged")
        alive = np.ones(len(running), dtype=bool)
        for slot, (i, action) in enumerate(zip(running.tolist(), actions, strict=True)):
            observations[i], rewards[i], terminal, over, _ = envs[i].step(action)
            returns[i] += rewards[i]
            lengths[i] += 1
            alive[slot] = not (terminal or over)  # over: by a time limit of a robot of the user's own
        running = running[alive]
        if not len(running):
            break
    return returns, lengths


class Evaluator:
    """``episodes`` copies of one environment, kept from one evaluation to the next.

    ``reference`` are the returns that score 0 and 100, if they are not those of the robot.
    """

    def __init__(
        self,
        environment: str,
        episodes: int,
        masses: str = "d4rl",
        max_steps: int = MAX_EPISODE_STEPS,
        reference: tuple[float, float] | None = None,
    ) -> None:
        self.environment = environment
        self.reference = reference
        self.max_steps = max_steps
        # Without gymnasium's wrappers: rollout counts the time limit, and each wrapper costs a tenth of a step's time.
        self._envs = [unwrapped_environment(environment, masses) for _ in range(episodes)]

    def evaluate(self, act: Callable[[np.ndarray], np.ndarray], seed: int) -> Evaluation:
        """Run every episode to its end; episode ``i`` starts from seed ``seed + i``.

        ``act`` maps float32 observations (n, O), as in the data, to actions (n, A) in [-1, 1].
        Raises FloatingPointError when an action is NaN.
        """
        return self.play(lambda observations, rewards, running: act(observations), seed)

    def play(self, policy: Policy, seed: int) -> Evaluation:
        """As :meth:`evaluate`, for a policy that remembers its episodes."""

        def padded(observations: np.ndarray, rewards: np.ndarray, running: np.ndarray) -> np.ndarray:
            return policy(pad_observation(self.environment, observations), rewards, running)

        returns, lengths = rollout(padded, self._envs, seed, self.max_steps, where=f"in {self.environment} ")
        return Evaluation(returns, lengths, float(normalised_score(self.environment, returns.mean(), self.reference)))


def evaluation_seed(run_seed: int, updates: int) -> int:
    """Seed of the first episode of the evaluation after ``updates`` updates of the run with ``run_seed``."""
    return int(np.random.SeedSequence([run_seed, updates]).generate_state(1)[0] >> 1)
