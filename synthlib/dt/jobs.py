"""Fine-tuning of the Decision Transformer as a job of the store, with the arms as the authors executed them.

The published baseline, the matched control and the pre-trained arms differ as in the authors' runs (faithfulness 3.4).
Everything that a preset scales down is written into the job. Windows and dropout factors depend only on the run's seed
and the number of the update (faithfulness 3.12), so no generator state has to be saved.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from synthlib.dt import cost, flops, memory
from synthlib.dt.algorithm import ALGORITHM
from synthlib.dt.clusters import CLUSTERS, ClusterTerm, cluster_centres
from synthlib.dt.column import losses_of_update
from synthlib.dt.column_runs import DTRuns, evaluated_model, policy_of
from synthlib.dt.dropout import DROPOUT
from synthlib.dt.evaluation import TARGET_RETURNS, ReturnConditioned
from synthlib.dt.finetuning import (
    DTTraining,
    DTTrainingConfig,
    Update,
    baseline_training,
    check_finite,
    dropout_generator,
    pretrained_training,
)
from synthlib.dt.model import (
    DecisionTransformer,
    DTConfig,
    baseline_config,
    load_backbone,
    predict_actions,
    pretrained_config,
)
from synthlib.dt.pretraining_jobs import PRETRAINING, pretraining_job
from synthlib.dt.stacked import StackedDT
from synthlib.dt.weights import check_fits, find_weights
from synthlib.dt.windows import Batch, BatchBuilder, SequenceData, draw, prepare, subset, update_generators
from synthlib.kernels.twins import best
from synthlib.machine.devices import CPU, chosen
from synthlib.offline.datasets import trajectories
from synthlib.offline.evaluation import Evaluator
from synthlib.offline.finetuning import describe_finetuning, evaluation_of, reference_of
from synthlib.offline.identity import data_identity, planned_data
from synthlib.runs.groups import Group, Stacked
from synthlib.runs.identity import as_dict, identity_of
from synthlib.runs.job import Job, Training
from synthlib.runs.settings import GENERATED_ARM
from synthlib.tasks import DIMENSIONS, environment_of, physics_version

if TYPE_CHECKING:
    from synthlib.runs.store import Store

_PRETRAINING_KEYS = {
    "chain",
    "gpt2",
    "loader_workers",
    "objective",
    "pretraining_seed",
    "pretraining_updates",
    "text",
    "weights",
}
_PRETRAINING_KEYS |= {"weights", *GENERATED_ARM}
_MEAN, _STD = "observation_mean", "observation_std"  # (O,) of a kept policy
CLUSTER_WEIGHT = 0.1  # of the k-means term, DT+Wiki only (faithfulness 3.4)


def finetuning_job(arm: dict[str, Any], dataset: str, seed: int, settings: dict[str, Any], source: str | None) -> Job:
    """Job of one fine-tuning run: ``arm`` x ``dataset`` x ``seed``, under ``settings``, with data ``source``.

    Raises ValueError for settings that contradict each other, TypeError for an unknown field.
    """
    if arm.get("pretraining", "none") != "none":
        raise ValueError(f"pretraining: {arm['pretraining']!r} is unknown; say none, or what to pre-train on")
    if "pretraining" in arm and (pointless := sorted(arm.keys() & _PRETRAINING_KEYS)):
        raise ValueError(f"an arm with pretraining: none cannot have {', '.join(pointless)} as well")
    environment, checksum, masses = data_identity(dataset, source)
    baseline = "pretraining" in arm
    backbone: dict[str, Any] | None = None
    requires: tuple[Job, ...] = ()
    clusters: int | None = None
    if not baseline:
        pretraining = pretraining_job(arm, settings)
        backbone, requires = {"pretraining": pretraining.config, "updates": pretraining.updates}, (pretraining,)
    fields = {"warmup_updates": settings["warmup_updates"]}
    if "text" in arm:
        fields["cluster_weight"] = CLUSTER_WEIGHT
        clusters = min(CLUSTERS, pretraining.config["gpt2"]["vocabulary"])
    model = (baseline_config if baseline else pretrained_config)(*DIMENSIONS[environment], **arm.get("model", {}))
    if "weights" in arm:
        check_fits(find_weights(arm["weights"]), vars(model))
    if backbone is not None and (heads := backbone["pretraining"]["gpt2"]["heads"]) != model.heads:
        # The weights have the same shapes for any number of heads, so nothing else would notice.
        raise ValueError(
            f"the pre-training has {heads} heads, the model {model.heads}: say the same under gpt2 and model"
        )
    training = (baseline_training if baseline else pretrained_training)(**fields | arm.get("training", {}))
    config = {
        "dataset": {"name": dataset, "checksum": checksum},
        "data_ratio": arm.get("data_ratio", 1.0),
        "exclude_lowest": arm.get("exclude_lowest", True),
        "physics": physics_version(environment, masses),
        "seed": seed,
        "model": identity_of(model),
        "training": as_dict(training),
        "clusters": clusters,
        "backbone": backbone,
        "evaluation": evaluation_of(dataset, source, settings)
        | {
            "target_return": _target_return(arm, environment),
        },
    }
    context = {"source": source}
    return Job("dt", config, settings["updates"], requires=requires, context=context, algorithm=ALGORITHM.name)


def _target_return(arm: dict[str, Any], environment: str) -> float:
    """The raw return that the evaluations ask for. ValueError for an environment that is not there."""
    wanted = arm.get("target_return", {})
    if not isinstance(wanted, dict):
        return float(wanted)
    if unknown := sorted(wanted.keys() - TARGET_RETURNS.keys()):
        there = ", ".join(TARGET_RETURNS)
        raise ValueError(f"target_return names {unknown[0]!r}, which is no environment; there are: {there}")
    return float(wanted.get(environment, TARGET_RETURNS[environment]))


def untrained_model(job: Job) -> DecisionTransformer:
    """The model of a "dt" job before pre-trained weights are loaded: the run's seed draws all weights."""
    return DecisionTransformer(DTConfig(**job.config["model"]), job.config["seed"])


