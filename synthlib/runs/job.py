"""What the store, the engine and the reports know about a training: no data set, no physics and no algorithm.

Job          names a training: its kind, its full configuration and its length
Run          a fine-tuning run in progress; it also evaluates itself
Pretraining  a training in progress whose weights other trainings start from
Training     what one kind of job can do: start, describe itself, count its operations, ...
Algorithm    what a study needs from a method of offline RL: its seeds, its settings and its kinds of training
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from synthlib.runs.settings import Setting

if TYPE_CHECKING:
    import pandas as pd

    from synthlib.kernels.memory import Footprint
    from synthlib.runs.store import Store

Report = Callable[[int], None]
"""Receives the number of updates done so far, for the progress bar."""


@dataclass(frozen=True)
class Job:
    """A training of ``kind`` with the full configuration ``config`` (JSON types only), wanted for ``updates`` updates.

    Only ``kind`` and ``config`` identify the training.
    """

    kind: str
    config: dict[str, Any]
    updates: int
    keep: tuple[int, ...] = ()
    """Numbers of updates after which the weights are kept, because other trainings start from them."""
    requires: tuple["Job", ...] = ()
    """Jobs that must be done first, such as the pre-training that a fine-tuning run starts from."""
    context: dict[str, Any] = field(default_factory=dict)
    """What depends on this machine and not on the training, such as the source of the data."""
    algorithm: str = ""
    """The algorithm that has the job's :class:`Training`: a name that :mod:`synthlib.study.algorithms` knows."""

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits, equal for two jobs when they are the same training, whatever their length."""
        canonical = json.dumps([self.kind, self.config], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Run(Protocol):
    """A fine-tuning run in progress.

    It is evaluated after every ``every`` updates. ``evaluations`` and ``losses`` are the rows of the two CSV files so
    far. Each row is a dict with ``updates`` and numbers.
    """

    config: dict[str, Any]
    every: int
    evaluations: list[dict[str, Any]]
    losses: list[dict[str, Any]]

    @property
    def updates(self) -> int:
        """Updates made so far."""

    def update(self) -> None:
        """Make one update. Raises FloatingPointError when a loss is NaN or infinite."""

    def evaluate(self) -> None:
        """Append a row to ``evaluations``."""

    def state(self) -> dict[str, Any]:
        """The state as tensors and plain values. A run that restores it makes the same updates, bit for bit.

        Raises FloatingPointError when the run has diverged, so that its last good state is not overwritten.
        """

    def restore(self, saved: dict[str, Any] | None) -> None:
        """Continue from ``saved``, a value of :meth:`state`, or from the start when it is None."""


class StackableRun(Run, Protocol):
    """A run whose update has three parts: draw, compute, log. Several runs can share one computation."""

    def draw(self) -> tuple[Any, ...]:
        """The arguments of the next update: minibatch, noise, ..."""

    def log(self, done: Any) -> None:
        """Count an update and log its losses. Raises FloatingPointError when a loss is NaN or infinite."""


class Pretraining(Protocol):
    """A pre-training in progress, which can stop at any number of updates; ``losses`` are its rows so far."""

    updates: int
    losses: list[dict[str, Any]]

    def run(self, until: int, progress: Report | None = None) -> None:
        """Train up to ``until`` updates in all."""

    def state_dict(self) -> dict[str, Any]:
        """The state as tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a value of :meth:`state_dict`."""


def all_but_the_seed(job: Job) -> Any:
    """What runs that differ only in their seed have in common."""
    return {name: value for name, value in job.config.items() if name != "seed"}


@dataclass(frozen=True)
class Training:
    """Everything that the store, the engine and the reports need from one kind of job."""

    kind: str
    start: Callable[[Job, "Store"], Any]
    """Returns the job before its first update: a :class:`Run`, or a :class:`Pretraining` for a pre-training."""
    describe: Callable[[Job], str]
    """Returns one phrase that tells a person which training this is."""
    operations: Callable[[Job], float]
    """Returns the floating-point operations of all updates; a multiply-add counts as two."""
    seconds: Callable[[Job], float]
    """Returns the expected seconds from the start on this machine, with one process and full-length evaluations."""
    together: Callable[[Sequence[Any]], Any] | None = None
    """Makes the group (:mod:`synthlib.runs.groups`) that trains several runs as one computation: of fine-tuning runs,
    or of one pre-training and more. None: one after the other."""
    facts_together: Callable[[], dict[str, str]] = dict
    """Returns what the record of a run says of its training when it was trained together with others."""
    alike: Callable[[Job], Any] = all_but_the_seed
    """Returns what must be equal (as JSON) for runs to be trained together; their lengths must be too."""
    memory: "Callable[[Job], Footprint] | None" = None
    """Returns the memory of a GPU that one more run takes when several are trained together."""
    weights: Callable[[Any], dict[str, Any]] | None = None
    """Pre-training only: returns the weights that other trainings start from."""
    huggingface: Callable[[Job], dict[str, Any]] | None = None
    """Pre-training only, where ``transformers`` has the model: returns the ``config.json`` beside its weights."""
    policy: Callable[[Job, Any], dict[str, Any]] | None = None
    """Fine-tuning only: returns {name: tensor} of what acts, from the job and its state in a checkpoint."""
    actor: Callable[[Job, Mapping[str, Any]], Any] | None = None
    """Fine-tuning only: returns the policy with these tensors, which acts in an environment."""
    stride: int = 1
    """Pre-training only: the number of updates after which the loop checks whether it is time to save."""
    curve: Callable[[Job, "pd.DataFrame"], tuple[str, "pd.Series"]] | None = None
    """Pre-training only: returns (name of the loss's scale, losses to draw) from the rows of losses.

    Losses can be compared where the names of their scales are equal.
    """
    bench_line: str = ""
    """The line of ``make bench`` that compares the update with the reference style."""

    @property
    def is_pretraining(self) -> bool:
        """Whether other trainings start from its weights."""
        return self.weights is not None


@dataclass(frozen=True)
class Algorithm:
    """What a study needs from a method of offline RL.

    The record itself needs neither PyTorch nor MuJoCo, so that params/ can be read and checked without them. The code
    that trains is imported on first use.
    """

    name: str
    """The name of its section in params/presets.yaml, which gives the sizes."""
    seeds: tuple[int, ...]
    """Fine-tuning seeds; a preset with n seeds takes the first n."""
    preset_keys: Mapping[str, Setting]
    """What a preset must give for this algorithm, in addition to the keys that every algorithm needs."""
    arm_keys: Mapping[str, Setting]
    """What an arm of a table may have, in addition to the keys that every algorithm's arms may have."""
    pretraining_updates: Callable[[dict[str, Any]], int]
    """Returns an arm's number of pre-training updates at the paper's size, for an arm that gives no number itself."""
    plotted_loss: str
    """The column of losses.csv that the loss curves show: one row per evaluation."""
    target_over: int
    """The number of a run's last evaluations whose mean return counts as final. 90 % of it is the target of Tables 11
    and 13."""
    code: str
    """The module with ``finetuning_job`` and ``TRAININGS``."""

    def job(self, arm: dict[str, Any], dataset: str, seed: int, settings: dict[str, Any], source: str | None) -> Job:
        """Job of one fine-tuning run: ``arm`` x ``dataset`` x ``seed``, under ``settings``, with data ``source``."""
        return import_module(self.code).finetuning_job(arm, dataset, seed, settings, source)

    @property
    def trainings(self) -> tuple[Training, ...]:
        """One record for each kind of job that :meth:`job` returns or requires."""
        return import_module(self.code).TRAININGS
