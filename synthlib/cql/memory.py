"""The memory of a GPU that CQL's trainings take, from the shapes of their tensors (:mod:`synthlib.kernels.memory`)."""

from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.column import Column, Member
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig, config_of
from synthlib.cql.pretraining_column import Column as PretrainingColumn
from synthlib.generators.mdp import MDPConfig, generate
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
    """Of one of a column of "critic_pretraining" jobs, with its data."""
    return critics(config_of(job.config))


def critics(config: CriticPretrainingConfig) -> Footprint:
    """Of one pre-training of a column, with its data."""
    kind = config.mdp.kind if isinstance(config.mdp, MDPConfig) else "iid"
    few = MDPConfig(kind=kind, states=1, trajectories=1, length=1)
    return _critics(replace(config, mdp=few, seed=0))._replace(data=_data_of(config))


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


def pretraining_column_of(count: int, config: CriticPretrainingConfig, device: torch.device) -> PretrainingColumn:
    """A column of ``count`` pre-trainings on equal data on ``device``."""
    assert isinstance(config.mdp, MDPConfig)
    data, kind = best(generate, config.mdp)(config.mdp), best(CriticPretraining, config)
    return PretrainingColumn([kind(replace(config, seed=seed), data, device) for seed in range(count)])


@lru_cache
def _critics(config: CriticPretrainingConfig) -> Footprint:
    one = CriticPretraining(config, device=META)
    weights = sum(weight.numel() for q in (one.q1, one.q2) for weight in q.parameters())
    found = footprint(weights, 0, lambda count: pretraining_column_of(count, config, META).update)
    heads = 2 * 8 * (config.hidden[-1] + 1)  # the Q heads are not trained, so they have no moments
    return found._replace(moments=found.moments - heads, update=found.update + heads)


def _data_of(config: CriticPretrainingConfig) -> int:
    """Bytes of the transitions, three or four int32 each, and of the float32 tables of vectors."""
    data, targets = config.mdp, 1
    if isinstance(data, MDPConfig):
        rows, copies = data.trajectories * data.length, 2 if data.kind == "mapping" else 1
        states, actions = copies * data.states, copies * data.actions
        targets = 2 if data.kind in ("identity", "mapping") else 1
    else:  # at most: each transition may have vectors of its own
        rows, states, actions = data.size, 2 * data.size, data.size
    return 4 * (rows * (2 + targets) + states * config.observation_width + actions * config.action_width)
