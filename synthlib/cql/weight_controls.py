"""Controls for what pre-training did to the critics: they keep the size of its weights and destroy what it learnt.

permuted      every entry of a pre-trained layer at another place of that layer: all values stay, their order goes
norms_only    new random weights, uniform as PyTorch's initial ones, scaled to the norm of each pre-trained layer

If critics made like this train as well as the pre-trained critics, the scale of the weights explains the effect. If
they train like critics without pre-training, the features do.
"""

from dataclasses import dataclass

import numpy as np
import torch

KINDS = ("permuted", "norms_only")


@dataclass(frozen=True)
class WeightControl:
    """Which control, and the seed of its draws. Raises ValueError for a kind or a seed out of range."""

    kind: str
    seed: int = 0
    """Of the draws, together with the seed of the run: every run of an arm has a permutation or weights of its own."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"critic_weights: unknown kind {self.kind!r}; choose one of {', '.join(KINDS)}")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise ValueError(f"critic_weights: seed must be an integer from 0, not {self.seed!r}")


def changed(
    critics: dict[str, dict[str, torch.Tensor]], control: WeightControl, run_seed: int
) -> dict[str, dict[str, torch.Tensor]]:
    """``critics`` (:meth:`~synthlib.cql.pretraining.CriticPretraining.critics`) with other weights in the trunk.

    Each weight matrix and each bias vector is changed by itself. The heads stay as they are: pre-training does not
    train the Q head, and CQL does not read the prediction head. The same arguments give the same weights.
    """
    state = np.random.SeedSequence([control.seed, run_seed]).generate_state(1)[0]
    generator = torch.Generator().manual_seed(int(state))
    change = _permuted if control.kind == "permuted" else _of_equal_norm
    return {
        critic: {
            name: change(weight, generator) if name.startswith("trunk.") else weight for name, weight in weights.items()
        }
        for critic, weights in critics.items()
    }


def _permuted(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return weight.flatten()[torch.randperm(weight.numel(), generator=generator)].reshape(weight.shape)


def _of_equal_norm(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    drawn = torch.rand(weight.shape, generator=generator, dtype=weight.dtype) * 2 - 1
    return drawn * (weight.norm() / drawn.norm())
