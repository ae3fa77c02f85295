"""Fine-tuning runs of CQL as a :class:`~synthlib.cql.column.Column`, and their evaluations beside it."""

from collections.abc import Sequence
from concurrent.futures import Future
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synthlib.cql.column import Column, Member
from synthlib.cql.networks import TanhGaussianPolicy, copy_weights
from synthlib.machine.beside import Helpers
from synthlib.offline.evaluation import Evaluator
from synthlib.offline.finetuning import evaluated
from synthlib.runs.groups import Group, naming, refuse_unequal

if TYPE_CHECKING:
    from synthlib.cql.jobs import FineTuning

NOISE = "Philox-4x32-10, keyed by run and update, on the device"
"""Where the noise of these runs comes from, for their record."""


class ColumnOfRuns(Group):
    """Runs with equal shapes and settings; seeds, arms and data sets may differ."""

    evaluates_beside = True
    runs: "Sequence[FineTuning]"

    def __init__(self, runs: "Sequence[FineTuning]") -> None:
        refuse_unequal(runs)
        super().__init__(runs)
        _share_data(runs)
        self._column = Column([Member(run.agent, run.data, run.key) for run in runs], runs[0].config["batch_size"])
        self._helpers = Helpers()
        self._settled = runs[0].updates
        self._playing: list[Future[dict[str, Any]]] = []

    def update(self) -> None:
        """One update of every run. Nothing waits for the device."""
        self._column.update()

    def settle(self) -> None:
        """As :meth:`Group.settle`; waits for the device."""
        count = self._column.updates - self._settled
        if not count:
            return
        sums, last = self._column.settle()
        self._settled = self._column.updates
        for place, run in enumerate(self.runs):
            own = {name: torch.tensor(values[place]) for name, values in sums.items()}
            with naming(run, self.runs):
                run.add(count, own, float(last[place]))

    def evaluate(self) -> None:
        """Copy every policy and have it evaluated by other processes. An evaluation before must have ended: waits."""
        self.collect()
        self._playing = [self._helpers.call(evaluate_policy, *_policy_of(run)) for run in self.runs]

    def collect(self) -> None:
        """As :meth:`Group.collect`. Raises FloatingPointError when a policy answers NaN."""
        for run, row in zip(self.runs, self._playing, strict=bool(self._playing)):
            run.evaluations.append(row.result())
        self._playing = []

    def close(self) -> None:
        """End the processes that evaluate."""
        self._helpers.close()


def evaluate_policy(
    environment: tuple[str, int, str], widths: Sequence[int], weights: dict[str, np.ndarray], seed: int, updates: int
) -> dict[str, Any]:
    """The row of ``evaluations.csv`` of a policy with ``weights`` after ``updates`` updates of the run with ``seed``.

    ``environment``: name, episodes and masses. ``widths``: observation, action and the hidden layers.
    """
    policy = _policy(*widths)
    copy_weights(dict(policy.named_parameters()), {name: torch.from_numpy(w) for name, w in weights.items()}, "policy")
    return evaluated(seed, updates, lambda seed: _evaluator(*environment).evaluate(policy.act, seed))


@lru_cache(maxsize=4)
def _policy(observation_width: int, action_width: int, *hidden: int) -> TanhGaussianPolicy:
    return TanhGaussianPolicy(observation_width, action_width, hidden)


_evaluator = lru_cache(maxsize=4)(Evaluator)  # a process that evaluates meets the robots of a column in turns


def _policy_of(run: "FineTuning") -> tuple[Any, ...]:
    """The arguments of :func:`evaluate_policy` for a run as it is now; the weights are copies."""
    agent, evaluation = run.agent, run.config["evaluation"]
    weights = {name: weight.detach().cpu().numpy().copy() for name, weight in agent.policy.named_parameters()}
    environment = run.evaluator.environment, evaluation["episodes"], run.config["physics"]["masses"]
    widths = agent.observation_width, agent.action_width, *agent.config.hidden
    return environment, widths, weights, run.config["seed"], run.updates


def _share_data(runs: "Sequence[FineTuning]") -> None:
    """Give runs on equal data one object of it: their generators of minibatches are at the same place."""
    shared: dict[tuple[str, float], Any] = {}
    for run in runs:
        run.data = shared.setdefault((run.config["dataset"]["checksum"], run.config["data_ratio"]), run.data)
