"""How long a plan will take on this machine, from a short measurement of each kind of update and step.

Processor time is measured, so that a neighbour at that moment does not stay in the estimates for good.
"""

import time
from dataclasses import asdict, replace

import numpy as np
import torch

from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.batches import Noise, draw_noise
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.dt.evaluation import DTEvaluator
from synthlib.dt.finetuning import DTTraining, DTTrainingConfig, dropout_generator
from synthlib.dt.model import DecisionTransformer, pretrained_config
from synthlib.dt.model_fast import LastAction
from synthlib.dt.pretraining import GPT2Pretraining, GPT2PretrainingConfig, default_micro_batch
from synthlib.dt.windows import CONTEXT
from synthlib.dt.windows import Batch as WindowBatch
from synthlib.generators.mdp import MDPConfig
from synthlib.kernels.twins import best
from synthlib.machine.devices import CPU, chosen, describe, put, wait
from synthlib.machine.files import read_json, write_json
from synthlib.offline.datasets import Transitions
from synthlib.offline.evaluation import Evaluator
from synthlib.paths import outputs
from synthlib.study import operations
from synthlib.tasks import DIMENSIONS, MAX_EPISODE_STEPS, environment_of

_UPDATES = 15
_STEPS = 150


def seconds_of(jobs):
    """Expected seconds of each job from its start, {key: seconds}: one process, every evaluation at full length."""
    return {job.key: _seconds(job) for job in jobs}


def _seconds(job):
    if job.kind == "critic_pretraining":
        widths = job.config["observation_width"], job.config["action_width"]
        return job.updates * _measured(f"critic_pretraining-{widths}", lambda: _pretraining_update(*widths))
    if job.kind == "gpt2_pretraining":
        return job.updates * _gpt2_update(job.config["gpt2"])
    environment = environment_of(job.config["dataset"]["name"])
    widths, evaluation = DIMENSIONS[environment], job.config["evaluation"]
    steps = job.updates // evaluation["every"] * evaluation["episodes"] * MAX_EPISODE_STEPS
    if job.kind == "dt":
        update = _measured(f"dt-{widths}", lambda: _dt_update(*widths))
        return job.updates * update + steps * _measured(f"dt-step-{environment}", lambda: _dt_step(environment))
    sampled = job.config["cql"]["sampled_actions"]
    update = _measured(f"cql-{widths}-{sampled}", lambda: _cql_update(*widths, sampled))
    return job.updates * update + steps * _measured(f"step-{environment}", lambda: _environment_step(environment))


def _measured(name, measure):
    """A duration measured once on this machine and device, and kept in ``outputs/speed.json``."""
    name = name if chosen() == CPU else f"{name} on {describe(chosen())}"
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
    agent = best(CQL, config)(observation_width, action_width, config, q_max=1000.0, seed=0, device=chosen())
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 256, observation_width, generator=generator)
    actions = torch.rand(256, action_width, generator=generator) * 2 - 1
    columns = (states[0], actions, torch.ones(256), states[1], torch.zeros(256))
    batch = Transitions(*put(chosen(), *columns))
    noise = Noise(*put(chosen(), *draw_noise(generator, 256, action_width, sampled_actions)))
    return _median_seconds(lambda: agent.update(batch, noise))


def _pretraining_update(observation_width, action_width):
    mdp = MDPConfig(states=10, trajectories=1)
    config = CriticPretrainingConfig(observation_width, action_width, mdp)
    training = best(CriticPretraining, config)(config, device=chosen())
    return _median_seconds(lambda: training.run(training.updates + 10)) / 10


def _dt_update(observation_width, action_width):
    config = pretrained_config(observation_width, action_width)
    training = DTTraining(DecisionTransformer(config, seed=0).to(chosen()), DTTrainingConfig())
    size, draw = (training.config.batch_size, CONTEXT), np.random.default_rng(0)
    floats = (draw.standard_normal((*size, width), dtype=np.float32) for width in (observation_width, action_width, 1))
    observations, actions, rewards = floats
    timesteps, mask = np.tile(np.arange(CONTEXT), (size[0], 1)), np.ones(size, dtype=np.float32)
    returns_to_go = np.ones((size[0], CONTEXT + 1, 1), dtype=np.float32)
    batch = WindowBatch(observations, actions, rewards, timesteps, returns_to_go, timesteps, mask)
    return _median_seconds(lambda: training.update(batch, dropout_generator(0, training.updates, chosen())))


def _dt_step(environment):
    model = DecisionTransformer(pretrained_config(*DIMENSIONS[environment]), seed=0).to(chosen())
    evaluator = DTEvaluator(environment, max_steps=_STEPS)
    mean, std = np.zeros(DIMENSIONS[environment][0], dtype=np.float32), np.float32(1)
    steps, began = 0, time.process_time()
    while steps < _STEPS * 10:
        result = evaluator.evaluate(LastAction(model), mean, std, seed=steps)
        steps += int(result.lengths.sum())
    return (time.process_time() - began) / steps


def _gpt2_update(gpt2):
    """Seconds of one update: measured once per sequence length, by the number of operations for other sizes."""
    fields = {"vocabulary": 100, "sequence_length": gpt2["sequence_length"], "batch_size": 1}
    measured = GPT2PretrainingConfig(**fields)
    per_sequence = _measured(f"gpt2-{measured.sequence_length}", lambda: _gpt2_sequence(measured))
    return per_sequence * operations.of_gpt2(gpt2) / operations.of_gpt2(asdict(measured))


def _gpt2_sequence(config):
    """As many sequences at once as a pre-training takes, so that short ones are not all overhead."""
    config = replace(config, batch_size=64)
    config = replace(config, batch_size=default_micro_batch(config))
    training = GPT2Pretraining(config, batches=None, device=chosen())
    tokens = np.random.default_rng(0).integers(config.vocabulary, size=(config.batch_size, config.sequence_length))
    return _median_seconds(lambda: training.update(tokens)) / config.batch_size


def _environment_step(environment):
    evaluator = Evaluator(environment, episodes=1, max_steps=_STEPS)
    action = np.zeros((1, DIMENSIONS[environment][1]), dtype=np.float32)
    steps, began = 0, time.process_time()
    while steps < _STEPS:
        steps += int(evaluator.evaluate(lambda observations: action, seed=steps).lengths.sum())
    return (time.process_time() - began) / steps


def _median_seconds(call):
    clock = time.process_time if chosen() == CPU else time.perf_counter  # a GPU works while the process waits
    seconds = []
    for _ in range(_UPDATES):
        began = clock()
        call()
        wait(chosen())
        seconds.append(clock() - began)
    return float(np.median(seconds))
