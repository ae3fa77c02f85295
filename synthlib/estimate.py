"""How long a plan will take on this machine, from a short measurement of each kind of update and step."""

import time

import numpy as np
import torch

from synthlib.atomic_files import read_json, write_json
from synthlib.cql import Batch, CQLConfig, draw_noise
from synthlib.cql_fast import FastCQL
from synthlib.critic_pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.evaluation import Evaluator
from synthlib.mdp import MDPConfig
from synthlib.paths import outputs
from synthlib.physics import DIMENSIONS, MAX_EPISODE_STEPS

_UPDATES = 15
_STEPS = 150


def seconds_of(jobs):
    """Expected seconds of each job from its start, {key: seconds}: one process, every evaluation at full length."""
    return {job.key: _seconds(job) for job in jobs}


def _seconds(job):
    if job.kind == "critic_pretraining":
        widths = job.config["observation_width"], job.config["action_width"]
        return job.updates * _measured(f"critic_pretraining-{widths}", lambda: _pretraining_update(*widths))
    environment = job.config["dataset"]["name"].split("-")[0]
    widths, evaluation = DIMENSIONS[environment], job.config["evaluation"]
    steps = job.updates // evaluation["every"] * evaluation["episodes"] * MAX_EPISODE_STEPS
    sampled = job.config["cql"]["sampled_actions"]
    update = _measured(f"cql-{widths}-{sampled}", lambda: _cql_update(*widths, sampled))
    return job.updates * update + steps * _measured(f"step-{environment}", lambda: _environment_step(environment))


def _measured(name, measure):
    """A duration measured once on this machine and kept in ``outputs/speed.json``."""
    path = outputs() / "speed.json"
    known = read_json(path) if path.exists() else {}
    if name not in known:
        torch.set_num_threads(1)
        known[name] = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, known)
    return known[name]


def _cql_update(observation_width, action_width, sampled_actions):
    config = CQLConfig(sampled_actions=sampled_actions)
    agent = FastCQL(observation_width, action_width, config, q_max=1000.0, seed=0)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 256, observation_width, generator=generator)
    actions = torch.rand(256, action_width, generator=generator) * 2 - 1
    batch = Batch(states[0], actions, rewards=torch.ones(256), next_observations=states[1], dones=torch.zeros(256))
    noise = draw_noise(generator, 256, action_width, sampled_actions)
    return _median_seconds(lambda: agent.update(batch, noise))


def _pretraining_update(observation_width, action_width):
    mdp = MDPConfig(states=10, trajectories=1)
    training = CriticPretraining(CriticPretrainingConfig(observation_width, action_width, mdp))
    return _median_seconds(lambda: training.run(training.updates + 10)) / 10


def _environment_step(environment):
    evaluator = Evaluator(environment, episodes=1, max_steps=_STEPS)
    action = np.zeros((1, DIMENSIONS[environment][1]), dtype=np.float32)
    steps, began = 0, time.perf_counter()
    while steps < _STEPS:
        steps += int(evaluator.evaluate(lambda observations: action, seed=steps).lengths.sum())
    return (time.perf_counter() - began) / steps


def _median_seconds(call):
    seconds = []
    for _ in range(_UPDATES):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))
