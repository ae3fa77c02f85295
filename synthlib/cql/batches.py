"""The inputs of one CQL update: a minibatch of the data set, and all of the update's randomness."""

from typing import NamedTuple

import torch

from synthlib.offline.datasets import Transitions

Batch = Transitions[torch.Tensor]
"""A minibatch of B transitions in the agent's dtype; actions in [-1, 1], terminals 1 at a terminal step, else 0."""


class Noise(NamedTuple):
    """All randomness of one update. ``uniform`` holds actions in [-1, 1]; the other fields are standard normal."""

    policy: torch.Tensor  # (B, A): a ~ pi(s) of the policy and alpha losses
    target: torch.Tensor  # (B, A): a' ~ pi(s') of the TD target
    uniform: torch.Tensor  # (B, N, A): actions of the conservative loss, from the first of its three sources
    current: torch.Tensor  # (B, N, A): a ~ pi(s) of the conservative loss
    next: torch.Tensor  # (B, N, A): a ~ pi(s') of the conservative loss


def draw_noise(generator: torch.Generator, batch_size: int, action_width: int, sampled_actions: int) -> Noise:
    """Float32 :class:`Noise` of one update from a ``torch.Generator``, drawn in the order of the authors' program.

    It is drawn on the processor even for an agent on a GPU, so that a run's noise does not depend on the device.
    """

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    single, several = (batch_size, action_width), (batch_size, sampled_actions, action_width)
    policy, target = normal(*single), normal(*single)
    uniform = torch.empty(several).uniform_(-1, 1, generator=generator)
    return Noise(policy, target, uniform, current=normal(*several), next=normal(*several))


def check_shapes(batch: Batch, noise: Noise, observation_width: int, action_width: int, sampled_actions: int) -> None:
    """Raises ValueError unless all shapes are as :class:`Transitions` and :class:`Noise` say.

    A wrong shape such as (B, 1) would broadcast to a wrong loss.
    """
    size = batch.observations.shape[0]
    state, action, several = (size, observation_width), (size, action_width), (size, sampled_actions, action_width)
    expected: tuple[tuple[Batch | Noise, list[tuple[int, ...]]], ...] = (
        (batch, [state, action, (size,), state, (size,)]),
        (noise, [action, action, several, several, several]),
    )
    for given, shapes in expected:
        for name, tensor, shape in zip(given._fields, given, shapes, strict=True):
            if tensor.shape != shape:
                kind = type(given).__name__
                raise ValueError(f"{name} of the {kind} has shape {tuple(tensor.shape)}, not {shape}")
