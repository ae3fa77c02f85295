"""The two trainings behind the paper's CQL tables, as jobs of the store: critic pre-training and CQL fine-tuning.

Fine-tuning follows faithfulness section 6: one minibatch stream for all seeds and arms (the data seed is always 0), the
run's seed for initial weights and action noise, an evaluation every ``every`` updates.
"""

import hashlib
import json
from dataclasses import asdict, replace
from functools import lru_cache

import numpy as np
import torch

from synthlib.cql.agent import SEEDS as SEEDS
from synthlib.cql.agent import Batch, CQLConfig, Noise, check_finite, draw_noise
from synthlib.cql.agent_fast import FastCQL
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.cql.stacked import StackedCQL
from synthlib.generators.mdp import MDPConfig, Transitions, generate
from synthlib.machine.devices import chosen, put
from synthlib.machine.files import write_atomically
from synthlib.offline.datasets import cql_data
from synthlib.offline.evaluation import Evaluator
from synthlib.offline.identity import data_identity, planned_data
from synthlib.paths import data_cache
from synthlib.runs import loop
from synthlib.runs.loop import evaluated, scaled_checkpoints
from synthlib.runs.store import Job
from synthlib.tasks import DIMENSIONS, physics_version

PRETRAINING_UPDATES = 100_000  # paper 4.2
PRETRAINING_CHECKPOINTS = (1_000, 10_000, 40_000, 100_000, 500_000, 1_000_000)  # Table 8
_PRETRAINING_STRIDE = 1_000
BATCH_SIZE = 256  # Table 16


def pretraining_job(environment, arm, settings):
    """Job of the critic pre-training that ``arm`` (an entry of a table's ``arms``) starts from.

    The pre-training depends on the environment only through the widths, so halfcheetah and walker2d share it.
    """
    observation_width, action_width = DIMENSIONS[environment]
    mdp = MDPConfig(trajectories=settings["mdp_trajectories"])
    mdp = replace(mdp, **arm.get("mdp", {}))
    config = CriticPretrainingConfig(observation_width, action_width, mdp, seed=arm.get("pretraining_seed", 42))
    wanted = arm.get("pretraining_updates", PRETRAINING_UPDATES)
    updates, keep = scaled_checkpoints(wanted, PRETRAINING_CHECKPOINTS, settings["pretraining_scale"])
    return Job("critic_pretraining", asdict(config), updates, keep=keep)


def finetuning_job(arm, dataset, seed, settings, source):
    """Job of one CQL run: ``arm`` settings x ``dataset`` x ``seed`` at the size of ``settings`` on data ``source``."""
    environment, checksum, masses = data_identity(dataset, source)
    critics, requires = None, ()
    if arm.get("pretraining") != "none":
        pretraining = pretraining_job(environment, arm, settings)
        critics, requires = {"pretraining": pretraining.config, "updates": pretraining.updates}, (pretraining,)
    config = {
        "dataset": {"name": dataset, "checksum": checksum},
        "physics": physics_version(environment, masses),
        "seed": seed,
        "batch_size": BATCH_SIZE,
        "cql": asdict(CQLConfig(**arm.get("cql", {}))),
        "critics": critics,
        "data_ratio": arm.get("data_ratio", 1.0),
        "evaluation": {"every": settings["evaluate_every"], "episodes": settings["episodes"]},
    }
    return Job("cql", config, settings["updates"], requires=requires, context={"source": source})


def pretrain_critics(job, session, store, report):
    """Train the critics of a "critic_pretraining" job; ``report(updates)`` is called as it advances."""
    config = _pretraining_config(job.config)
    training = CriticPretraining(config, transitions=_mdp_data(config.mdp), device=chosen())
    loop.pretrain(training, training.critics, session, report, _PRETRAINING_STRIDE)


def _pretraining_config(config):
    return CriticPretrainingConfig(**{**config, "mdp": MDPConfig(**config["mdp"]), "hidden": tuple(config["hidden"])})


