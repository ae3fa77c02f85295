"""Expected seconds of the Decision Transformer's trainings on this machine, from measured updates and steps."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from synthlib.dt import flops
from synthlib.dt.clusters import CLUSTERS, ClusterTerm
from synthlib.dt.evaluation import TARGET_RETURNS, ReturnConditioned
from synthlib.dt.finetuning import DTTraining, DTTrainingConfig, dropout_generator
from synthlib.dt.model import DecisionTransformer, LastAction, predict_actions, pretrained_config
from synthlib.dt.pretraining import GPT2Pretraining, GPT2PretrainingConfig, default_micro_batch, logits
from synthlib.dt.windows import CONTEXT
from synthlib.dt.windows import Batch as WindowBatch
from synthlib.kernels.twins import best
from synthlib.machine.devices import chosen
from synthlib.machine.speed import CALLS, measured, median_seconds, seconds_per_step
from synthlib.offline.evaluation import Evaluator
from synthlib.offline.finetuning import evaluation_steps
from synthlib.runs.job import Job
from synthlib.tasks import DIMENSIONS, environment_of

_STEPS = 150
_VOCABULARY = 100  # with which GPT-2's updates are measured
_FEW_CALLS = 3  # of an update with Wikipedia's vocabulary, which takes seconds a sequence


def pretraining_seconds(job: Job) -> float:
    """Expected seconds of a "gpt2_pretraining" job."""
    return job.updates * _gpt2_update(job.config["gpt2"]) if job.updates else 0.0


def finetuning_seconds(job: Job) -> float:
    """Expected seconds of a "dt" job, including its evaluations."""
    environment = environment_of(job.config["dataset"]["name"])
    widths = DIMENSIONS[environment]
    update = measured(f"dt-{widths}", lambda: _update(*widths))
    step = measured(f"dt-step-{environment}", lambda: _step(environment))
    return job.updates * update + evaluation_steps(job) * step


def update_seconds(job: Job) -> float:
    """Measured seconds of one update of a "dt" or "gpt2_pretraining" job of the paper's size, without evaluations.

    GPT-2 is measured with the job's own vocabulary, and its batch as so many equal sequences.
    """
    if job.kind == "dt":
        widths = DIMENSIONS[environment_of(job.config["dataset"]["name"])]
        if not job.config["clusters"]:
            return measured(f"dt-{widths}", lambda: _update(*widths))
        return measured(f"dt-{widths}-clusters", lambda: _update(*widths, job.config["clusters"]))
    gpt2 = job.config["gpt2"]
    if gpt2["vocabulary"] == _VOCABULARY:
        return _gpt2_update(gpt2)
    fields = {name: gpt2[name] for name in ("vocabulary", "sequence_length")} | {"batch_size": 1}
    name = f"gpt2-{gpt2['sequence_length']}-{gpt2['vocabulary']}"
    return gpt2["batch_size"] * measured(name, lambda: _gpt2_sequence(GPT2PretrainingConfig(**fields), _FEW_CALLS))


def authors_cluster_seconds() -> float:
    """Measured seconds of the k-means term of one update as the authors computed it, forward and backward.

    They multiplied every entry of every token with every centre, and then took the maximum over the centres
    (faithfulness 3.10). :class:`ClusterTerm` has the same value without these products. Measured on two of the 64
    windows of a minibatch, whose products take 60 MB.
    """
    return measured("dt-authors-clusters", _authors_cluster_term) * DTTrainingConfig.batch_size


def _authors_cluster_term() -> float:
    """Seconds per window."""
    config, windows = pretrained_config(17, 6), 2
    generator = torch.Generator().manual_seed(0)
    centres = F.normalize(torch.randn(CLUSTERS, config.width, generator=generator), dim=1).to(chosen())
    embeddings = torch.randn(windows, 3 * CONTEXT, config.width, generator=generator).to(chosen()).requires_grad_()

    def term() -> None:
        authors_cluster_loss(embeddings, centres).backward()

    return median_seconds(term) / windows


def authors_cluster_loss(embeddings: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """The k-means term with its products written out: (B, T, E) and normalised centres (C, E) -> scalar."""
    products = F.normalize(embeddings, dim=-1)[:, :, None] * centres
    return -products.max(dim=2).values.mean()


def _update(observation_width: int, action_width: int, clusters: int = 0) -> float:
    """Median seconds of one fine-tuning update, with the k-means term where there are ``clusters``."""
    config = pretrained_config(observation_width, action_width)
    model = DecisionTransformer(config, seed=0).to(chosen())
    term = ClusterTerm.of(torch.randn(clusters, config.width).to(chosen())) if clusters else None
    hyperparameters = DTTrainingConfig(cluster_weight=0.1 if clusters else 0.0)
    training = DTTraining(model, hyperparameters, best(predict_actions, config), term)
    size, draw = (training.config.batch_size, CONTEXT), np.random.default_rng(0)
    floats = (draw.standard_normal((*size, width), dtype=np.float32) for width in (observation_width, action_width, 1))
    observations, actions, rewards = floats
    timesteps, mask = np.tile(np.arange(CONTEXT), (size[0], 1)), np.ones(size, dtype=np.float32)
    returns_to_go = np.ones((size[0], CONTEXT + 1, 1), dtype=np.float32)
    batch = WindowBatch(observations, actions, rewards, timesteps, returns_to_go, timesteps, mask)
    return median_seconds(lambda: training.update(batch, dropout_generator(0, training.updates, chosen())))


def _step(environment: str) -> float:
    """Seconds of one environment step in evaluation."""
    model = DecisionTransformer(pretrained_config(*DIMENSIONS[environment]), seed=0).to(chosen())
    last_action = best(LastAction, model.config)
    evaluator = Evaluator(environment, episodes=10, max_steps=_STEPS)
    mean = np.zeros(DIMENSIONS[environment][0], dtype=np.float32)

    def steps_of_episodes(seed: int) -> int:
        policy = ReturnConditioned(
            last_action(model), model.config, mean, np.ones_like(mean), TARGET_RETURNS[environment]
        )
        return int(evaluator.play(policy, seed).lengths.sum())

    return seconds_per_step(steps_of_episodes, 10 * _STEPS)


def _gpt2_update(gpt2: dict[str, Any]) -> float:
    """Seconds of one pre-training update: measured per sequence length, scaled by operations for other sizes."""
    fields = {"vocabulary": _VOCABULARY, "sequence_length": gpt2["sequence_length"], "batch_size": 1}
    config = GPT2PretrainingConfig(**fields)
    per_sequence = measured(f"gpt2-{config.sequence_length}", lambda: _gpt2_sequence(config))
    return per_sequence * flops.pretraining_update(gpt2) / flops.pretraining_update(asdict(config))


def _gpt2_sequence(config: GPT2PretrainingConfig, calls: int = CALLS) -> float:
    """Seconds per sequence of one update, with as many sequences at once as a pre-training takes.

    One short sequence alone would mostly measure overhead.
    """
    config = replace(config, batch_size=64)
    config = replace(config, batch_size=default_micro_batch(config))
    training = GPT2Pretraining(config, batches=None, logits=best(logits, config), device=chosen())
    tokens = np.random.default_rng(0).integers(config.vocabulary, size=(config.batch_size, config.sequence_length))
    return median_seconds(lambda: training.update(tokens), calls) / config.batch_size
