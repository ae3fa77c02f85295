"""Adam by torch's fused kernel alone, and the weights of a network flattened into one long tensor for it.

What ``torch.optim`` does around that kernel costs a twentieth of a critic's update, and a second of a process's start,
in which it loads a compiler that nothing here uses. With one long tensor, a step over a whole network is one call.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from synthlib.machine.devices import CPU

MOMENTS = ("exp_avg", "exp_avg_sq")


def flatten(weights: Sequence[nn.Parameter]) -> nn.Parameter:
    """Move ``weights`` into one contiguous parameter and return it; each weight and its ``grad`` become views of it.

    One Adam step over the parameter then moves all weights. Gradients start at zero and must be written, or
    accumulated, in place.
    """
    flat = nn.Parameter(torch.cat([weight.detach().reshape(-1) for weight in weights]))
    flat.grad = torch.zeros_like(flat)
    for weight, value, gradient in zip(weights, views(flat.data, weights), views(flat.grad, weights), strict=True):
        weight.data, weight.grad = value, gradient
    return flat


def views(flat: torch.Tensor, weights: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Views of the 1-D tensor ``flat``, one after the other, in the shapes of ``weights``."""
    pieces = flat.split([weight.numel() for weight in weights])
    return [piece.view_as(weight) for piece, weight in zip(pieces, weights, strict=True)]


class FusedAdam:
    """AdamW, which is Adam where nothing decays: bit for bit the numbers of torch's AdamW with ``fused=True``.

    ``param_groups`` are dicts of contiguous ``params``, ``lr`` and, if they are not 0 and 1e-8, ``weight_decay`` and
    ``eps``; ``lr`` may be changed between steps. ``state`` is {weight: {"step", "exp_avg", "exp_avg_sq"}}, at zero.
    """

    def __init__(self, param_groups: Sequence[Mapping[str, Any]]) -> None:
        self.param_groups = [{"weight_decay": 0.0, "eps": 1e-8} | group for group in param_groups]
        self.state = {weight: _zero_moments(weight, weight.device) for weight in self.weights()}

    def weights(self) -> list[nn.Parameter]:
        """All weights, in order."""
        return [weight for group in self.param_groups for weight in group["params"]]

    @torch.inference_mode()
    def step(self) -> None:
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            trained = [weight for weight in group["params"] if weight.grad is not None]
            states = [self.state[weight] for weight in trained]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                trained,
                [weight.grad.contiguous() for weight in trained],  # the kernel walks through memory, not by strides
                *([state[name] for state in states] for name in MOMENTS),
                [],
                steps,
                lr=group["lr"],
                beta1=0.9,
                beta2=0.999,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

    def states(self) -> list[dict[str, torch.Tensor]]:
        """The Adam state of each weight, in order."""
        return [self.state[weight] for weight in self.weights()]

    def state_dict(self) -> list[dict[str, torch.Tensor]]:
        """The moments and steps of all weights, in order; not copied."""
        return [dict(state) for state in self.states()]

    @torch.no_grad()
    def load_state_dict(self, states: list[dict[str, torch.Tensor]]) -> None:
        """Go on from ``states``. Raises ValueError when they are of other weights."""
        is_ours = isinstance(states, list)
        shapes = [[state["exp_avg"].shape for state in of_one] for of_one in (self.states(), states) if is_ours]
        if not is_ours or shapes[0] != shapes[1]:
            raise ValueError("this optimiser was saved for other weights, or by another version: move the run away")
        for state, saved in zip(self.states(), states, strict=True):
            for name, tensor in saved.items():
                state[name].copy_(tensor)


def start_moments(optimiser: torch.optim.Optimizer) -> None:
    """Make the moments and step counts of torch's own Adam now, at zero, so that a saved state can be loaded."""
    for group in optimiser.param_groups:
        for weight in group["params"]:
            optimiser.state[weight] = _zero_moments(weight, CPU)


def _zero_moments(weight, counter):
    # A fused step counts where the weights are, so that nothing waits for the count; torch's other Adam reads it here.
    moments = {name: torch.zeros_like(weight, requires_grad=False) for name in MOMENTS}
    return {"step": torch.zeros((), device=counter)} | moments
