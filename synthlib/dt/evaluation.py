"""Evaluation of a Decision Transformer: ask for a return, act, subtract what was earned (faithfulness 3.14).

:func:`readable_episode` follows the reference, one padded window per step. :func:`evaluate_together` runs all
episodes as one batch: they start together, so their windows are equally long and need no padding. The window slides
and is read anew at each step: a cache of keys and values would not be exact, because each one in the second layer
and above was computed with steps that have since left the window.
"""

from typing import NamedTuple

import numpy as np
import torch

from synthlib.dt.windows import CONTEXT, MAX_TIMESTEP, RETURN_SCALE
from synthlib.machine.devices import put
from synthlib.offline.environments import make_environment
from synthlib.offline.evaluation import Evaluation
from synthlib.tasks import MAX_EPISODE_STEPS, normalised_score, pad_observation

# Raw returns asked for, paper Table 10. The authors also ran a second one per environment and did not report it.
TARGET_RETURNS = {"halfcheetah": 6000.0, "hopper": 3600.0, "walker2d": 5000.0, "ant": 5000.0}


class Episode(NamedTuple):
    """T steps: ``observations`` (T, O) raw, ``actions`` (T, A) float32, ``rewards`` (T,), and ``returns_to_go`` (T,)
    float32 in units of the return scale, as fed to the model."""

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    returns_to_go: np.ndarray


def readable_episode(
    model, env, mean, std, target_return, seed=None, max_steps=MAX_EPISODE_STEPS, context=CONTEXT, scale=RETURN_SCALE
):
    """Play one :class:`Episode` in a gymnasium-like ``env`` until it terminates or ``max_steps`` are over.

    ``mean`` and ``std`` (O,) are those of the training data, ``target_return`` is raw. Padding is zeros *after*
    normalisation and, unlike in training, zeros for actions as well; the action being asked for is zeros too.
    """
    observation = env.reset(seed=seed)[0]
    observations, actions, rewards, returns_to_go = [], [], [], [np.float32(target_return / scale)]
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
            _left_padded(np.minimum(np.arange(steps - visible, steps), MAX_TIMESTEP), context),
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


def predict_last_action(model, observations, actions, returns_to_go, timesteps):
    """Actions (n, A) of ``model`` for the last of L steps: float32 (n, L, O), (n, L, A), (n, L, 1) and int (n, L)."""
    parts = put(model.ln_f.weight.device, observations, actions, returns_to_go, timesteps, np.ones(timesteps.shape))
    with torch.no_grad():
        return model(*parts).action[:, -1].cpu().numpy()


def evaluate_together(
    predict, envs, mean, std, target_return, seed, max_steps=MAX_EPISODE_STEPS, context=CONTEXT, scale=RETURN_SCALE
):
    """Raw returns (n,) and lengths (n,) of one episode in each of n ``envs``; episode i starts from ``seed + i``.

    ``predict`` maps a window, as the arguments of :func:`predict_last_action` after the model, to actions (n, A).
    Raises FloatingPointError when it answers NaN.
    """
    count = len(envs)
    current = np.stack([env.reset(seed=seed + i)[0] for i, env in enumerate(envs)])
    observations = np.zeros((count, max_steps, current.shape[1]), dtype=np.float32)
    actions = np.zeros((count, max_steps, envs[0].action_space.shape[0]), dtype=np.float32)
    returns_to_go = np.zeros((count, max_steps + 1, 1), dtype=np.float32)
    returns_to_go[:, 0] = target_return / scale
    returns, lengths = np.zeros(count), np.zeros(count, dtype=np.int64)
    running = np.arange(count)
    for step in range(max_steps):
        observations[running, step] = (current[running].astype(np.float32) - mean) / std
        window = slice(max(0, step + 1 - context), step + 1)
        timesteps = np.minimum(np.arange(window.start, window.stop), MAX_TIMESTEP)
        chosen = predict(
            observations[running, window],
            actions[running, window],
            returns_to_go[running, window],
            np.tile(timesteps, (len(running), 1)),
        )
        if np.isnan(chosen).any():
            raise FloatingPointError(f"the model answers NaN at step {step}; its training has diverged")
        actions[running, step] = chosen
        alive = np.ones(len(running), dtype=bool)
        for slot, (i, action) in enumerate(zip(running, chosen, strict=True)):
            current[i], reward, terminal, _, _ = envs[i].step(action)
            returns[i] += reward
            lengths[i] += 1
            returns_to_go[i, step + 1] = _remaining(returns_to_go[i, step], reward, scale)
            alive[slot] = not terminal
        running = running[alive]
        if not len(running):
            break
    return returns, lengths


class DTEvaluator:
    """``episodes`` copies of a MuJoCo environment, kept from one evaluation to the next."""

    def __init__(self, environment, episodes=10, masses="d4rl", max_steps=MAX_EPISODE_STEPS):
        self.environment = environment
        self.max_steps = max_steps
        self._envs = [_Padded(environment, masses) for _ in range(episodes)]

    def evaluate(self, predict, mean, std, seed, target_return=None):
        """:class:`synthlib.offline.evaluation.Evaluation`; ``target_return`` is Table 10's unless given."""
        target = TARGET_RETURNS[self.environment] if target_return is None else target_return
        returns, lengths = evaluate_together(predict, self._envs, mean, std, target, seed, self.max_steps)
        return Evaluation(returns, lengths, float(normalised_score(self.environment, returns.mean())))


class _Padded:
    """The environment without its time limit (counted here) and with the ant's 84 zeros."""

    def __init__(self, environment, masses):
        self._name = environment
        self._env = make_environment(environment, masses).unwrapped
        self.action_space = self._env.action_space

    def reset(self, seed=None):
        observation, info = self._env.reset(seed=seed)
        return pad_observation(self._name, observation), info

    def step(self, action):
        observation, *rest = self._env.step(action)
        return pad_observation(self._name, observation), *rest


def _left_padded(rows, length):
    return np.concatenate([np.zeros((length - len(rows), *rows.shape[1:]), dtype=rows.dtype), rows])


def _remaining(return_to_go, reward, scale):
    return np.float32(return_to_go - np.float32(reward / scale))