def loaded_model(job: Job, store: "Store") -> DecisionTransformer:
    """The model that a "dt" job starts from: the untrained model, with the pre-trained backbone if the arm has one."""
    model = untrained_model(job)
    for pretraining in job.requires:
        load_backbone(model, store.weights(pretraining))
    return model


def sequence_data(job: Job) -> SequenceData:
    """The training data of a "dt" job."""
    return _windows(job).data


def _windows(job: Job) -> BatchBuilder:
    """The minibatch builder of a "dt" job, with its data."""
    config = job.config
    return _prepared(
        **config["dataset"],
        **job.context,
        data_ratio=config["data_ratio"],
        exclude_lowest=config["exclude_lowest"],
        **DTConfig(**config["model"]).window,
    )


@lru_cache(maxsize=1)  # stacked runs share their data
def _prepared(
    name: str, checksum: str | None, source: str, data_ratio: float, exclude_lowest: bool, **window: Any
) -> BatchBuilder:
    kept = subset(trajectories(planned_data(name, checksum, source)), data_ratio)
    return best(BatchBuilder)(prepare(kept, exclude_lowest), **window)


_evaluator = lru_cache(maxsize=1)(Evaluator)  # stacked runs share one, they are evaluated one after the other


class FineTuning:
    """A "dt" job in progress, a :class:`synthlib.runs.job.StackableRun`."""

    def __init__(self, job: Job, store: "Store") -> None:
        self.config, self.key = job.config, int(job.key, 16)
        config = job.config
        self.builder = _windows(job)
        self.data = self.builder.data
        self.device = chosen()
        model, training = loaded_model(job, store).to(self.device), DTTrainingConfig(**config["training"])
        predict = best(predict_actions, model.config)
        self.training = DTTraining(model, training, predict, _cluster_term(job, store, self.device))
        evaluation = config["evaluation"]
        self.every, self.target_return = evaluation["every"], evaluation["target_return"]
        name, masses = environment_of(config["dataset"]["name"]), config["physics"]["masses"]
        self.environment = name, evaluation["episodes"], masses, model.config.time_limit, reference_of(config)
        self.evaluator = _evaluator(*self.environment)
        self.evaluations: list[dict[str, Any]] = []
        self.losses: list[dict[str, Any]] = []
        self.sums: dict[str, torch.Tensor] = {}
        """Sums of the losses since the last row, float64 scalars."""

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return self.training.updates

    def update(self) -> None:
        """Make one update."""
        self.log(self.training.update(*self.draw()))

    def draw(self) -> tuple[Batch, torch.Generator]:
        """The arguments of the next update: its minibatch and the generator of its dropout factors."""
        seed, size = self.config["seed"], self.config["training"]["batch_size"]
        windows = draw(self.data, size, *update_generators(seed, self.updates))
        return self.builder.batch(*windows), dropout_generator(seed, self.updates, self.device)

    def log(self, done: Update) -> None:
        """Add an update's losses; the training has counted it. May raise FloatingPointError, as :meth:`add`."""
        self.add(1, losses_of_update(done), {})

    def add(self, updates: int, sums: dict[str, torch.Tensor], last: dict[str, torch.Tensor]) -> None:
        """Add the ``sums`` of the losses of some updates, which the training has counted.

        Every ``every`` updates append their means to ``losses``, so the updates must not pass such a number. Raises
        FloatingPointError when one of the sums is then NaN or infinite.
        """
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if self.updates % self.every == 0:
            means = {name: total / self.every for name, total in self._totals().items()}
            self.losses.append({"updates": self.updates} | means)
            self.sums = {}

    def _totals(self) -> dict[str, float]:
        """The sums as numbers. Raises FloatingPointError when one is NaN or infinite: that state must not be saved."""
        totals = {name: float(value) for name, value in self.sums.items()}
        check_finite(totals, self.updates)
        return totals

    def evaluate(self) -> None:
        """Append a row to ``evaluations``: episodes played with the environment's target return."""
        conditioned, seed = (self.data.mean, self.data.std, self.target_return), self.config["seed"]
        row = evaluated_model(self.training.model, self.evaluator, conditioned, seed, self.updates)
        self.evaluations.append(row)

    def state(self) -> dict[str, Any]:
        """The state as tensors and plain values; a run that restores it makes the same updates, bit for bit.

        Raises FloatingPointError when a loss is NaN or infinite.
        """
        return {
            "training": self.training.state_dict(),
            "sums": self._totals(),
            "evaluations": self.evaluations,
            "losses": self.losses,
        }

    def restore(self, saved: dict[str, Any] | None) -> None:
        """Continue from ``saved``, a value of :meth:`state`, or from the start when it is None."""
        if saved is None:
            return
        self.training.load_state_dict(saved["training"])
        self.sums = {
            name: torch.tensor(total, dtype=torch.float64, device=self.device) for name, total in saved["sums"].items()
        }
        self.evaluations, self.losses = saved["evaluations"], saved["losses"]


