"""The same critic pre-training as :mod:`synthlib.cql.pretraining` in less time: the backward pass by hand."""

from typing import cast

import numpy as np
import torch
from torch import nn

from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.generators.mdp import IndexTransitions, MDPConfig, generate
from synthlib.kernels import mlp
from synthlib.kernels.twins import best, twin_of
from synthlib.machine.devices import CPU


@twin_of(CriticPretraining)
class FastCriticPretraining(CriticPretraining):
    """:class:`~synthlib.cql.pretraining.CriticPretraining` with the same arguments, results and state dict.

    Nothing is recorded for autograd. Each gradient is written where Adam reads it.
    """

    def __init__(
        self,
        config: CriticPretrainingConfig,
        transitions: IndexTransitions | None = None,
        device: torch.device = CPU,
        dtype: torch.dtype = torch.float32,
        tables: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        if transitions is None and isinstance(config.mdp, MDPConfig):
            transitions = best(generate, config.mdp)(config.mdp)
        super().__init__(config, transitions, device, dtype, tables)
        # CriticPretraining has made both networks with a prediction head: it is not None.
        self._layers = [mlp.linear_layers(q.trunk, cast(nn.Module, q.prediction_head)) for q in (self.q1, self.q2)]

    @torch.inference_mode()
    def update(self, states: torch.Tensor, actions: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """The same as :meth:`CriticPretraining.update`."""
        inputs = torch.cat([states, actions], dim=1)
        losses = inputs.new_empty(2)
        for layers, loss in zip(self._layers, losses, strict=True):
            predicted, activations = mlp.forward(layers, inputs)
            mlp.mean_squared_error_(predicted, wanted, loss)
            mlp.backward(layers, activations, predicted)
        self.optimiser.step()
        self.updates += 1
        return losses
