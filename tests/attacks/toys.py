"""A method that trains in milliseconds, for attacks on the store: real tensors, real rows, real checkpoints.

algorithm: tests.attacks.toys:ALGORITHM. A pre-training keeps its weights twice; a run starts from them. The numbers of
every update depend on all updates before, so a lost, repeated or damaged update shows in the rows.
"""

import os
import signal
import time

import torch

from synthlib.runs.job import Algorithm, Job, Training

NAME = f"{__name__}:ALGORITHM"
WIDTH = 2_000
COUNTED: dict[str, int] = {}
"""With the handle of a "file", every update of every process writes one byte there."""


def pretraining_job(seed=0, updates=20, pause=0.0):
    config = {"seed": seed}
    keep, context = (updates // 2, updates), {"pause": pause}
    return Job("toy_pretraining", config, updates, keep, context=context, algorithm=NAME)


def run_job(seed=0, updates=60, pause=0.0, pretraining=None, deadly=0):
    """A run; at the update ``deadly`` it kills its process."""
    config = {"seed": seed, "start": pretraining.config if pretraining else None}
    requires = (pretraining,) if pretraining else ()
    context = {"pause": pause, "deadly": deadly}
    return Job("toy", config, updates, requires=requires, context=context, algorithm=NAME)


def plan(seeds, pause=0.0, updates=60):
    """Jobs of some pre-trainings and, for each, of a run that starts from it."""
    pretrainings = [pretraining_job(seed, pause=pause) for seed in seeds]
    return [*pretrainings, *(run_job(one.config["seed"], updates, pause, one) for one in pretrainings)]


class _Toy:
    every = 5

    def __init__(self, job, store):
        self.config, self.pause, self.updates = job.config, job.context["pause"], 0
        self.deadly = job.context.get("deadly", 0)
        generator = torch.Generator().manual_seed(job.config["seed"])
        self.values = torch.randn(WIDTH, generator=generator)
        if job.requires:
            self.values += store.weights(job.requires[0])["values"]
        self.evaluations, self.losses = [], []

    def update(self):
        self.updates += 1
        if self.updates == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if COUNTED.get("file") is not None:
            os.write(COUNTED["file"], b".")
        self.values = torch.roll(self.values, 1) * 0.99 + torch.sin(self.values + self.updates)
        time.sleep(self.pause)
        if self.updates % self.every == 0:
            self.losses.append({"updates": self.updates, "loss": float(self.values.square().mean())})

    def evaluate(self):
        score = float(self.values.sum())
        self.evaluations.append({"updates": self.updates, "score": score, "return_mean": score})

    def state(self):
        return {
            "updates": self.updates,
            "values": self.values,
            "evaluations": self.evaluations,
            "losses": self.losses,
        }

    def restore(self, saved):
        if saved is not None:
            self.updates, self.values = saved["updates"], saved["values"]
            self.evaluations, self.losses = list(saved["evaluations"]), list(saved["losses"])


class ToyPretraining(_Toy):
    state_dict, load_state_dict = _Toy.state, _Toy.restore

    def run(self, until, progress=None):
        while self.updates < until:
            self.update()
            if progress is not None:
                progress(self.updates)

    def weights(self):
        return {"values": self.values}


def _described(job):
    return f"{job.kind} {job.config['seed']}"


def _training(kind, start, **options):
    return Training(kind, start, _described, lambda job: 0.0, lambda job: 1.0, **options)


TRAININGS = (
    _training("toy_pretraining", ToyPretraining, weights=lambda training: training.weights()),
    _training("toy", _Toy),
)
ALGORITHM = Algorithm("toy", (0,), {}, {}, lambda arm: 0, "loss", 1, __name__)
