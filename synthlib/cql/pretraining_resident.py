"""Critic pre-training that stays on its device: for a GPU, where asking for each kernel costs more than computing it.

The same numbers as :mod:`synthlib.cql.pretraining_fast`, up to rounding: data and vectors lie on the device, the rows
of a hundred minibatches are sent at once, and the update is recorded and replayed (:mod:`synthlib.machine.capture`).
"""

from collections.abc import Callable

import numpy as np
import torch

from synthlib.cql import pretraining
from synthlib.cql.pretraining import CriticPretrainingConfig
from synthlib.cql.pretraining_fast import FastCriticPretraining
from synthlib.generators.mdp import IndexTransitions
from synthlib.kernels.adam import MOMENTS
from synthlib.machine.capture import captured
from synthlib.machine.devices import CPU, put


class ResidentCriticPretraining(FastCriticPretraining):
    """:class:`~synthlib.cql.pretraining.CriticPretraining` with the same arguments, results and state dict."""

    def __init__(
        self,
        config: CriticPretrainingConfig,
        transitions: IndexTransitions | None = None,
        device: torch.device = CPU,
        dtype: torch.dtype = torch.float32,
        tables: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        super().__init__(config, transitions, device, dtype, tables)
        wanted = self.targets(np.arange(len(self.transitions.observations)))
        columns = put(device, self.state_table, self.action_table, wanted)
        self._tables = [column.to(dtype) for column in columns]
        self._states, self._actions = put(device, self.transitions.observations, self.transitions.actions)
        self._rows = torch.zeros(pretraining.LOG_EVERY, config.batch_size, dtype=torch.int64, device=device)
        self._place = torch.zeros(1, dtype=torch.int64, device=device)
        adam = self.optimiser.state[self._trained]
        changed = [self._trained, *(adam[name] for name in MOMENTS), adam["step"], self._block, self._place]
        self._run = captured(self._step, changed, device)

    def run(self, until: int, progress: Callable[[int], None] | None = None) -> None:
        """As :meth:`CriticPretraining.run`; waits for the device every LOG_EVERY updates only."""
        if until < self.updates:
            raise ValueError(f"this run has made {self.updates} updates and cannot go back to {until}: start a new one")
        every = pretraining.LOG_EVERY
        while self.updates < until:
            count = min(until - self.updates, every - self.updates % every)
            shape = count, self.config.batch_size
            (rows,) = put(self.device, self.batches.randint(len(self.transitions.observations), size=shape))
            self._rows[:count].copy_(rows)
            self._place.zero_()
            for _ in range(count):
                self._run()
            self.updates += count
            if self.updates % every == 0:
                self._log()
                if progress is not None:
                    progress(self.updates)

    def _step(self) -> None:
        rows = self._rows.index_select(0, self._place).squeeze(0)
        states, actions, wanted = self._tables
        batch = states[self._states[rows]], actions[self._actions[rows]], wanted[rows]
        before = self.updates
        self._block += self.update(*batch)
        self.updates = before  # counted by run, as this may be recorded once and replayed
        self._place += 1
