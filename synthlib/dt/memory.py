"""The memory of a GPU that the Decision Transformer's trainings take, from the shapes of their tensors.

:mod:`synthlib.kernels.memory` counts.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from synthlib.dt.clusters import ClusterTerm
from synthlib.dt.column import Column, Member
from synthlib.dt.finetuning import DTTraining, DTTrainingConfig
from synthlib.dt.model import DecisionTransformer, DTConfig, predict_actions
from synthlib.dt.pretraining import GPT2Pretraining, GPT2PretrainingConfig, logits
from synthlib.dt.pretraining_column import Column as PretrainingColumn
from synthlib.dt.windows import BatchBuilder, prepare
from synthlib.kernels.memory import META, Footprint, footprint
from synthlib.kernels.twins import best
from synthlib.offline.datasets import Trajectory
from synthlib.runs.job import Job


def finetuning(job: Job) -> Footprint:
    """Of one run of a column of "dt" jobs; the data set, which the column's runs share, is left out."""
    return run(DTConfig(**job.config["model"]), DTTrainingConfig(**job.config["training"]))


def pretraining(job: Job) -> Footprint:
    """Of one of a column of "gpt2_pretraining" jobs."""
    return _gpt2(GPT2PretrainingConfig(**job.config["gpt2"] | {"seed": 0}))


def column_of(runs: int, config: DTConfig, settings: DTTrainingConfig, device: torch.device) -> Column:
    """A column of ``runs`` Decision Transformers with seeds of their own, on made-up data on ``device``."""
    builder = best(BatchBuilder)(made_up_data(config.observation_width, config.action_width), **config.window)
    centres = torch.zeros(2, config.width, device=device)
    term = ClusterTerm(*centres.unbind()) if settings.cluster_weight else None
    predict = best(predict_actions, config)
    models = (DecisionTransformer(config, seed).to(device) for seed in range(runs))
    trainings = [DTTraining(model, settings, predict, term) for model in models]
    return Column([Member(training, builder, seed, key=seed) for seed, training in enumerate(trainings)])


def pretraining_column_of(
    runs: int, config: GPT2PretrainingConfig, batches: Callable[[int], Any], device: torch.device
) -> PretrainingColumn:
    """A column of ``runs`` pre-trainings that read the same ``batches``, on ``device``."""
    trainings = [GPT2Pretraining(config, batches, best(logits, config), device=device) for _ in range(runs)]
    return PretrainingColumn(trainings, range(runs))


def made_up_data(observation_width: int, action_width: int, episodes: int = 2, steps: int = 1000) -> Any:
    """Random trajectories of these widths, prepared for windows."""
    rng = np.random.default_rng(0)
    floats = ((episodes, steps, width) for width in (observation_width, action_width, 1))
    observations, actions, rewards = (rng.standard_normal(shape, dtype=np.float32) for shape in floats)
    ends = np.zeros(steps, dtype=bool)
    parts = zip(observations, np.tanh(actions), rewards[:, :, 0], strict=True)
    return prepare([Trajectory(*episode, ends) for episode in parts])


@lru_cache
def run(config: DTConfig, settings: DTTrainingConfig) -> Footprint:
    """Of one Decision Transformer of a column."""
    weights = sum(weight.numel() for weight in DecisionTransformer(config, seed=0).parameters())
    return footprint(weights, 0, lambda runs: column_of(runs, config, settings, META).update)


@lru_cache
def _gpt2(config: GPT2PretrainingConfig) -> Footprint:
    tokens = np.zeros((config.batch_size, config.sequence_length), dtype=np.int64)
    one = GPT2Pretraining(config, None, best(logits, config), device=META)
    weights = sum(weight.numel() for weight in one.model.parameters())
    return footprint(weights, 0, lambda runs: pretraining_column_of(runs, config, lambda _: tokens, META).update)
