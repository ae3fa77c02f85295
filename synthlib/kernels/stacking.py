"""Several runs that differ only in their seed as one computation: what ``STACKED=1`` of the Makefile trains with.

These networks are small: an operation of one update is over in microseconds, and a GPU mostly waits for the next
operation. Here the weights of all runs lie in one tensor per layer, with an axis for the run, and one pass, written for
a single run, is mapped over that axis by ``torch.func``: the same operations, as batched matrix products.

A run stays what it is. Its weights and Adam moments become views of the stacked tensors, so that it evaluates itself
and saves its own checkpoint as if it had been trained alone. A run trained alone goes on from the checkpoint of a
stacked run, and the reverse. On a processor this is slower than one run after the other.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from synthlib.kernels.adam import FusedAdam

Tree = TypeVar("Tree")


def mapped(module: nn.Module, weights: Mapping[str, torch.Tensor], arguments: tuple[Any, ...]) -> Any:
    """``module(*arguments)`` with ``weights``, for every place of the leading axis of all tensors among them."""
    places = tree_map(lambda leaf: 0 if isinstance(leaf, torch.Tensor) else None, (weights, arguments))
    return vmap(lambda own, given: functional_call(module, own, given), in_dims=places)(weights, arguments)


def stack_weights(names: Iterable[str], weights: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, nn.Parameter]:
    """{name: leaf (G, ...)}, from the weights of G runs, {name: weight} each, which become views."""
    stacked = {}
    for name in names:
        alike = [of_one[name] for of_one in weights]
        together = torch.stack([weight.detach() for weight in alike])
        for weight, view in zip(alike, together, strict=True):
            weight.data = view
        stacked[name] = nn.Parameter(together, requires_grad=alike[0].requires_grad)
    return stacked


def leaves_of(
    named_weights: Iterable[tuple[str, nn.Parameter]], stacked: Mapping[str, nn.Parameter]
) -> dict[nn.Parameter, nn.Parameter]:
    """{weight: stacked leaf of its name}."""
    return {weight: stacked[name] for name, weight in named_weights}


def stacked_optimiser(
    param_groups: Sequence[Mapping[str, Any]],
    leaves: Mapping[Hashable, nn.Parameter],
    states: Mapping[Hashable, Sequence[dict[str, torch.Tensor]]],
) -> FusedAdam:
    """One optimiser for stacked leaves.

    ``param_groups`` are the groups of one run's optimiser, with weights or names of weights as ``params``. For each of
    these, ``leaves`` has the stacked leaf and ``states`` the Adam states in all runs.
    """
    together = FusedAdam([group | {"params": [leaves[one] for one in group["params"]]} for group in param_groups])
    for group in param_groups:
        for one in group["params"]:
            together.state[leaves[one]] = _stack_moments(states[one])
    return together


def _stack_moments(states):
    """The Adam state of a stacked leaf; ``states`` become views of it and count with it."""
    # A step count of its own: those of FastCQL's weights are one tensor, which each leaf would count up.
    together = {"step": states[0]["step"].clone()}
    for name in ("exp_avg", "exp_avg_sq"):
        together[name] = torch.stack([state[name] for state in states])
        for state, view in zip(states, together[name], strict=True):
            state.update({name: view, "step": together["step"]})
    return together


def stack_trees(trees: Sequence[Tree]) -> Tree:
    """One tree of several trees with the same structure (tuples, named tuples, dicts), their tensors stacked."""
    return tree_map(lambda *leaves: torch.stack(leaves) if isinstance(leaves[0], torch.Tensor) else leaves[0], *trees)
