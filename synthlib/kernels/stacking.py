"""Several runs that differ only in their seed, trained as one computation (``STACKED=1`` of the Makefile).

The networks are small: one operation of an update takes microseconds, and a GPU mostly waits for the next operation.
Here one tensor per layer holds the weights of all runs, with a leading axis for the run. The forward pass is written
for a single run, and ``torch.func`` maps it over this axis: the same operations, as batched matrix products.

Each run keeps its own object. Its weights and Adam moments become views of the stacked tensors, so that it evaluates
itself and saves its own checkpoint as if it had been trained alone. A run trained alone can go on from the checkpoint
of a stacked run, and a stacked run from the checkpoint of a run trained alone. On a processor, stacking is slower than
training one run after the other.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from synthlib.kernels.adam import FusedAdam

Tree = TypeVar("Tree")
Key = TypeVar("Key", bound=Hashable)  # a weight of one run, or its name


def mapped(module: nn.Module, weights: Mapping[str, torch.Tensor], arguments: tuple[Any, ...]) -> Any:
    """``module(*arguments)`` with ``weights``, once for each index of the leading axis of all their tensors."""
    places = tree_map(lambda leaf: 0 if isinstance(leaf, torch.Tensor) else None, (weights, arguments))
    return vmap(lambda own, given: functional_call(module, own, given), in_dims=places)(weights, arguments)


def stack_weights(names: Iterable[str], weights: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, nn.Parameter]:
    """Stack the weights of G runs, {name: weight} each, into {name: parameter (G, ...)}.

    Each weight becomes a view of its parameter.
    """
    stacked = {}
    for name in names:
        alike = [run_weights[name] for run_weights in weights]
        together = torch.stack([weight.detach() for weight in alike])
        for weight, view in zip(alike, together, strict=True):
            weight.data = view
        stacked[name] = nn.Parameter(together, requires_grad=alike[0].requires_grad)
    return stacked


def leaves_of(
    named_weights: Iterable[tuple[str, nn.Parameter]], stacked: Mapping[str, nn.Parameter]
) -> dict[nn.Parameter, nn.Parameter]:
    """{weight: the stacked parameter with its name}."""
    return {weight: stacked[name] for name, weight in named_weights}


def stacked_optimiser(
    param_groups: Sequence[Mapping[str, Any]],
    leaves: Mapping[Key, nn.Parameter],
    states: Mapping[Key, Sequence[dict[str, torch.Tensor]]],
) -> FusedAdam:
    """One optimiser for the stacked parameters ``leaves``.

    ``param_groups`` are the groups of one run's optimiser, with weights or names of weights as ``params``. ``leaves``
    maps each of them to its stacked parameter, and ``states`` to its Adam states, one per run. The Adam states become
    views of the new optimiser's states.
    """
    together = FusedAdam([{**group, "params": [leaves[one] for one in group["params"]]} for group in param_groups])
    for group in param_groups:
        for one in group["params"]:
            together.state[leaves[one]] = _stack_moments(states[one])
    return together


def _stack_moments(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The Adam state of a stacked parameter; the moments of ``states`` become views of it, and share its step count."""
    # The count is copied: FastCQL's weights share one count, and each stacked parameter would increase it. The fused
    # kernel reads it beside the moments; torch's own Adam kept it on the processor.
    together = {"step": states[0]["step"].clone().to(states[0]["exp_avg"].device)}
    for name in ("exp_avg", "exp_avg_sq"):
        together[name] = torch.stack([state[name] for state in states])
        for state, view in zip(states, together[name], strict=True):
            state.update({name: view, "step": together["step"]})
    return together


def stack_trees(trees: Sequence[Tree]) -> Tree:
    """Stack the tensors of several trees with the same structure (tuples, named tuples, dicts) into one tree."""
    return tree_map(lambda *leaves: torch.stack(leaves) if isinstance(leaves[0], torch.Tensor) else leaves[0], *trees)
