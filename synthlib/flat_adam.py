"""Weights laid end to end in one long tensor, and Adam over it: what the trainings with gradients by hand step with.

One long tensor makes one kernel call of a step over a whole network. The kernel is torch's own, without what
``torch.optim`` does around it: that costs a twentieth of a critic's update, and a second of a process's start, in
which it loads a compiler that nothing here uses.
"""

import torch
from torch import nn

from synthlib.devices import CPU

BETAS, EPS = (0.9, 0.999), 1e-8


def flatten(weights):
    """Move ``weights`` into one contiguous parameter and return it; each weight and its ``grad`` become views of it.

    One Adam step over it then moves them all. Gradients start at zero and are to be written, or accumulated, in place.
    """
    flat = nn.Parameter(torch.cat([weight.detach().reshape(-1) for weight in weights]))
    flat.grad = torch.zeros_like(flat)
    for weight, value, gradient in zip(weights, views(flat.data, weights), views(flat.grad, weights), strict=True):
        weight.data, weight.grad = value, gradient
    return flat


def views(flat, weights):
    """Views of the 1-D tensor ``flat``, one after the other, in the shapes of ``weights``."""
    pieces = flat.split([weight.numel() for weight in weights])
    return [piece.view_as(weight) for piece, weight in zip(pieces, weights, strict=True)]


class FlatAdam:
    """Adam, with the defaults of ``torch.optim.Adam(fused=True)`` and its numbers bit for bit.

    ``rates`` is {weight with ``grad``: learning rate}; ``state`` {weight: {"step", "exp_avg", "exp_avg_sq"}}, at zero.
    """

    def __init__(self, rates):
        self.rates = rates
        self.state = {weight: _zero_moments(weight, fused=True) for weight in rates}

    @torch.no_grad()
    def step(self):
        for weight, rate in self.rates.items():
            state = self.state[weight]
            state["step"] += 1
            torch._fused_adam_(
                [weight],
                [weight.grad],
                [state["exp_avg"]],
                [state["exp_avg_sq"]],
                [],
                [state["step"]],
                lr=rate,
                beta1=BETAS[0],
                beta2=BETAS[1],
                weight_decay=0.0,
                eps=EPS,
                amsgrad=False,
                maximize=False,
            )


def start_moments(optimiser):
    """Make the moments and step counts of torch's Adam now, at zero, not at its first step: they can then be loaded.

    Those that are there already stay.
    """
    for group in optimiser.param_groups:
        for weight in group["params"]:
            if not optimiser.state[weight]:
                optimiser.state[weight] = _zero_moments(weight, group["fused"])


def _zero_moments(weight, fused):
    # A fused step counts where the weights are, so that nothing waits for the count; others read it here.
    moments = {name: torch.zeros_like(weight, requires_grad=False) for name in ("exp_avg", "exp_avg_sq")}
    return {"step": torch.zeros((), device=weight.device if fused else CPU)} | moments
