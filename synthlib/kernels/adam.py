"""Adam by torch's fused kernel alone, and a network's weights flattened into one tensor for this kernel.

The code that ``torch.optim`` runs around the kernel costs a twentieth of a critic's update. It also costs a second of a
process's start, because it loads a compiler that nothing here uses. With one flattened tensor, one call of the kernel
updates a whole network.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from synthlib.machine.devices import CPU

MOMENTS = ("exp_avg", "exp_avg_sq")


def flatten(weights: Sequence[torch.Tensor]) -> nn.Parameter:
    """Move ``weights`` into one contiguous parameter and return it; each weight and its ``grad`` become views of it.

    One Adam step over the parameter then updates all weights. The gradients start at zero. They must be written or
    accumulated in place.
    """
    flat = nn.Parameter(torch.cat([weight.detach().reshape(-1) for weight in weights]))
    flat.grad = torch.zeros_like(flat)
    for weight, value, gradient in zip(weights, views(flat.data, weights), views(flat.grad, weights), strict=True):
        weight.data, weight.grad = value, gradient
    return flat


def views(flat: torch.Tensor, weights: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Consecutive pieces of the 1-D tensor ``flat``, as views in the shapes of ``weights``."""
    pieces = flat.split([weight.numel() for weight in weights])
    return [piece.view_as(weight) for piece, weight in zip(pieces, weights, strict=True)]


class FusedAdam:
    """AdamW, bit for bit as torch's AdamW with ``fused=True``; without weight decay it is Adam.

    ``param_groups`` are dicts with the keys ``params`` (contiguous weights), ``lr`` (the learning rate, which may be
    changed between steps) and optionally ``weight_decay`` (default 0) and ``eps`` (default 1e-8). ``state`` is {weight:
    {"step", "exp_avg", "exp_avg_sq"}} and starts at zero.
    """

    def __init__(self, param_groups: Sequence[Mapping[str, Any]]) -> None:
        defaults = {"weight_decay": 0.0, "eps": 1e-8}
        self.param_groups: list[dict[str, Any]] = [{**defaults, **group} for group in param_groups]
        self.state = {weight: _zero_moments(weight, weight.device) for weight in self.weights()}

    def weights(self) -> list[nn.Parameter]:
        """All weights, in order."""
        return [weight for group in self.param_groups for weight in group["params"]]

    @torch.inference_mode()
    def step(self) -> None:
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            trained = [weight for weight in group["params"] if weight.grad is not None]
            states = [self.state[weight] for weight in trained]
            first_moments, second_moments = ([state[name] for state in states] for name in MOMENTS)
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                trained,
                [weight.grad.contiguous() for weight in trained],  # the kernel ignores strides
                first_moments,
                second_moments,
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
        """The Adam states of all weights, in order; their tensors are not copied."""
        return [dict(state) for state in self.states()]

    @torch.no_grad()
    def load_state_dict(self, states: list[dict[str, torch.Tensor]]) -> None:
        """Copy ``states`` into the states of this optimiser. Raises ValueError when they belong to other weights."""
        if not isinstance(states, list) or _shapes(states) != _shapes(self.states()):
            raise ValueError("this optimiser was saved for other weights, or by another version: move the run away")
        for state, saved in zip(self.states(), states, strict=True):
            for name, tensor in saved.items():
                state[name].copy_(tensor)


def start_moments(optimiser: torch.optim.Optimizer) -> None:
    """Create the moments and step counts of torch's own Adam now, at zero, so that a saved state can be loaded."""
    for group in optimiser.param_groups:
        for weight in group["params"]:
            optimiser.state[weight] = _zero_moments(weight, CPU)


def _shapes(states: list[dict[str, torch.Tensor]]) -> list[torch.Size]:
    return [state["exp_avg"].shape for state in states]


def _zero_moments(weight: torch.Tensor, counter: torch.device) -> dict[str, torch.Tensor]:
    """Adam's state of a weight before the first step; ``counter`` is the device of the step count.

    The fused kernel reads the count on the weight's device, so that nothing waits for it. torch's own Adam reads the
    count on the processor.
    """
    moments = {name: torch.zeros_like(weight, requires_grad=False) for name in MOMENTS}
    return {"step": torch.zeros((), device=counter)} | moments
