"""Several runs that differ only in their seed as one computation: what ``STACKED=1`` of the Makefile trains with.

These networks are small: an operation of one update is over in microseconds, and a GPU mostly waits for the next one to
be asked for. Here the weights of all runs lie in one tensor per layer, with an axis for the run, and
one pass, written for a single run, is mapped over that axis by ``torch.func``: same operations, as batched products.

A run stays what it is. Its weights and Adam moments become views of the stacked tensors, so that it evaluates itself
and saves its own checkpoint as if it had been trained alone, and either way goes on from the other's checkpoint.
On a processor this is slower than one run after the other.
"""

import copy

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from synthlib.cql.agent import CQL, NETWORKS
from synthlib.dt.finetuning import Update, dt_loss, learning_rate, model_inputs
from synthlib.kernels.adam import FusedAdam


class StackedDT:
    """:class:`~synthlib.dt.finetuning.DTTraining` s that have made equally many updates with the same configuration."""

    def __init__(self, trainings):
        first = trainings[0]
        self.trainings, self.config = trainings, first.config
        self._loss = _DTLoss(copy.deepcopy(first.model), first.config, first.fast)
        names = [name for name, _ in first.model.named_parameters()]
        self._weights = _stack_weights(names, [dict(training.model.named_parameters()) for training in trainings])
        self._optimisers = []
        for place, (_, steps) in enumerate(first.optimisers):
            alike = [training.optimisers[place][0] for training in trainings]
            states = dict(zip(alike[0].weights(), zip(*map(FusedAdam.states, alike), strict=True), strict=True))
            leaves = _leaves(first.model.named_parameters(), self._weights)
            self._optimisers.append((_stacked_optimiser(alike[0].param_groups, leaves, states), steps))
        terms = [training.cluster_term for training in trainings]
        self._cluster_terms = None if terms[0] is None else _stack_trees(terms)

    def update(self, batches, generators):
        """One update of each run, with its batch and generator; a list of :class:`~synthlib.dt.finetuning.Update`."""
        models = (training.model for training in self.trainings)
        drawn = [model_inputs(*of_one) for of_one in zip(models, batches, generators, strict=True)]
        inputs, dropouts = (_stack_trees(part) for part in zip(*drawn, strict=True))
        updates = self.trainings[0].updates
        arguments = (updates, inputs, dropouts, self._cluster_terms)
        loss, error = _mapped(self._loss, {f"model.{name}": leaf for name, leaf in self._weights.items()}, arguments)
        for leaf in self._weights.values():
            leaf.grad = None
        loss.sum().backward()
        norms = self._clip()
        for optimiser, steps in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(self.config, updates)
            for _ in range(steps):
                optimiser.step()
        for training in self.trainings:
            training.updates += 1
        return [Update(*of_one) for of_one in zip(loss.detach(), error.detach(), norms, strict=True)]

    def _clip(self):
        """Clip the gradients of each run by its own norm; all norms (G,)."""
        gradients = [leaf.grad for leaf in self._weights.values() if leaf.grad is not None]
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        factors = (self.config.gradient_clip / (norms + 1e-6)).clamp(max=1.0)  # as clip_grad_norm_ has it
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))
        return norms


class StackedCQL:
    """:class:`~synthlib.cql.agent.CQL` agents with the same configuration that have made equally many updates.

    Their own ``update`` must not be called any more.
    """

    def __init__(self, agents):
        first = agents[0]
        self.agents, self.config = agents, first.config
        own = first.log_alpha.dtype, first.log_alpha.device
        widths = first.observation_width, first.action_width
        template = CQL(*widths, first.config, q_max=first.q_max, seed=0, dtype=own[0], device=own[1])
        self._objectives = _CQLObjectives(template)
        self._weights = _stack_weights(first.weights(), [agent.weights() for agent in agents])
        names = {weight: name for name, weight in template.weights().items()}
        groups = [
            {"params": [names[weight] for weight in group["params"]], "lr": group["lr"]}
            for group in template.optimiser.param_groups
        ]
        states = {name: [agent.moments[name] for agent in agents] for name in first.moments}
        self.optimiser = _stacked_optimiser(groups, self._weights, states)

    def update(self, batches, noises):
        """One update of each agent, with its batch and noise; a list of what :meth:`CQL.update` returns."""
        arguments = (_stack_trees(batches), _stack_trees(noises))
        objectives, losses = _mapped(self._objectives, self._weights, arguments)
        for objective, group in zip(objectives, self.optimiser.param_groups, strict=True):
            gradients = torch.autograd.grad(objective.sum(), group["params"])
            for leaf, gradient in zip(group["params"], gradients, strict=True):
                leaf.grad = gradient
        self.optimiser.step()
        with torch.no_grad():
            for name, leaf in self._weights.items():
                if name.startswith("target_"):
                    leaf.lerp_(self._weights[name.removeprefix("target_")], self.config.target_rate)
        for agent in self.agents:
            agent.updates += 1
        return [{name: values[place] for name, values in losses.items()} for place in range(len(self.agents))]


class _DTLoss(nn.Module):
    """The loss of one Decision Transformer as a module, so that ``functional_call`` can put weights into it."""

    def __init__(self, model, config, fast):
        super().__init__()
        self.model, self.config, self.fast = model, config, fast

    def forward(self, updates, inputs, dropouts, cluster_term):
        return dt_loss(self.model, self.config, updates, inputs, dropouts, self.fast, cluster_term)


class _CQLObjectives(nn.Module):
    """The objectives of one CQL agent as a module; parameters have the names of ``agent.weights()``."""

    def __init__(self, agent):
        super().__init__()
        self.agent = agent
        for name in NETWORKS:
            setattr(self, name, getattr(agent, name))
        self.log_alpha = nn.Parameter(agent.log_alpha.detach())

    def forward(self, batch, noise):
        self.agent.log_alpha = self.log_alpha
        return self.agent.objectives(batch, noise)


def _mapped(module, weights, arguments):
    """``module(*arguments)`` with ``weights``, for every place of the leading axis of all tensors among them."""
    places = tree_map(lambda leaf: 0 if isinstance(leaf, torch.Tensor) else None, (weights, arguments))
    return vmap(lambda own, given: functional_call(module, own, given), in_dims=places)(weights, arguments)


def _stack_weights(names, weights):
    """{name: leaf (G, ...)} of G dicts of weights, which become views of the leaves."""
    stacked = {}
    for name in names:
        alike = [of_one[name] for of_one in weights]
        together = torch.stack([weight.detach() for weight in alike])
        for weight, view in zip(alike, together, strict=True):
            weight.data = view
        stacked[name] = nn.Parameter(together, requires_grad=alike[0].requires_grad)
    return stacked


def _leaves(named_weights, stacked):
    """{weight: stacked leaf of its name}."""
    return {weight: stacked[name] for name, weight in named_weights}


def _stacked_optimiser(param_groups, leaves, states):
    """One optimiser for stacked leaves.

    ``param_groups`` are those of one run, of its weights or their names; ``leaves`` has the leaf of each of these,
    ``states`` its Adam states in all runs.
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


def _stack_trees(trees):
    """One tree of many alike, their tensors stacked."""
    return tree_map(lambda *leaves: torch.stack(leaves) if isinstance(leaves[0], torch.Tensor) else leaves[0], *trees)
