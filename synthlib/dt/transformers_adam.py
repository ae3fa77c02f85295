"""AdamW as in the Transformers library up to version 4, with which the authors pre-trained GPT-2 (faithfulness 2)."""

import math
from collections.abc import Iterable
from typing import Any

import torch


class TransformersAdamW(torch.optim.Optimizer):
    """AdamW as in the Transformers library up to version 4. It differs from PyTorch's AdamW in two points.

    ``eps`` is added to the square root of the *uncorrected* second moment, and the decay multiplies the weights after
    the step, not before it. Here the decay acts on every parameter, also on biases and layer norms.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Make one step from the gradients; ``closure`` is ignored."""
        for group in self.param_groups:
            (beta_1, beta_2), rate = group["betas"], group["lr"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state.update(step=0, first=torch.zeros_like(parameter), second=torch.zeros_like(parameter))
                state["step"] += 1
                correction = bias_correction(state["step"], beta_1, beta_2)
                first, second = state["first"], state["second"]
                first.lerp_(parameter.grad, 1 - beta_1)
                second.mul_(beta_2).addcmul_(parameter.grad, parameter.grad, value=1 - beta_2)
                parameter.addcdiv_(first, second.sqrt().add_(group["eps"]), value=-rate * correction)
                parameter.mul_(1 - rate * group["weight_decay"])


def bias_correction(step: int, beta_1: float = 0.9, beta_2: float = 0.999) -> float:
    """The factor of Adam's 1-based ``step`` that makes up for moments which start at zero."""
    return math.sqrt(1 - beta_2**step) / (1 - beta_1**step)
