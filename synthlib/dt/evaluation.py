"""Evaluation of a Decision Transformer: ask for a return, act, subtract each reward from it (faithfulness 3.14).

:func:`readable_episode` follows the reference, one padded window per step. :class:`ReturnConditioned` plays all
episodes as one batch. The window slides, and the model reads the whole window at each step. A cache of keys and values
would not be exact: from the second layer on they depend on steps that have left the window since.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from synthlib.dt.model import DecisionTransformer, DTConfig
from synthlib.robots import WithRobots

# Raw target returns, paper Table 10; an arm's ``target_return`` sets others. The authors also ran a second one per
# environment and did not report it: 12000, 1800, 2500 and 2000 (faithfulness 3.14).
TARGET_RETURNS: WithRobots[float] = WithRobots(
    {"halfcheetah": 6000.0, "hopper": 3600.0, "walker2d": 5000.0, "ant": 5000.0}, lambda robot: robot.target_return
)


class Episode(NamedTuple):
    """One episode of T steps.

    ``observations`` (T, O) raw, ``actions`` (T, A) float32, ``rewards`` (T,) raw, and ``returns_to_go`` (T,) float32 in
    units of the return scale, as the model reads them.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    returns_to_go: np.ndarray


def readable_episode(
    model: DecisionTransformer,
    env: Any,
    mean: np.ndarray,
    std: np.ndarray,
    target_return: float,
    seed: int | None = None,
    max_steps: int | None = None,
) -> Episode:
    """Play one :class:`Episode` in a gymnasium-like ``env`` until it terminates or after ``max_steps`` steps.

    ``mean`` and ``std`` (O,) normalise the observations; they come from the training data. ``target_return`` is raw.
    ``max_steps`` is the model's time limit by default. Observations are padded with zeros *after* normalisation.
    Actions are padded with zeros too, unlike in training, and the action to be predicted is also zeros in the input.
    """
    context, scale, time_limit = model.config.context, model.config.return_scale, model.config.time_limit
    max_steps = time_limit if max_steps is None else max_steps
    observation = env.reset(seed=seed)[0]
    observations: list[Any] = []
    actions: list[np.ndarray] = []
    rewards: list[float] = []
    returns_to_go: list[Any] = [np.float32(target_return / scale)]
    terminal = False
    while not terminal and len(actions) < max_steps:
        observations.append(observation)
        steps = len(observations)
        visible = min(steps, context)
        unknown_action = np.zeros(model.config.action_width)
        parts = (
            _left_padded((np.array(observations[-visible:], dtype=np.float32) - mean) / std, context),
            _left_padded(np.array([*actions, unknown_action][-visible:], dtype=np.float32), context),
            _left_padded(np.array(returns_to_go[-visible:], dtype=np.float32)[:, None], context),
            _left_padded(np.minimum(np.arange(steps - visible, steps), time_limit - 1), context),
            _left_padded(np.ones(visible, dtype=np.float32), context),
        )
        with torch.no_grad():
            predictions = model(*(torch.from_numpy(part)[None] for part in parts))
        action = predictions.action[0, -1].numpy()
        observation, reward, terminal, _, _ = env.step(action)
        actions.append(action)
        rewards.append(reward)
        returns_to_go.append(_remaining(returns_to_go[-1], reward, scale))
    return Episode(np.array(observations), np.array(actions), np.array(rewards), np.array(returns_to_go[:-1]))


class ReturnConditioned:
    """A Decision Transformer as a policy for :func:`synthlib.offline.evaluation.rollout`; make one per evaluation.

    The policy remembers the last ``config.context`` steps of each running episode. All episodes start together, so
    their windows have equal lengths and need no padding. ``predict`` maps the windows to actions, as
    :class:`synthlib.dt.model.LastAction` does. The other arguments are as in :func:`readable_episode`.
    """

    def __init__(
        self,
        predict: Callable[..., np.ndarray],
        config: DTConfig,
        mean: np.ndarray,
        std: np.ndarray,
        target_return: float,
    ) -> None:
        self.predict, self.config = predict, config
        self.mean, self.std, self.target_return = mean, std, target_return
        self._steps = 0
        self._running = np.zeros(0, dtype=np.int64)  # (n,) the episode of each row of the windows
        self._windows: list[np.ndarray] = []  # observations (n, L, O), actions (n, L, A), returns-to-go (n, L, 1)

    def __call__(self, observations: np.ndarray, rewards: np.ndarray, running: np.ndarray) -> np.ndarray:
        """Actions (n, A) in the n running episodes, as :class:`synthlib.offline.evaluation.Policy` describes."""
        config = self.config
        if self._steps == 0:
            widths = config.observation_width, config.action_width, 1
            past = [np.zeros((len(running), 0, width), dtype=np.float32) for width in widths]
            remaining = np.full((len(running), 1), self.target_return / config.return_scale, dtype=np.float32)
        else:
            past = [part[np.isin(self._running, running)] for part in self._windows]
            remaining = _remaining(past[2][:, -1], rewards[:, None], config.return_scale)
        normalised = ((observations - self.mean) / self.std).astype(np.float32)
        present = normalised, np.zeros((len(running), config.action_width), dtype=np.float32), remaining
        oldest = 1 if past[0].shape[1] == config.context else 0
        self._windows = [
            np.concatenate([part[:, oldest:], new[:, None]], axis=1) for part, new in zip(past, present, strict=True)
        ]
        first = self._steps + 1 - self._windows[0].shape[1]
        timesteps = np.minimum(np.arange(first, self._steps + 1), config.time_limit - 1)
        actions = self.predict(*self._windows, np.tile(timesteps, (len(running), 1)))
        self._windows[1][:, -1] = actions
        self._running = running
        self._steps += 1
        return actions


def _left_padded(rows: np.ndarray, length: int) -> np.ndarray:
    return np.concatenate([np.zeros((length - len(rows), *rows.shape[1:]), dtype=rows.dtype), rows])


def _remaining(return_to_go: Any, rewards: Any, scale: float) -> Any:
    """The returns-to-go after ``rewards``, float32 as in the reference; two numbers, or two arrays of one shape."""
    return return_to_go - (np.asarray(rewards) / scale).astype(np.float32)