def _mdp_data(config):
    """``generate(config)``, kept on disk: the same data serve every environment, and 100,000 states take minutes."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:16]
    path = data_cache() / "mdp" / f"{digest}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {name: column.astype(np.int32) for name, column in generate(config)._asdict().items()}
        write_atomically(path, lambda temporary: _save_columns(temporary, columns))
    with np.load(path) as columns:
        return Transitions(**{name: columns[name].astype(np.int64) for name in Transitions._fields})


def _save_columns(path, columns):
    with open(path, "wb") as file:  # a path without .npz would get that ending
        np.savez(file, **columns)


def finetune(job, session, store, report):
    """Train one CQL run of a "cql" job, evaluating as it goes; bit-identical however often it is interrupted."""
    loop.finetune(FineTuning(job, store), session, report)


def finetune_stack(jobs, sessions, store, report):
    """The same for jobs that differ in their seed alone, as one computation."""
    runs = [FineTuning(job, store) for job in jobs]
    loop.finetune_stack(runs, sessions, lambda runs: StackedCQL([run.agent for run in runs]), report)


_evaluator = lru_cache(maxsize=1)(Evaluator)  # runs of a stack take turns with one


class FineTuning:
    """The state of one CQL run between two updates: what :func:`synthlib.runs.loop.finetune` advances."""

    def __init__(self, job, store):
        config = job.config
        self.config = config
        data = planned_data(**config["dataset"], **job.context)
        self.data = cql_data(data, config["data_ratio"])
        self.batches = self.data.generator
        critics = None
        if job.requires:
            (pretraining,) = job.requires
            critics = store.weights(pretraining)
        cql = CQLConfig(**config["cql"])
        widths = DIMENSIONS[data.environment]
        self.device = chosen()
        self.agent = FastCQL(
            *widths, cql, q_max=self.data.q_max, critics=critics, seed=config["seed"], device=self.device
        )
        self.noise = torch.Generator().manual_seed(config["seed"])
        self.noise_shape = (config["batch_size"], widths[1], cql.sampled_actions)
        evaluation = config["evaluation"]
        self.every = evaluation["every"]
        self.evaluator = _evaluator(data.environment, evaluation["episodes"], config["physics"]["masses"])
        self.updates, self.evaluations, self.losses = 0, [], []
        self.sums = {}

    def update(self):
        self.log(self.agent.update(*self.draw()))

    def draw(self):
        """What the next update takes: its minibatch and its noise, on the agent's device."""
        drawn = self.data.draw(self.config["batch_size"])
        columns = (drawn.observations, drawn.actions, drawn.rewards, drawn.next_observations, drawn.terminals)
        return Batch(*put(self.device, *columns)), Noise(*put(self.device, *draw_noise(self.noise, *self.noise_shape)))

    def log(self, losses):
        """Take note of what an update returned; one row of losses per evaluation (faithfulness 6.6)."""
        self.updates += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if self.updates % self.every == 0:
            means = {name: float(value) / self.every for name, value in self.sums.items()}
            check_finite(means)
            row = {"updates": self.updates, "combined_loss_last_minibatch": float(losses["qf_loss_total"])}
            self.losses.append(row | means)
            self.sums = {}

    def evaluate(self):
        seed, updates = self.config["seed"], self.updates
        self.evaluations.append(evaluated(seed, updates, lambda seed: self.evaluator.evaluate(self.agent.act, seed)))

    def state(self):
        check_finite(self.sums)  # a state that has diverged must not replace the last good one
        generator = self.batches.get_state(legacy=False)["state"]
        return {
            "updates": self.updates,
            "agent": self.agent.state_dict(),
            "noise": self.noise.get_state(),
            "batches": {"key": torch.from_numpy(generator["key"].astype(np.int64)), "pos": generator["pos"]},
            "sums": {name: value.cpu() for name, value in self.sums.items()},
            "evaluations": self.evaluations,
            "losses": self.losses,
        }

    def restore(self, saved):
        """Go on from ``saved`` (what :meth:`state` gave), or from the start when it is None."""
        if saved is None:
            return
        self.updates = saved["updates"]
        self.agent.load_state_dict(saved["agent"])
        self.noise.set_state(saved["noise"])
        key = saved["batches"]["key"].numpy().astype(np.uint32)
        self.batches.set_state({"bit_generator": "MT19937", "state": {"key": key, "pos": saved["batches"]["pos"]}})
        self.sums = {name: value.to(self.device) for name, value in saved["sums"].items()}
        self.evaluations, self.losses = saved["evaluations"], saved["losses"]