def _cluster_term(job: Job, store: "Store", device: torch.device) -> ClusterTerm | None:
    """The k-means term over the pre-trained token table, or None for arms without this term."""
    if not job.config["training"]["cluster_weight"]:
        return None
    (pretraining,) = job.requires
    generator = torch.Generator().manual_seed(job.config["seed"])
    centres = cluster_centres(store.weights(pretraining)["wte.weight"], job.config["clusters"], generator)
    return ClusterTerm.of(centres.to(device))


def _policy(job: Job, state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The model's weights and what normalises its observations, from a value of :meth:`FineTuning.state`."""
    data = sequence_data(job)
    weights = {f"model.{name}": weight for name, weight in state["training"]["model"].items()}
    return weights | {_MEAN: torch.from_numpy(data.mean), _STD: torch.from_numpy(data.std)}


def _actor(job: Job, policy: Mapping[str, torch.Tensor]) -> ReturnConditioned:
    """The policy for one rollout, which asks for the run's target return."""
    model = untrained_model(job)
    weights = {name.removeprefix("model."): weight for name, weight in policy.items() if name.startswith("model.")}
    model.load_state_dict(weights)
    mean, std = policy[_MEAN].numpy(), policy[_STD].numpy()
    target = job.config["evaluation"]["target_return"]
    return policy_of(model, (mean, std, target))


def _together(runs: Sequence[FineTuning]) -> Group:
    """On a GPU everything of an update is there; on a processor each run draws as it would alone."""
    if runs[0].device.type == "cuda":
        return DTRuns(runs)
    return Stacked(runs, StackedDT([run.training for run in runs]))


def _facts_together() -> dict[str, str]:
    return {} if chosen() == CPU else {"dropout": DROPOUT}


def _alike(job: Job) -> dict[str, Any]:
    """Shapes and settings. Data sets, seeds and what was pre-trained on may differ."""
    settings = {name: job.config[name] for name in ("model", "training")}
    return settings | {"every": job.config["evaluation"]["every"]}


TRAININGS = (
    PRETRAINING,
    Training(
        kind="dt",
        start=FineTuning,
        describe=describe_finetuning,
        operations=flops.finetuning,
        seconds=cost.finetuning_seconds,
        policy=_policy,
        actor=_actor,
        together=_together,
        facts_together=_facts_together,
        alike=_alike,
        memory=memory.finetuning,
        bench_line="dt",
    ),
)
