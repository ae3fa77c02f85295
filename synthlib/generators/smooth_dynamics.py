"""Not in the paper: transitions of a smooth random dynamical system, whose centroids really differ.

    next observation = tanh(A observation + B action) + noise

A is ``gain`` times a random orthogonal matrix, B is random, actions are uniform in [-1, 1). The mean of what follows an
observation and an action, their centroid, is the tanh: neighbouring pairs have neighbouring centroids, and distant
pairs distant ones. In the paper's MDP a pair explains less than a thousandth of the variance of the next state
(page of section 4.3); here ``noise`` decides.
"""

import numpy as np

from synthlib.generators.registry import transition_generator

TRAJECTORY = 1000  # steps, as in the paper's data


@transition_generator(version=1)
def smooth_dynamics(
    seed: int,
    transitions: int,
    observation_width: int,
    action_width: int,
    noise: float = 0.1,
    gain: float = 1.5,
    system: int = 666,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, actions and next observations as vectors, float32: (M, S), (M, A), (M, S).

    ``noise`` is the standard deviation of the noise in each dimension, ``system`` the seed of A and B, ``seed`` the
    seed of starts, actions and noise.
    """
    matrices, draw = dynamics(observation_width, action_width, gain, system), np.random.default_rng(seed)
    steps = min(TRAJECTORY, transitions)
    trajectories = -(-transitions // steps)
    actions = draw.uniform(-1, 1, (steps, trajectories, action_width))
    states = np.empty((steps + 1, trajectories, observation_width))
    states[0] = draw.uniform(-1, 1, (trajectories, observation_width))
    for t in range(steps):
        states[t + 1] = centroids(states[t], actions[t], *matrices)
        states[t + 1] += noise * draw.standard_normal(states[t].shape)

    def in_order(column: np.ndarray) -> np.ndarray:
        """One trajectory after the other."""
        return column.swapaxes(0, 1).reshape(-1, column.shape[-1])[:transitions].astype(np.float32)

    return in_order(states[:-1]), in_order(actions), in_order(states[1:])


def dynamics(
    observation_width: int, action_width: int, gain: float = 1.5, system: int = 666
) -> tuple[np.ndarray, np.ndarray]:
    """The matrices A (S, S) and B (S, A) of a system, float64."""
    draw = np.random.default_rng(system)
    orthogonal = np.linalg.qr(draw.standard_normal((observation_width, observation_width)))[0]
    return gain * orthogonal, draw.standard_normal((observation_width, action_width))


def centroids(observations: np.ndarray, actions: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The mean of what follows each observation (M, S) and action (M, A): float64 (M, S)."""
    return np.tanh(observations @ a.T + actions @ b.T)


def explained(
    observation_width: int = 17, action_width: int = 6, noise: float = 0.1, gain: float = 1.5, transitions: int = 20_000
) -> float:
    """The share of the variance of the next observation that observation and action explain, from a sample."""
    observations, actions, following = smooth_dynamics(0, transitions, observation_width, action_width, noise, gain)
    means = centroids(observations, actions, *dynamics(observation_width, action_width, gain))
    return float(means.var(axis=0).mean() / following.var(axis=0).mean())
