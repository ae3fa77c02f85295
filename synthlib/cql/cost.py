"""How long CQL's trainings take on this machine: one update and one environment step, measured once for each size."""

import numpy as np
import torch

from synthlib.cql.agent import CQLConfig, Noise, draw_noise
from synthlib.cql.agent_fast import FastCQL
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.generators.mdp import MDPConfig
from synthlib.machine.devices import chosen, put
from synthlib.machine.speed import measured, median_seconds, seconds_per_step
from synthlib.offline.datasets import Transitions
from synthlib.offline.evaluation import Evaluator
from synthlib.offline.finetuning import evaluation_steps
from synthlib.runs.job import Job
from synthlib.tasks import DIMENSIONS, environment_of

_STEPS = 150


def pretraining_seconds(job: Job) -> float:
    """Expected seconds of a "critic_pretraining" job."""
    widths = job.config["observation_width"], job.config["action_width"]
    return job.updates * measured(f"critic_pretraining-{widths}", lambda: _pretraining_update(*widths))


def finetuning_seconds(job: Job) -> float:
    """Expected seconds of a "cql" job, its evaluations included."""
    environment = environment_of(job.config["dataset"]["name"])
    widths, sampled = DIMENSIONS[environment], job.config["cql"]["sampled_actions"]
    update = measured(f"cql-{widths}-{sampled}", lambda: _update(*widths, sampled))
    step = measured(f"step-{environment}", lambda: _environment_step(environment))
    return job.updates * update + evaluation_steps(job) * step


def _update(observation_width: int, action_width: int, sampled_actions: int) -> float:
    config = CQLConfig(sampled_actions=sampled_actions)
    agent = FastCQL(observation_width, action_width, config, q_max=1000.0, seed=0, device=chosen())
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 256, observation_width, generator=generator)
    actions = torch.rand(256, action_width, generator=generator) * 2 - 1
    columns = (states[0], actions, torch.ones(256), states[1], torch.zeros(256))
    batch = Transitions(*put(chosen(), *columns))
    noise = Noise(*put(chosen(), *draw_noise(generator, 256, action_width, sampled_actions)))
    return median_seconds(lambda: agent.update(batch, noise))


def _pretraining_update(observation_width: int, action_width: int) -> float:
    mdp = MDPConfig(states=10, trajectories=1)
    training = CriticPretraining(CriticPretrainingConfig(observation_width, action_width, mdp), device=chosen())
    return median_seconds(lambda: training.run(training.updates + 10)) / 10


def _environment_step(environment: str) -> float:
    evaluator = Evaluator(environment, episodes=1, max_steps=_STEPS)
    action = np.zeros((1, DIMENSIONS[environment][1]), dtype=np.float32)
    return seconds_per_step(
        lambda seed: int(evaluator.evaluate(lambda observations: action, seed=seed).lengths.sum()), _STEPS
    )
