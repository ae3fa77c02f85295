"""The memory of a GPU that CQL's trainings take, from the shapes of their tensors (:mod:`synthlib.kernels.memory`)."""

from collections.abc import Callable
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.column import Column, Member
from synthlib.cql.pretraining import CriticPretrainingConfig
from synthlib.cql.pretraining_resident import ResidentCriticPretraining
from synthlib.generators.mdp import MDPConfig
from synthlib.kernels.memory import META, Footprint, footprint
from synthlib.kernels.twins import best
from synthlib.offline.datasets import CQLData
from synthlib.runs.job import Job
from synthlib.tasks import DIMENSIONS, environment_of


def finetuning(job: Job) -> Footprint:
    """Of one run of a column of "cql" jobs; the data set, which the column's runs share, is left out."""
    cql = CQLConfig(**job.config["cql"])
    return agent(DIMENSIONS[environment_of(job.config["dataset"]["name"])], cql, job.config["batch_size"])


def pretraining(job: Job) -> Footprint:
    """Of one "critic_pretraining" job, without its data."""
    widths = job.config["observation_width"], job.config["action_width"]
    return _critics(widths, tuple(job.config["hidden"]))


def column_of(agents: int, widths: tuple[int, int], config: CQLConfig, size: int, device: torch.device) -> Column:
    """A column of ``agents`` agents on made-up data on ``device``."""
    data, kind = made_up_data(*widths), best(CQL, config)
    made = (kind(*widths, config, q_max=data.q_max, seed=seed, device=device) for seed in range(agents))
    return Column([Member(agent, data, key) for key, agent in enumerate(made)], size)


def made_up_data(observation_width: int, action_width: int, rows: int = 1000) -> CQLData:
    """Random transitions of these widths."""
    rng = np.random.default_rng(0)
    dataset = SimpleNamespace(
        observations=rng.standard_normal((rows + 1, observation_width), dtype=np.float32),
        actions=np.tanh(rng.standard_normal((rows + 1, action_width), dtype=np.float32)),
        rewards=rng.standard_normal(rows + 1, dtype=np.float32),
        terminals=np.zeros(rows + 1, dtype=bool),
    )
    return CQLData(cast(Any, dataset), np.arange(rows, dtype=np.int32), 1000.0, np.random.RandomState(0))


@lru_cache
def agent(widths: tuple[int, int], config: CQLConfig, size: int) -> Footprint:
    """Of one agent of a column with minibatches of ``size`` transitions."""
    weights = CQL(*widths, config, q_max=1.0, seed=0, device=META).weights()
    counts = {name: weight.numel() for name, weight in weights.items()}
    targets = sum(count for name, count in counts.items() if name.startswith("target_"))
    return footprint(sum(counts.values()) - targets, targets, lambda n: column_of(n, widths, config, size, META).update)


@lru_cache
def _critics(widths: tuple[int, int], hidden: tuple[int, ...]) -> Footprint:
    config = CriticPretrainingConfig(*widths, MDPConfig(states=10, trajectories=1, length=10), hidden=hidden)
    one = ResidentCriticPretraining(config, device=META)
    critics = (*one.q1.parameters(), *one.q2.parameters())
    return footprint(sum(weight.numel() for weight in critics), 0, partial(_trainings, config))


def _trainings(config: CriticPretrainingConfig, count: int) -> Callable[[], None]:
    """One update of ``count`` pre-trainings, which do not wait for their losses."""
    trainings = [ResidentCriticPretraining(config, device=META) for _ in range(count)]

    def update() -> None:
        for training in trainings:
            training.run(training.updates + 1)

    return update
