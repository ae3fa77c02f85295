"""The two trainings behind the paper's CQL tables, as jobs of the store: critic pre-training and CQL fine-tuning.

Fine-tuning follows faithfulness section 6. All seeds and arms see the same minibatches (the data seed is always 0). The
run's seed determines the initial weights and the noise of actions. There is an evaluation every ``every`` updates.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synthlib.cql import cost, flops, memory
from synthlib.cql.agent import CQL, CQLConfig, check_finite
from synthlib.cql.algorithm import ALGORITHM, PRETRAINING_UPDATES
from synthlib.cql.batches import Noise, draw_noise
from synthlib.cql.column_runs import NOISE, CQLRuns
from synthlib.cql.networks import TanhGaussianPolicy
from synthlib.cql.pretraining import (
    CriticPretraining,
    CriticPretrainingConfig,
    config_of,
    data_in_words,
    identity_of,
    predicted_width,
)
from synthlib.cql.pretraining_column import ColumnOfCritics
from synthlib.cql.stacked import StackedCQL
from synthlib.cql.weight_controls import WeightControl, changed
from synthlib.generators import mdp
from synthlib.generators.drawn import transitions
from synthlib.generators.mdp import IndexTransitions, MDPConfig, generate
from synthlib.generators.registry import Generated, generated_by, try_out
from synthlib.kernels.twins import best
from synthlib.machine.cached import kept_arrays
from synthlib.machine.devices import CPU, chosen, put
from synthlib.offline.datasets import Transitions, cql_data
from synthlib.offline.evaluation import Evaluator, Policy
from synthlib.offline.finetuning import describe_finetuning, evaluated, evaluation_of, reference_of
from synthlib.offline.identity import data_identity, planned_data
from synthlib.paths import data_cache
from synthlib.runs.groups import Group, Pretrainings, Stacked
from synthlib.runs.identity import as_dict, versioned
from synthlib.runs.job import Job, Training
from synthlib.runs.loop import scaled_checkpoints
from synthlib.runs.settings import GENERATED_ARM
from synthlib.tasks import DIMENSIONS, environment_of, physics_version

if TYPE_CHECKING:
    import pandas as pd

    from synthlib.runs.store import Store

_PRETRAINING_KEYS = {"critic_weights", "mdp", "pretraining_seed", "pretraining_updates", *GENERATED_ARM}
PRETRAINING_CHECKPOINTS = (1_000, 10_000, 40_000, 100_000, 500_000, 1_000_000)  # Table 8
BATCH_SIZE = 256  # Table 16


def pretraining_job(environment: str, arm: dict[str, Any], settings: dict[str, Any]) -> Job:
    """Job of the critic pre-training that ``arm`` (an entry of a table's ``arms``) starts from.

    The pre-training depends on the environment only through the widths of observation and action. So halfcheetah and
    walker2d share it.
    """
    observation_width, action_width = DIMENSIONS[environment]
    data = _pretraining_data(arm, settings["mdp_trajectories"], (observation_width, action_width))
    seed, hidden = arm.get("pretraining_seed", 42), CQLConfig(**arm.get("cql", {})).hidden
    config = CriticPretrainingConfig(observation_width, action_width, data, seed, hidden=hidden)
    wanted = arm.get("pretraining_updates", PRETRAINING_UPDATES)
    updates, keep = scaled_checkpoints(wanted, PRETRAINING_CHECKPOINTS, settings["pretraining_scale"])
    return Job("critic_pretraining", identity_of(config), updates, keep=keep, algorithm=ALGORITHM.name)


def _pretraining_data(arm: dict[str, Any], trajectories: int, widths: tuple[int, int]) -> MDPConfig | Generated:
    """The data that ``arm`` asks for: of an MDP, or of a generator of one's own, which draws a few for a trial."""
    if "generator" not in arm:
        if "parameters" in arm:
            raise ValueError("parameters are those of a generator: name it with generator: my_module:name")
        # Made at once: an arm that gives the states alone has as many actions (faithfulness 4.1).
        return MDPConfig(**({"trajectories": trajectories} | arm.get("mdp", {})))
    if "mdp" in arm:
        raise ValueError("an arm has an mdp or a generator, not both: leave one out")
    data = generated_by(arm, "transition", 0, trajectories * MDPConfig.length)
    try_out(data, *widths)
    return data


def finetuning_job(arm: dict[str, Any], dataset: str, seed: int, settings: dict[str, Any], source: str | None) -> Job:
    """Job of one CQL fine-tuning run of ``arm`` on ``dataset`` with ``seed``.

    ``settings`` are the sizes of a preset; ``source`` is the data source. Raises ValueError for settings that
    contradict each other, TypeError for an unknown field.
    """
    if arm.get("pretraining", "none") != "none":
        raise ValueError(f"pretraining: {arm['pretraining']!r} is unknown; say none, or what to pre-train on")
    if "pretraining" in arm and (pointless := sorted(arm.keys() & _PRETRAINING_KEYS)):
        raise ValueError(f"an arm with pretraining: none cannot have {', '.join(pointless)} as well")
    environment, checksum, masses = data_identity(dataset, source)
    critics: dict[str, Any] | None = None
    requires: tuple[Job, ...] = ()
    if "pretraining" not in arm:
        pretraining = pretraining_job(environment, arm, settings)
        critics, requires = {"pretraining": pretraining.config, "updates": pretraining.updates}, (pretraining,)
        if "critic_weights" in arm:  # left out of the identity of all other runs, which are older than this setting
            critics["weights"] = asdict(WeightControl(**arm["critic_weights"]))
    config = {
        "dataset": {"name": dataset, "checksum": checksum},
        "physics": physics_version(environment, masses),
        "seed": seed,
        "batch_size": BATCH_SIZE,
        "cql": as_dict(CQLConfig(**arm.get("cql", {}))),
        "critics": critics,
        "data_ratio": arm.get("data_ratio", 1.0),
        "evaluation": evaluation_of(dataset, source, settings),
    }
    return Job(
        "cql", config, settings["updates"], requires=requires, context={"source": source}, algorithm=ALGORITHM.name
    )


def start_pretraining(job: Job, store: "Store | None" = None) -> CriticPretraining:
    """The training of a "critic_pretraining" job before its first update; ``store`` is not used."""
    config, device = config_of(job.config), chosen()
    kind = best(CriticPretraining, config)
    if isinstance(config.mdp, MDPConfig):
        return kind(config, _mdp_data(config.mdp), device)
    data, tables = transitions(config.mdp, config.observation_width, config.action_width)
    return kind(config, data, device, tables=tables)


def _mdp_data(config: MDPConfig) -> IndexTransitions:
    """``generate(config)``, kept on disk: every environment uses the same data, and 100,000 states take minutes."""
    identity = json.dumps(asdict(config) | versioned(mdp.VERSION), sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    path = data_cache() / "mdp" / f"{digest}.npz"

    def make() -> dict[str, np.ndarray]:
        return {name: column.astype(np.int32) for name, column in best(generate, config)(config)._asdict().items()}

    columns = kept_arrays(path, make)
    return IndexTransitions(**{name: columns[name].astype(np.int64) for name in IndexTransitions._fields})


_evaluator = lru_cache(maxsize=1)(Evaluator)  # stacked runs share one evaluator


class FineTuning:
    """The state of one "cql" job between two updates (a :class:`synthlib.runs.job.Run`)."""

    def __init__(self, job: Job, store: "Store | None") -> None:
        config = job.config
        self.config, self.key = config, int(job.key, 16)
        data = planned_data(**config["dataset"], **job.context)
        self.data = cql_data(data, config["data_ratio"])
        critics = None
        if job.requires:
            (pretraining,) = job.requires
            assert store is not None, "a job with a pre-training needs the store that has its weights"
            critics = store.weights(pretraining)
            if control := config["critics"].get("weights"):
                critics = changed(critics, WeightControl(**control), config["seed"])
        cql = CQLConfig(**config["cql"])
        widths = DIMENSIONS[data.environment]
        self.device = chosen()
        self.agent = best(CQL, cql)(
            *widths, cql, q_max=self.data.q_max, critics=critics, seed=config["seed"], device=self.device
        )
        self.noise = torch.Generator().manual_seed(config["seed"])
        self.noise_shape = (config["batch_size"], widths[1], cql.sampled_actions)
        evaluation = config["evaluation"]
        self.every = evaluation["every"]
        masses, reference = config["physics"]["masses"], reference_of(config)
        self.evaluator = _evaluator(data.environment, evaluation["episodes"], masses, reference=reference)
        self.updates = 0
        self.evaluations: list[dict[str, Any]] = []
        self.losses: list[dict[str, Any]] = []
        self.sums: dict[str, torch.Tensor] = {}  # of each loss, over the updates since the last evaluation

    def update(self) -> None:
        """One update of the agent. Raises FloatingPointError when a mean loss of :meth:`log` is not finite."""
        self.log(self.agent.update(*self.draw()))

    def draw(self) -> tuple[Transitions, Noise]:
        """The minibatch and the noise of the next update, on the agent's device."""
        batch = put(self.device, *self.data.draw(self.config["batch_size"]))
        noise = put(self.device, *draw_noise(self.noise, *self.noise_shape))
        return Transitions(*batch), Noise(*noise)

    def log(self, losses: dict[str, torch.Tensor]) -> None:
        """Count an update and add up its losses. May raise FloatingPointError, as :meth:`add`."""
        self.add(1, losses, losses)

    def add(self, updates: int, sums: dict[str, torch.Tensor], last: dict[str, torch.Tensor]) -> None:
        """Count ``updates`` updates and add the ``sums`` of their losses; ``last`` are the losses of the last one.

        There is one row of ``losses`` per evaluation (faithfulness 6.6), so the updates must not pass one. Raises
        FloatingPointError when the mean of a loss in the new row is NaN or infinite.
        """
        self.updates += updates
        for name in self.sums or sums:  # a checkpoint of earlier code may lack a loss: its next row does so too
            self.sums[name] = self.sums.get(name, 0.0) + sums[name]
        if self.updates % self.every == 0:
            means = {name: float(value) / self.every for name, value in self.sums.items()}
            check_finite(means)
            row = {"updates": self.updates, "combined_loss_last_minibatch": float(last["qf_loss_total"])}
            self.losses.append(row | means)
            self.sums = {}

    def evaluate(self) -> None:
        """Append a row to ``evaluations``: episodes with the policy's deterministic actions (:meth:`CQL.act`)."""
        seed, updates = self.config["seed"], self.updates
        self.evaluations.append(evaluated(seed, updates, lambda seed: self.evaluator.evaluate(self.agent.act, seed)))

    def state(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit. Raises FloatingPointError when a loss is NaN or infinite."""
        check_finite(self.sums)  # a state that has diverged must not replace the last good one
        generator = self.data.generator.get_state(legacy=False)["state"]
        return {
            "updates": self.updates,
            "agent": self.agent.state_dict(),
            "noise": self.noise.get_state(),
            "batches": {"key": torch.from_numpy(generator["key"].astype(np.int64)), "pos": generator["pos"]},
            "sums": {name: value.cpu() for name, value in self.sums.items()},
            "evaluations": self.evaluations,
            "losses": self.losses,
        }

    def restore(self, saved: dict[str, Any] | None) -> None:
        """Go on from ``saved``, a result of :meth:`state`, or from the start when it is None."""
        if saved is None:
            return
        self.updates = saved["updates"]
        self.agent.load_state_dict(saved["agent"])
        self.noise.set_state(saved["noise"])
        key = saved["batches"]["key"].numpy().astype(np.uint32)
        self.data.generator.set_state(
            {"bit_generator": "MT19937", "state": {"key": key, "pos": saved["batches"]["pos"]}}
        )
        self.sums = {name: value.to(self.device) for name, value in saved["sums"].items()}
        self.evaluations, self.losses = saved["evaluations"], saved["losses"]


def _pretraining_curve(job: Job, losses: "pd.DataFrame") -> "tuple[str, pd.Series]":
    """(name of the scale, sum of both critics' losses). Losses with other widths have another scale."""
    scale = f"{job.config['observation_width']} observations, {job.config['action_width']} actions"
    return scale, losses["qf1_loss"] + losses["qf2_loss"]


def _describe_pretraining(job: Job) -> str:
    return f"critic pre-training ({data_in_words(config_of(job.config).mdp)}, {job.updates} updates)"


def _pretrained_together(trainings: Sequence[CriticPretraining]) -> Pretrainings:
    """On a GPU a column, of one pre-training too."""
    return Pretrainings(trainings) if chosen() == CPU else ColumnOfCritics(trainings)


def _alike_pretrainings(job: Job) -> dict[str, Any]:
    """On a GPU widths and settings; data and seeds may differ. A processor trains one after the other."""
    if chosen() == CPU:
        return job.config
    others = {name: value for name, value in job.config.items() if name not in ("mdp", "seed")}
    return others | {"predicted": predicted_width(config_of(job.config))}


def _together(runs: Sequence[FineTuning]) -> Group:
    """On a GPU everything of an update is there; on a processor each run draws as it would alone."""
    if runs[0].device.type == "cuda":
        return CQLRuns(runs)
    return Stacked(runs, StackedCQL([run.agent for run in runs]))


def _facts_together() -> dict[str, str]:
    return {} if chosen() == CPU else {"noise": NOISE}


def _alike(job: Job) -> dict[str, Any]:
    """Widths and settings. Data sets, arms and seeds may differ."""
    widths = DIMENSIONS[environment_of(job.config["dataset"]["name"])]
    return {"widths": widths} | {name: job.config[name] for name in ("cql", "batch_size", "evaluation")}


def _policy(job: Job, state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights of the actor, from a value of :meth:`FineTuning.state`."""
    weights = state["agent"]["weights"]
    return {name.removeprefix("policy."): weight for name, weight in weights.items() if name.startswith("policy.")}


def _actor(job: Job, policy: Mapping[str, torch.Tensor]) -> Policy:
    """The deterministic policy with these weights."""
    widths = DIMENSIONS[environment_of(job.config["dataset"]["name"])]
    network = TanhGaussianPolicy(*widths, CQLConfig(**job.config["cql"]).hidden)
    network.load_state_dict(dict(policy))
    return lambda observations, rewards, running: network.act(observations)


TRAININGS = (
    Training(
        kind="critic_pretraining",
        start=start_pretraining,
        describe=_describe_pretraining,
        operations=flops.pretraining,
        seconds=cost.pretraining_seconds,
        weights=lambda training: training.critics(),
        stride=1_000,
        curve=_pretraining_curve,
        together=_pretrained_together,
        alike=_alike_pretrainings,
        memory=memory.pretraining,
        bench_line="critics",
    ),
    Training(
        kind="cql",
        start=FineTuning,
        describe=describe_finetuning,
        operations=flops.finetuning,
        seconds=cost.finetuning_seconds,
        together=_together,
        facts_together=_facts_together,
        alike=_alike,
        policy=_policy,
        actor=_actor,
        memory=memory.finetuning,
        bench_line="cql-3",
    ),
)
