"""Behaviour policies, stored as small files of weights, and the episodes that they collect.

NumPy computes the actions in float64. Unlike in float32, the result does not depend on the BLAS kernel, so an episode
repeats bit for bit on one machine. On another processor it does not, because libm and FMA differ. Therefore committed
data are checked by hash, and data that are rolled out again are checked with a tolerance.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv

from synthlib.offline.environments import unwrapped_environment
from synthlib.offline.masses import LABEL, with_label
from synthlib.tasks import MAX_EPISODE_STEPS


class BehaviourPolicy(NamedTuple):
    """A ReLU network with a tanh output, and the facts about its training.

    ``layers`` [(W, b), ...] are float64, W (in, out) and b (out,). ``facts``: environment, body_masses, algorithm,
    seed, steps, exploration_noise and, after :func:`synthlib.replica.selection.pick`, its score.
    """

    layers: list[tuple[np.ndarray, np.ndarray]]
    facts: dict[str, Any]

    def act(self, observation: np.ndarray) -> np.ndarray:
        """The action (A,), float64 in [-1, 1], without noise, for one raw observation (O,).

        A batch of observations (n, O) gives actions (n, A). For the ant O is 27, without the 84 zeros of D4RL's data.
        """
        hidden = observation
        for weights, bias in self.layers[:-1]:
            hidden = np.maximum(hidden @ weights + bias, 0)
        weights, bias = self.layers[-1]
        return np.tanh(hidden @ weights + bias)


class Episode(NamedTuple):
    """One episode of T steps.

    ``observations`` (T, O), ``actions`` (T, A), ``rewards`` (T,) and ``next_observations`` (T, O) are float32. The
    physics state before each step, ``qpos`` (T, nq) and ``qvel`` (T, nv), is float64. ``terminal``: the robot fell.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    qpos: np.ndarray
    qvel: np.ndarray
    terminal: bool


def policy_from_torch(state: dict[str, torch.Tensor], facts: dict[str, Any]) -> BehaviourPolicy:
    """The policy with the weights of a TD3 actor's ``state_dict``."""
    names = sorted({name.rsplit(".", 1)[0] for name in state})
    layers = [(_as_float64(state[f"{name}.weight"].T), _as_float64(state[f"{name}.bias"])) for name in names]
    return BehaviourPolicy(layers, facts)


def _as_float64(tensor: torch.Tensor) -> np.ndarray:
    return tensor.numpy().astype(np.float64)


def save_policy(path: Path, policy: BehaviourPolicy) -> None:
    """Write float32 weights ``W0``, ``b0``, ... and the facts as JSON to an ``.npz`` file."""
    arrays: dict[str, Any] = {}
    for i, (weights, bias) in enumerate(policy.layers):
        arrays |= {f"W{i}": weights.astype(np.float32), f"b{i}": bias.astype(np.float32)}
    np.savez_compressed(path, facts=json.dumps(policy.facts), **arrays)


def load_policy(path: Path) -> BehaviourPolicy:
    """The policy in an ``.npz`` file that :func:`save_policy` wrote."""
    with np.load(path) as file:
        count = sum(name.startswith("W") for name in file.files)
        layers = [(file[f"W{i}"].astype(np.float64), file[f"b{i}"].astype(np.float64)) for i in range(count)]
        return BehaviourPolicy(layers, with_label(json.loads(str(file["facts"]))))


def environment_for(policy: BehaviourPolicy) -> MujocoEnv:
    """The environment that the policy was trained in, with its body masses and without a time limit."""
    return unwrapped_environment(policy.facts["environment"], policy.facts[LABEL])


def collect_episode(
    policy: BehaviourPolicy, env: MujocoEnv, seed: int, index: int, noise: float | None = None
) -> Episode:
    """Collect one episode: the seed sequence (``seed``, ``index``) draws its start and its noise.

    The action is clip(policy + Gaussian noise, -1, 1) in float32; it is executed and recorded. ``noise`` is the
    standard deviation of the noise; the default is the policy's exploration noise. The 1000th step ends the episode by
    the time limit, even when the robot falls in this step (faithfulness 7.6).
    """
    noise = policy.facts["exploration_noise"] if noise is None else noise
    rng = np.random.default_rng([seed, index])
    observation, _ = env.reset(seed=int(rng.integers(2**31)))
    rows: list[tuple[Any, ...]] = []
    terminal = False
    while len(rows) < MAX_EPISODE_STEPS and not terminal:
        action = policy.act(observation)
        action = np.clip(action + noise * rng.standard_normal(len(action)), -1, 1).astype(np.float32)
        before = env.data.qpos.copy(), env.data.qvel.copy()
        following, reward, terminal, _, _ = env.step(action)
        rows.append((observation, action, reward, following, *before))
        observation = following
    timeout = len(rows) == MAX_EPISODE_STEPS
    *data, qpos, qvel = (np.array(column) for column in zip(*rows, strict=True))
    observations, actions, rewards, next_observations = (array.astype(np.float32) for array in data)
    return Episode(observations, actions, rewards, next_observations, qpos, qvel, terminal and not timeout)
