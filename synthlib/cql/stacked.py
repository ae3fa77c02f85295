"""CQL agents whose networks have the same shapes, updated as one computation (:mod:`synthlib.kernels.stacking`)."""

from collections.abc import Sequence

import torch
from torch import nn

from synthlib.cql.agent import CQL, NETWORKS
from synthlib.cql.batches import Batch, Noise
from synthlib.kernels.stacking import mapped, stack_trees, stack_weights, stacked_optimiser


class StackedCQL:
    """Several :class:`~synthlib.cql.agent.CQL` agents with the same configuration and the same number of updates.

    Seeds, initial critics and caps of safe-Q may differ. Their own ``update`` must not be called any more. ``state``
    are the tensors that an update changes in place.
    """

    def __init__(self, agents: Sequence[CQL]) -> None:
        first = agents[0]
        self.agents, self.config = agents, first.config
        own = first.log_alpha.dtype, first.log_alpha.device
        widths = first.observation_width, first.action_width
        template = CQL(*widths, first.config, q_max=first.q_max, seed=0, dtype=own[0], device=own[1])
        self._objectives = _CQLObjectives(template)
        self._q_max = torch.tensor([agent.q_max for agent in agents], dtype=own[0], device=own[1])
        self._weights = stack_weights(first.weights(), [agent.weights() for agent in agents])
        names = {weight: name for name, weight in template.weights().items()}
        groups = [
            {"params": [names[weight] for weight in group["params"]], "lr": group["lr"]}
            for group in template.optimiser.param_groups
        ]
        states = {name: [agent.moments[name] for agent in agents] for name in first.moments}
        self.optimiser = stacked_optimiser(groups, self._weights, states)
        moments = [tensor for adam in self.optimiser.states() for tensor in adam.values()]
        self.state: list[torch.Tensor] = [*self._weights.values(), *moments]

    def update(self, batches: Sequence[Batch], noises: Sequence[Noise]) -> list[dict[str, torch.Tensor]]:
        """One update of each agent with its own batch and noise; returns each agent's losses (:meth:`CQL.update`)."""
        losses = self.update_stacked(stack_trees(batches), stack_trees(noises))
        for agent in self.agents:
            agent.updates += 1
        return [{name: values[place] for name, values in losses.items()} for place in range(len(self.agents))]

    def update_stacked(self, batch: Batch, noise: Noise) -> dict[str, torch.Tensor]:
        """One update of all G agents, whose inputs have a leading axis G; returns each loss as a tensor (G,).

        Nothing waits for the device, and the agents do not count the update.
        """
        objectives, losses = self._objectives_of(batch, noise)
        for objective, group in zip(objectives, self.optimiser.param_groups, strict=True):
            gradients = torch.autograd.grad(objective.sum(), group["params"])
            for leaf, gradient in zip(group["params"], gradients, strict=True):
                leaf.grad = gradient
        self.optimiser.step()
        with torch.no_grad():
            for name, leaf in self._weights.items():
                if name.startswith("target_"):
                    leaf.lerp_(self._weights[name.removeprefix("target_")], self.config.target_rate)
        return losses

    @torch.no_grad()
    def losses(self, batch: Batch, noise: Noise) -> dict[str, torch.Tensor]:
        """The losses that :meth:`update_stacked` would return; nothing changes."""
        return self._objectives_of(batch, noise)[1]

    def _objectives_of(self, batch: Batch, noise: Noise) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        return mapped(self._objectives, self._weights, (batch, noise, self._q_max))


class _CQLObjectives(nn.Module):
    """The objectives of one CQL agent as a module, whose parameters have the names of ``agent.weights()``."""

    def __init__(self, agent: CQL) -> None:
        super().__init__()
        self.agent = agent
        for name in NETWORKS:
            setattr(self, name, getattr(agent, name))
        self.log_alpha = nn.Parameter(agent.log_alpha.detach())

    def forward(self, batch, noise, q_max):
        self.agent.log_alpha, self.agent.q_max = self.log_alpha, q_max
        return self.agent.objectives(batch, noise)
