"""Behaviour cloning, the plainest offline learner: a sanity check that a data set and its physics belong together.

A small network that imitates the actions of a *medium* set must score near the policy that made them. If it does not,
observations and actions are misaligned, or the evaluation runs on other physics than the data.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from synthlib.offline.evaluation import Evaluator


class Clone(NamedTuple):
    """A cloned policy: ``network`` maps normalised observations to actions in [-1, 1]; ``losses`` are one for each
    update, the mean squared error of a minibatch."""

    network: nn.Module
    mean: torch.Tensor
    scale: torch.Tensor
    losses: np.ndarray

    def act(self, observations):
        """Actions (n, A) for raw float32 observations (n, O) as in the data, the ant's with their zeros."""
        with torch.no_grad():
            return self.network((torch.from_numpy(observations) - self.mean) / self.scale).numpy()


def clone(data, updates=5000, batch_size=256, hidden=256, learning_rate=1e-3, seed=0):
    """The :class:`Clone` of an ``OfflineDataset`` after ``updates`` Adam steps on minibatches drawn with ``seed``."""
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


def evaluate_clone(cloned, data, episodes=10, seed=0):
    """The ``Evaluation`` of a clone on the physics of its data."""
    return Evaluator(data.environment, episodes, data.masses).evaluate(cloned.act, seed)
