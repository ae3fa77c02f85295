"""CQL agents that differ only in their seed, updated as one computation (:mod:`synthlib.kernels.stacking`)."""

from collections.abc import Sequence

import torch
from torch import nn

from synthlib.cql.agent import CQL, NETWORKS
from synthlib.cql.batches import Batch, Noise
from synthlib.kernels.stacking import mapped, stack_trees, stack_weights, stacked_optimiser


class StackedCQL:
    """Several :class:`~synthlib.cql.agent.CQL` agents with the same configuration and the same number of updates.

    Their own ``update`` must not be called any more.
    """

    def __init__(self, agents: Sequence[CQL]) -> None:
        first = agents[0]
        self.agents, self.config = agents, first.config
        own = first.log_alpha.dtype, first.log_alpha.device
        widths = first.observation_width, first.action_width
        template = CQL(*widths, first.config, q_max=first.q_max, seed=0, dtype=own[0], device=own[1])
        self._objectives = _CQLObjectives(template)
        self._weights = stack_weights(first.weights(), [agent.weights() for agent in agents])
        names = {weight: name for name, weight in template.weights().items()}
        groups = [
            {"params": [names[weight] for weight in group["params"]], "lr": group["lr"]}
            for group in template.optimiser.param_groups
        ]
        states = {name: [agent.moments[name] for agent in agents] for name in first.moments}
        self.optimiser = stacked_optimiser(groups, self._weights, states)

    def update(self, batches: Sequence[Batch], noises: Sequence[Noise]) -> list[dict[str, torch.Tensor]]:
        """One update of each agent with its own batch and noise; returns each agent's losses (:meth:`CQL.update`)."""
        arguments = (stack_trees(batches), stack_trees(noises))
        objectives, losses = mapped(self._objectives, self._weights, arguments)
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


class _CQLObjectives(nn.Module):
    """The objectives of one CQL agent as a module, whose parameters have the names of ``agent.weights()``."""

    def __init__(self, agent: CQL) -> None:
        super().__init__()
        self.agent = agent
        for name in NETWORKS:
            setattr(self, name, getattr(agent, name))
        self.log_alpha = nn.Parameter(agent.log_alpha.detach())

    def forward(self, batch, noise):
        self.agent.log_alpha = self.log_alpha
        return self.agent.objectives(batch, noise)
