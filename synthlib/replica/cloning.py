"""Behaviour cloning, the simplest offline learner: a check that a data set and the simulated physics fit together.

A small network that imitates the actions of a *medium* data set must score near the policy that collected the data.
Otherwise the observations do not belong to the actions, or the physics of the evaluation differ from the data's.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from synthlib.offline.datasets import OfflineDataset
from synthlib.offline.evaluation import Evaluation, Evaluator


class Clone(NamedTuple):
    """A cloned policy.

    ``network`` maps observations, standardised by ``mean`` (O,) and ``scale`` (O,), to actions in [-1, 1]. ``losses``
    (U,) float64 holds the mean squared error of each update's minibatch.
    """

    network: nn.Module
    mean: torch.Tensor
    scale: torch.Tensor
    losses: np.ndarray

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions (n, A) for raw float32 observations (n, O) as in the data, with the zeros of the ant."""
        with torch.no_grad():
            return self.network((torch.from_numpy(observations) - self.mean) / self.scale).numpy()


def clone(
    data: OfflineDataset,
    updates: int = 5000,
    batch_size: int = 256,
    hidden: int = 256,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> Clone:
    """Imitate the actions of ``data`` with ``updates`` Adam steps; ``seed`` sets the weights and the minibatches."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    observations, actions = (torch.from_numpy(np.array(array)) for array in (data.observations, data.actions))
    mean, scale = observations.mean(0), observations.std(0) + 1e-3
    observations = (observations - mean) / scale
    network = nn.Sequential(
        nn.Linear(observations.shape[1], hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, actions.shape[1]),
        nn.Tanh(),
    )
    adam = torch.optim.Adam(network.parameters(), lr=learning_rate)
    losses = np.empty(updates)
    for update in range(updates):
        rows = torch.from_numpy(rng.integers(0, len(actions), batch_size))
        loss = (network(observations[rows]) - actions[rows]).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses[update] = loss.item()
    return Clone(network, mean, scale, losses)


def evaluate_clone(cloned: Clone, data: OfflineDataset, episodes: int = 10, seed: int = 0) -> Evaluation:
    """Play ``episodes`` episodes with the clone, in an environment with the body masses of ``data``."""
    return Evaluator(data.environment, episodes, data.masses).evaluate(cloned.act, seed)
