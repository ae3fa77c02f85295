"""A behaviour policy as a small file of weights, and the episodes that it collects.

Actions are computed in float64 by NumPy. Unlike float32 they do not depend on the BLAS kernel, so an episode repeats
bit for bit on one machine. On another processor it does not (libm and FMA differ): committed data are therefore checked
by hash, and data that are rolled out again by tolerance.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch

from synthlib.offline.environments import make_environment
from synthlib.tasks import MAX_EPISODE_STEPS


class BehaviourPolicy(NamedTuple):
    """A ReLU network with a tanh behind it, and where it is from.

    ``layers`` [(W, b), ...] are float64, W (in, out). ``facts``: environment, masses, algorithm, seed, steps,
    exploration_noise and, once it was picked, its score.
    """

    layers: list[tuple[np.ndarray, np.ndarray]]
    facts: dict[str, Any]

    def act(self, observation: np.ndarray) -> np.ndarray:
        """The action (A,), float64 in [-1, 1], for one raw observation (O,), without noise.

        For the ant O is 27: the 84 zeros that follow in D4RL's data are left out.
        """
        hidden = observation
        for weights, bias in self.layers[:-1]:
            hidden = np.maximum(hidden @ weights + bias, 0)
        weights, bias = self.layers[-1]
        return np.tanh(hidden @ weights + bias)


class Episode(NamedTuple):
    """One episode of T steps.

    float32: ``observations`` (T, O), ``actions`` (T, A), ``rewards`` (T,), ``next_observations`` (T, O). float64: the
    physics state before each step, ``qpos`` (T, nq) and ``qvel`` (T, nv). ``terminal``: the robot fell.
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
    tensors = [(state[f"{name}.weight"].T, state[f"{name}.bias"]) for name in names]
    return BehaviourPolicy([tuple(t.numpy().astype(np.float64) for t in pair) for pair in tensors], facts)


def save_policy(path: Path, policy: BehaviourPolicy) -> None:
    """Write float32 weights ``W0``, ``b0``, ... and the facts as JSON to an ``.npz`` file."""
    arrays = {}
    for i, (weights, bias) in enumerate(policy.layers):
        arrays |= {f"W{i}": weights.astype(np.float32), f"b{i}": bias.astype(np.float32)}
    np.savez_compressed(path, facts=json.dumps(policy.facts), **arrays)


def load_policy(path: Path) -> BehaviourPolicy:
    """The policy in an ``.npz`` file."""
    with np.load(path) as file:
        count = sum(name.startswith("W") for name in file.files)
        layers = [(file[f"W{i}"].astype(np.float64), file[f"b{i}"].astype(np.float64)) for i in range(count)]
        return BehaviourPolicy(layers, json.loads(str(file["facts"])))


def environment_for(policy: BehaviourPolicy) -> gymnasium.Env:
    """The environment that the policy was trained in, with its body masses and without a time limit."""
    return make_environment(policy.facts["environment"], policy.facts["masses"]).unwrapped


def collect_episode(
    policy: BehaviourPolicy, env: gymnasium.Env, seed: int, index: int, noise: float | None = None
) -> Episode:
    """Episode ``index`` of those with ``seed``: start and noise are drawn from (seed, index).

    The action is clip(policy + Gaussian noise, -1, 1) in float32; it is executed and recorded. ``noise`` is the
    standard deviation, by default the policy's own. The 1000th step ends the episode by time, even when the robot falls
    in it (faithfulness 7.6).
    """
    noise = policy.facts["exploration_noise"] if noise is None else noise
    rng = np.random.default_rng([seed, index])
    observation, _ = env.reset(seed=int(rng.integers(2**31)))
    rows, terminal = [], False
    while len(rows) < MAX_EPISODE_STEPS and not terminal:
        action = policy.act(observation)
        action = np.clip(action + noise * rng.standard_normal(len(action)), -1, 1).astype(np.float32)
        before = env.data.qpos.copy(), env.data.qvel.copy()
        following, reward, terminal, _, _ = env.step(action)
        rows.append((observation, action, reward, following, *before))
        observation = following
    timeout = len(rows) == MAX_EPISODE_STEPS
    *data, qpos, qvel = (np.array(column) for column in zip(*rows, strict=True))
    return Episode(*(array.astype(np.float32) for array in data), qpos, qvel, terminal and not timeout)
