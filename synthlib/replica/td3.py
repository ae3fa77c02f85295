"""TD3 (Fujimoto et al., 2018), small and quick on one core: it trains the behaviour policies of the replica data.

Why not a library: the maintained libraries make 50 to 100 environment steps a second on one core, and the data need
about two million steps. This code makes 200 to 300, with minibatches of 128, a backward pass written by hand, and one
fused Adam step on flattened weights.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from synthlib.kernels import mlp
from synthlib.kernels.adam import FusedAdam, flatten
from synthlib.kernels.products import product, through_relu_

_PARTS = ("actor", "critics", "actor_target", "critics_target", "actor_optimiser", "critic_optimiser")


@dataclass(frozen=True)
class TD3Config:
    """Hyperparameters of TD3's paper, except for the minibatch (100 there) and the random steps (1,000 or 10,000)."""

    environment: str
    steps: int  # environment steps; after `random_steps`, one update follows each step
    seed: int = 0
    hidden: int = 256
    batch_size: int = 128
    learning_rate: float = 1e-3
    late_learning_rate: float = 3e-4  # TD3's paper has one rate; a lower rate ends the oscillations late in training
    late_from: int | None = None  # the step from which the late rate is used; None: never
    discount: float = 0.99
    target_rate: float = 0.005
    policy_delay: int = 2  # critic updates for each update of the actor and the targets
    exploration_noise: float = 0.1
    target_noise: float = 0.2
    target_noise_clip: float = 0.5
    random_steps: int = 10_000  # uniform actions at the start, without updates
    evaluate_every: int = 5_000
    evaluation_episodes: int = 5
    body_masses: str = "replica"


class TD3:
    """Actor, two critics, their target networks and optimisers. Actions lie in [-1, 1], as in all four environments.

    The weights of each part are flattened into one tensor and their gradients into another, so an optimiser step is one
    kernel call. At this size, the backward pass written by hand takes two thirds of autograd's time.
    """

    def __init__(self, observation_width: int, action_width: int, config: TD3Config) -> None:
        self.config, self.observation_width, self.action_width = config, observation_width, action_width
        self.actor = _network(observation_width, config.hidden, action_width)
        self.critics = nn.ModuleList([_network(observation_width + action_width, config.hidden, 1) for _ in range(2)])
        self.actor_target = copy.deepcopy(self.actor)
        self.critics_target = copy.deepcopy(self.critics)
        self._actor_weights, self._critic_weights, self._actor_target_weights, self._critic_target_weights = (
            flatten(list(part.parameters()))
            for part in (self.actor, self.critics, self.actor_target, self.critics_target)
        )
        self.actor_optimiser, self.critic_optimiser = (
            FusedAdam([{"params": [weights], "lr": config.learning_rate}])
            for weights in (self._actor_weights, self._critic_weights)
        )
        self._actor, self._actor_target = mlp.linear_layers(self.actor), mlp.linear_layers(self.actor_target)
        self._critics = [mlp.linear_layers(critic) for critic in self.critics]
        self._critics_target = [mlp.linear_layers(critic) for critic in self.critics_target]
        self.updates = 0

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the actor and the critics, from the next update on."""
        for optimiser in (self.actor_optimiser, self.critic_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = rate

    def act(self, observations: torch.Tensor) -> torch.Tensor:
        """Actions (..., A) without noise for float32 observations (..., O)."""
        return self.actor(observations).tanh()

    @torch.no_grad()
    def update(
        self,
        observation: torch.Tensor,
        action: torch.Tensor,
        reward: torch.Tensor,
        next_observation: torch.Tensor,
        discount: torch.Tensor,
        noise: torch.Tensor,
    ) -> None:
        """One update of TD3 (Algorithm 1 of its paper), in place, on a minibatch of B transitions, all float32.

        The observations are (B, O), ``action`` is (B, A), ``reward`` is (B,). ``discount`` (B,) is 0 at a terminal
        step. ``noise`` (B, A) is standard normal.
        """
        self._update_critics(observation, action, reward, next_observation, discount, noise)
        self.updates += 1
        if self.updates % self.config.policy_delay == 0:
            self._update_actor(observation)
            self._actor_target_weights.lerp_(self._actor_weights, self.config.target_rate)
            self._critic_target_weights.lerp_(self._critic_weights, self.config.target_rate)

    def _update_critics(
        self,
        observation: torch.Tensor,
        action: torch.Tensor,
        reward: torch.Tensor,
        next_observation: torch.Tensor,
        discount: torch.Tensor,
        noise: torch.Tensor,
    ) -> None:
        config = self.config
        smoothing = (noise * config.target_noise).clamp_(-config.target_noise_clip, config.target_noise_clip)
        next_action = mlp.forward(self._actor_target, next_observation)[0].tanh_()
        next_inputs = torch.cat([next_observation, next_action.add_(smoothing).clamp_(-1, 1)], 1)
        first, second = (mlp.forward(layers, next_inputs)[0] for layers in self._critics_target)
        target = torch.addcmul(reward, discount, torch.minimum(first, second).squeeze(1)).unsqueeze_(1)
        inputs = torch.cat([observation, action], 1)
        for layers in self._critics:
            value, activations = mlp.forward(layers, inputs)
            mlp.backward(layers, activations, value.sub_(target).mul_(2 / len(value)))
        self.critic_optimiser.step()

    def _update_actor(self, observation: torch.Tensor) -> None:
        """Ascend the first critic: the gradient of -mean Q flows back to the action, through tanh and the actor."""
        action, activations = mlp.forward(self._actor, observation)
        action.tanh_()
        layer_1, layer_2, head = self._critics[0]
        _, (inputs, hidden_1, hidden_2) = mlp.forward(self._critics[0], torch.cat([observation, action], 1))
        delta = head.weight.mul(-1 / len(inputs)).expand(len(inputs), -1)
        delta = product(through_relu_(delta, hidden_2), layer_2.weight)
        delta = product(through_relu_(delta, hidden_1), layer_1.weight[:, self.observation_width :])
        mlp.backward(self._actor, activations, delta.mul_(1 - action.square()))
        self.actor_optimiser.step()

    def state(self) -> dict[str, Any]:
        """The state, as tensors (not copied) and plain values, from which :meth:`load` continues bit for bit."""
        return {part: getattr(self, part).state_dict() for part in _PARTS} | {"updates": self.updates}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from ``state``. Raises ValueError or RuntimeError when it belongs to networks of another size."""
        for part in _PARTS:
            getattr(self, part).load_state_dict(state[part])
        self.updates = state["updates"]


def _network(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )
