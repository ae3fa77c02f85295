"""Fine-tuning runs of the Decision Transformer as a column (:mod:`synthlib.runs.columns`)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synthlib.dt.column import Column, Member
from synthlib.dt.evaluation import ReturnConditioned
from synthlib.dt.model import DecisionTransformer, DTConfig, LastAction
from synthlib.kernels.twins import best
from synthlib.offline.evaluation import Evaluator
from synthlib.offline.finetuning import evaluated
from synthlib.runs.columns import ColumnOfRuns, Evaluation, weights_of

if TYPE_CHECKING:
    from synthlib.dt.jobs import FineTuning


class DTRuns(ColumnOfRuns):
    """Runs with equal shapes and settings; seeds, data sets and what they were pre-trained on may differ."""

    runs: "Sequence[FineTuning]"

    def column_of(self, runs: "Sequence[FineTuning]") -> Column:
        """As :meth:`ColumnOfRuns.column_of`."""
        return Column([Member(run.training, run.builder, run.config["seed"], run.key) for run in runs])

    def evaluation_of(self, run: "FineTuning") -> Evaluation:
        """As :meth:`ColumnOfRuns.evaluation_of`."""
        model, data = run.training.model, run.data
        conditioned = data.mean, data.std, run.target_return
        arguments = (run.environment, model.config, weights_of(model), conditioned, run.config["seed"], run.updates)
        return Evaluation(evaluate_policy, arguments)


def evaluate_policy(
    environment: tuple[Any, ...],
    config: DTConfig,
    weights: dict[str, np.ndarray],
    conditioned: tuple[np.ndarray, np.ndarray, float],
    seed: int,
    updates: int,
) -> dict[str, Any]:
    """The row of ``evaluations.csv`` of a model with ``weights`` after ``updates`` updates of the run with ``seed``.

    ``environment`` are the arguments of :class:`~synthlib.offline.evaluation.Evaluator`. ``conditioned``: mean and
    standard deviation of the observations, and the target return.
    """
    model = _model(config)
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
    return evaluated_model(model, _evaluator(*environment), conditioned, seed, updates)


def evaluated_model(
    model: DecisionTransformer,
    evaluator: Evaluator,
    conditioned: tuple[np.ndarray, np.ndarray, float],
    seed: int,
    updates: int,
) -> dict[str, Any]:
    """The row of ``evaluations.csv`` of ``model``; the other arguments are as in :func:`evaluate_policy`."""
    policy = policy_of(model, conditioned)
    return evaluated(seed, updates, lambda seed: evaluator.play(policy, seed))


def policy_of(model: DecisionTransformer, conditioned: tuple[np.ndarray, np.ndarray, float]) -> ReturnConditioned:
    """What ``model`` does in a rollout; ``conditioned`` as in :func:`evaluate_policy`."""
    return ReturnConditioned(best(LastAction, model.config)(model), model.config, *conditioned)


@lru_cache(maxsize=4)
def _model(config: DTConfig) -> DecisionTransformer:
    return DecisionTransformer(config, seed=0)


_evaluator = lru_cache(maxsize=4)(Evaluator)  # a process that evaluates meets the robots of a column in turns
