"""Recorded steps are made again in MuJoCo, one by one, to find out in which physics they were recorded.

Steps that were recorded with D4RL's MuJoCo replay to 1e-14 under D4RL's body masses, and to no better than 1e-3 under
today's. Observations are rounded to float32, and a rounded state may make or miss a contact. So the median of the
errors counts, not the largest. It decides which masses policies are evaluated under (:mod:`synthlib.offline.masses`).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthlib.offline.environments import unwrapped_environment
from synthlib.offline.recorded_steps import Steps, read_steps

if TYPE_CHECKING:
    from gymnasium.envs.mujoco.mujoco_env import MujocoEnv

CANDIDATES = ("d4rl", "stock")  # what a robot can weigh (synthlib.tasks.MASSES)
FIT = 1e-4  # masses fit when the median one-step error of the observation is at most this


class ReplayErrors(NamedTuple):
    """Errors of R replayed steps, in the environment's own units.

    ``observation`` (R,): the largest absolute difference in the next observation. ``reward`` (R,): the absolute
    difference of the rewards. ``termination`` (R,), bool: whether only one of the two steps is terminal.
    """

    observation: np.ndarray
    reward: np.ndarray
    termination: np.ndarray


def replay(path: Path, environment: str, masses: str = "d4rl", count: int = 1000, seed: int = 0) -> ReplayErrors:
    """:class:`ReplayErrors` of ``count`` steps of a file.

    Raises the errors of :func:`synthlib.offline.recorded_steps.read_steps`.
    """
    return replay_steps(read_steps(path, environment, count, seed), environment, masses)


def median_errors(path: Path, environment: str, count: int) -> dict[str, float]:
    """{masses: median one-step error of the observation} for :data:`CANDIDATES`, over ``count`` steps of a file.

    Raises the errors of :func:`synthlib.offline.recorded_steps.read_steps`.
    """
    steps = read_steps(path, environment, count)
    errors = {masses: replay_steps(steps, environment, masses) for masses in CANDIDATES}
    return {masses: float(np.nan_to_num(np.median(error.observation), nan=np.inf)) for masses, error in errors.items()}


def fitting(medians: Mapping[str, float]) -> list[str]:
    """The masses that fit, best first, by the ``medians`` of :func:`median_errors`."""
    return sorted((masses for masses in medians if medians[masses] <= FIT), key=medians.__getitem__)


def replay_steps(steps: Steps, environment: str, masses: str = "d4rl") -> ReplayErrors:
    """Make the chosen ``steps`` again, each from its recorded state.

    The step before is made again too. For the ant's reward takes the torso's place before a step from the last substep
    of the step before, which no file records.
    """
    import mujoco

    env = unwrapped_environment(environment, masses)
    errors = []
    with _silently():
        for row in steps.chosen:
            mujoco.mj_resetData(env.model, env.data)
            if steps.continues[row]:
                _set_state(env, steps, row - 1)
                mujoco.mj_forward(env.model, env.data)
                env.step(steps.actions[row - 1])
                _set_state(env, steps, row)
            else:
                _set_state(env, steps, row)
                mujoco.mj_forward(env.model, env.data)
            observation, reward, terminal, _, _ = env.step(steps.actions[row])
            difference = np.abs(observation - steps.following[row]).max()
            errors.append((difference, abs(reward - steps.rewards[row]), terminal != steps.terminals[row]))
    return ReplayErrors(*(np.array(column) for column in zip(*errors, strict=True)))


def _set_state(env: "MujocoEnv", steps: Steps, row: int) -> None:
    """Set the state before the step ``row``. Where it is not recorded, the root stays in its place."""
    env.data.qpos[:] = np.where(np.isnan(steps.qpos[row]), env.data.qpos, steps.qpos[row])
    env.data.qvel[:] = steps.qvel[row]


@contextmanager
def _silently() -> Iterator[None]:
    """Numbers that are no physics state make MuJoCo and NumPy warn; here the error of the step says the same."""
    import mujoco

    mujoco.set_mju_user_warning(lambda message: None)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        mujoco.set_mju_user_warning(None)
