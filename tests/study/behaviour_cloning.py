"""Behaviour cloning as an algorithm of its own: everything that adding one takes.

algorithm: tests.study.behaviour_cloning:ALGORITHM     in params/<table>.yaml
behaviour_cloning: {datasets: ..., seeds: ..., ...}    a section in params/presets.yaml
"""

import numpy as np
import torch
from torch import nn

from synthlib.offline.evaluation import Evaluator
from synthlib.offline.finetuning import describe_finetuning, evaluated
from synthlib.offline.identity import data_identity, planned_data
from synthlib.runs.job import Algorithm, Job, Training
from synthlib.runs.settings import integer
from synthlib.tasks import DIMENSIONS, physics_version


def finetuning_job(arm, dataset, seed, settings, source):
    environment, checksum, masses = data_identity(dataset, source)
    config = {
        "dataset": {"name": dataset, "checksum": checksum},
        "physics": physics_version(environment, masses),
        "seed": seed,
        "width": arm.get("width", 8),
        "batch_size": settings["batch_size"],
        "evaluation": {"every": settings["evaluate_every"], "episodes": settings["episodes"]},
    }
    where = {"context": {"source": source}, "algorithm": f"{__name__}:ALGORITHM"}
    return Job("behaviour_cloning", config, settings["updates"], **where)


class Cloning:
    """A small network that learns the data's actions by mean squared error."""

    def __init__(self, job, store):
        self.config = job.config
        self.data = planned_data(**job.config["dataset"], **job.context)
        observation_width, action_width = DIMENSIONS[self.data.environment]
        torch.manual_seed(self.config["seed"])
        width = self.config["width"]
        self.policy = nn.Sequential(nn.Linear(observation_width, width), nn.Tanh(), nn.Linear(width, action_width))
        self.optimiser = torch.optim.SGD(self.policy.parameters(), lr=0.1)
        self.every = self.config["evaluation"]["every"]
        episodes, masses = self.config["evaluation"]["episodes"], self.config["physics"]["masses"]
        self.evaluator = Evaluator(self.data.environment, episodes, masses)
        self.updates, self.evaluations, self.losses = 0, [], []

    def update(self):
        # Drawn anew from the seed and the number of updates, so that there is no generator to save.
        generator = np.random.default_rng([self.config["seed"], self.updates])
        rows = generator.integers(len(self.data.observations), size=self.config["batch_size"])
        observations, actions = (
            torch.tensor(np.asarray(column[rows])) for column in (self.data.observations, self.data.actions)
        )
        loss = (self.policy(observations) - actions).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.updates += 1
        if self.updates % self.every == 0:
            self.losses.append({"updates": self.updates, "error": float(loss.detach())})

    def evaluate(self):
        def act(observations):
            with torch.no_grad():
                return self.policy(torch.from_numpy(observations)).clamp(-1, 1).numpy()

        row = evaluated(self.config["seed"], self.updates, lambda seed: self.evaluator.evaluate(act, seed))
        self.evaluations.append(row)

    def state(self):
        parts = {"updates": self.updates, "evaluations": self.evaluations, "losses": self.losses}
        return parts | {"policy": self.policy.state_dict()}

    def restore(self, saved):
        if saved is not None:
            self.updates, self.evaluations, self.losses = (saved[k] for k in ("updates", "evaluations", "losses"))
            self.policy.load_state_dict(saved["policy"])


TRAININGS = (
    Training(
        kind="behaviour_cloning",
        start=Cloning,
        describe=describe_finetuning,
        operations=lambda job: 6 * job.updates * job.config["batch_size"] * 14 * job.config["width"],
        seconds=lambda job: 1e-4 * job.updates,
    ),
)

ALGORITHM = Algorithm(
    name="behaviour_cloning",
    seeds=(0, 1, 2, 3),
    preset_keys={"batch_size": integer(1)},
    arm_keys={"width": integer(1)},
    pretraining_updates=lambda arm: 0,
    plotted_loss="error",
    target_over=1,
    code=__name__,
)
