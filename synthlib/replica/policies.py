"""A behaviour policy as a small file of weights, and the episodes that it collects.

Inference is float64 NumPy: unlike float32 it does not depend on the BLAS kernel, so episodes repeat bit by bit on one
machine. Across processors they do not (libm and FMA differ), which is why committed data are checked by hash and
regenerated data by tolerance.
"""

import json
from typing import NamedTuple

import numpy as np

from synthlib.offline.environments import make_environment
from synthlib.tasks import MAX_EPISODE_STEPS


class BehaviourPolicy(NamedTuple):
    """Layers ``[(W, b), ...]`` float64, W (in, out), ReLU between and tanh last; ``facts`` say where it is from."""

    layers: list
    facts: dict

    def act(self, observation):
        """Deterministic action (A,) float64 in [-1, 1] for one raw observation (O,), the ant's 27 without zeros."""
        hidden = observation
        for weights, bias in self.layers[:-1]:
            hidden = np.maximum(hidden @ weights + bias, 0)
        weights, bias = self.layers[-1]
        return np.tanh(hidden @ weights + bias)


class Episode(NamedTuple):
    """T steps: ``observations`` (T, O), ``actions`` (T, A), ``rewards`` (T,), ``next_observations`` (T, O), float32;
    physics states before each step ``qpos`` (T, nq) and ``qvel`` (T, nv), float64; whether it ended by itself."""

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    qpos: np.ndarray
    qvel: np.ndarray
    terminal: bool


def policy_from_torch(state, facts):
    """The :class:`BehaviourPolicy` of a TD3 actor's ``state_dict``, whose last layer has no tanh yet."""
    names = sorted({name.rsplit(".", 1)[0] for name in state})
    tensors = [(state[f"{name}.weight"].T, state[f"{name}.bias"]) for name in names]
    return BehaviourPolicy([tuple(t.numpy().astype(np.float64) for t in pair) for pair in tensors], facts)


def save_policy(path, policy):
    """Write float32 weights ``W0, b0, ...`` and the facts as JSON to an ``.npz`` file."""
    arrays = {}
    for i, (weights, bias) in enumerate(policy.layers):
        arrays |= {f"W{i}": weights.astype(np.float32), f"b{i}": bias.astype(np.float32)}
    np.savez_compressed(path, facts=json.dumps(policy.facts), **arrays)


def load_policy(path):
    """The :class:`BehaviourPolicy` in an ``.npz`` file."""
    with np.load(path) as file:
        count = sum(name.startswith("W") for name in file.files)
        layers = [(file[f"W{i}"].astype(np.float64), file[f"b{i}"].astype(np.float64)) for i in range(count)]
        return BehaviourPolicy(layers, json.loads(str(file["facts"])))


def environment_for(policy):
    """A bare environment (no time limit) with the physics that the policy was trained on."""
    return make_environment(policy.facts["environment"], policy.facts["masses"]).unwrapped


def collect_episode(policy, env, seed, index, noise=None):
    """Episode ``index`` of the stream ``seed``, with Gaussian exploration noise of the policy's own scale.

    The action sent is clip(tanh policy + noise, -1, 1) in float32, and it is the one recorded. ``noise=0`` gives the
    deterministic policy. The 1000th step is a time-out even when the body falls in it (faithfulness 7.6).
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
