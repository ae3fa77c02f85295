"""Fine-tuning runs of CQL as a column (:mod:`synthlib.runs.columns`)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synthlib.cql.column import Column, Member
from synthlib.cql.networks import TanhGaussianPolicy, copy_weights
from synthlib.offline.evaluation import Evaluator
from synthlib.offline.finetuning import evaluated
from synthlib.runs.columns import ColumnOfRuns, Evaluation, weights_of

if TYPE_CHECKING:
    from synthlib.cql.jobs import FineTuning

NOISE = "Philox-4x32-10, keyed by run and update, on the device"
"""Where the noise of these runs comes from, for their record."""


class CQLRuns(ColumnOfRuns):
    """Runs with equal shapes and settings; seeds, arms and data sets may differ."""

    runs: "Sequence[FineTuning]"

    def column_of(self, runs: "Sequence[FineTuning]") -> Column:
        """As :meth:`ColumnOfRuns.column_of`."""
        _share_data(runs)
        return Column([Member(run.agent, run.data, run.key) for run in runs], runs[0].config["batch_size"])

    def evaluation_of(self, run: "FineTuning") -> Evaluation:
        """As :meth:`ColumnOfRuns.evaluation_of`."""
        agent, evaluation = run.agent, run.config["evaluation"]
        masses, evaluator = run.config["physics"]["masses"], run.evaluator
        environment = (evaluator.environment, evaluation["episodes"], masses, evaluator.max_steps, evaluator.reference)
        widths = agent.observation_width, agent.action_width, *agent.config.hidden
        weights = weights_of(agent.policy)
        return Evaluation(evaluate_policy, (environment, widths, weights, run.config["seed"], run.updates))


def evaluate_policy(
    environment: tuple[Any, ...], widths: Sequence[int], weights: dict[str, np.ndarray], seed: int, updates: int
) -> dict[str, Any]:
    """The row of ``evaluations.csv`` of a policy with ``weights`` after ``updates`` updates of the run with ``seed``.

    ``environment`` are the arguments of :class:`~synthlib.offline.evaluation.Evaluator`. ``widths``: observation,
    action and the hidden layers.
    """
    policy = _policy(*widths)
    copy_weights(dict(policy.named_parameters()), {name: torch.from_numpy(w) for name, w in weights.items()}, "policy")
    return evaluated(seed, updates, lambda seed: _evaluator(*environment).evaluate(policy.act, seed))


@lru_cache(maxsize=4)
def _policy(observation_width: int, action_width: int, *hidden: int) -> TanhGaussianPolicy:
    return TanhGaussianPolicy(observation_width, action_width, hidden)


_evaluator = lru_cache(maxsize=4)(Evaluator)  # a process that evaluates meets the robots of a column in turns


def _share_data(runs: "Sequence[FineTuning]") -> None:
    """Give runs on equal data one object of it: their generators of minibatches are at the same place."""
    shared: dict[tuple[str, float], Any] = {}
    for run in runs:
        run.data = shared.setdefault((run.config["dataset"]["checksum"], run.config["data_ratio"]), run.data)
