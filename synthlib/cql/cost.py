"""How long CQL's trainings take on this machine, from one update and one environment step, measured once per size."""

import numpy as np
import torch

from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.batches import Noise, draw_noise
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.generators.mdp import MDPConfig
from synthlib.kernels.twins import best
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
    return job.updates * update_seconds(job)


def finetuning_seconds(job: Job) -> float:
    """Expected seconds of a "cql" job, its evaluations included."""
    environment = environment_of(job.config["dataset"]["name"])
    step = measured(f"step-{environment}", lambda: _environment_step(environment))
    return job.updates * update_seconds(job) + evaluation_steps(job) * step


def update_seconds(job: Job) -> float:
    """Measured seconds of one update of a "critic_pretraining" or "cql" job, without evaluations."""
    if job.kind == "critic_pretraining":
        widths, hidden = (job.config["observation_width"], job.config["action_width"]), tuple(job.config["hidden"])
        name = f"critic_pretraining-{widths}{_unless_default(hidden)}"
        return measured(name, lambda: _pretraining_update(*widths, hidden))
    widths, cql = DIMENSIONS[environment_of(job.config["dataset"]["name"])], job.config["cql"]
    config = CQLConfig(sampled_actions=cql["sampled_actions"], hidden=cql["hidden"])
    name = f"cql-{widths}-{config.sampled_actions}{_unless_default(config.hidden)}"
    return measured(name, lambda: _update(*widths, config))


def _unless_default(hidden: tuple[int, ...]) -> str:
    return "" if hidden == CQLConfig.hidden else f"-{hidden}"


def _update(observation_width: int, action_width: int, config: CQLConfig) -> float:
    agent = best(CQL, config)(observation_width, action_width, config, q_max=1000.0, seed=0, device=chosen())
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 256, observation_width, generator=generator)
    actions = torch.rand(256, action_width, generator=generator) * 2 - 1
    columns = (states[0], actions, torch.ones(256), states[1], torch.zeros(256))
    batch = Transitions(*put(chosen(), *columns))
    noise = Noise(*put(chosen(), *draw_noise(generator, 256, action_width, config.sampled_actions)))
    return median_seconds(lambda: agent.update(batch, noise))


def _pretraining_update(observation_width: int, action_width: int, hidden: tuple[int, ...]) -> float:
    mdp = MDPConfig(states=10, trajectories=1)
    config = CriticPretrainingConfig(observation_width, action_width, mdp, hidden=hidden)
    training = best(CriticPretraining, config)(config, device=chosen())
    return median_seconds(lambda: training.run(training.updates + 10)) / 10


def _environment_step(environment: str) -> float:
    evaluator = Evaluator(environment, episodes=1, max_steps=_STEPS)
    action = np.zeros((1, DIMENSIONS[environment][1]), dtype=np.float32)
    return seconds_per_step(
        lambda seed: int(evaluator.evaluate(lambda observations: action, seed=seed).lengths.sum()), _STEPS
    )
