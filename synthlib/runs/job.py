"""What a training is to the store, the engine and the reports: they know no data set, no physics and no algorithm.

Job          which training: a kind, a full configuration and a length
Run          a fine-tuning between two updates; it evaluates itself as it goes
Pretraining  a training whose weights others start from
Training     what can be asked about all jobs of one kind: start one, describe one, count its operations, ...
Algorithm    what a study asks about a method of offline RL: its seeds, its settings and its kinds of training
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from synthlib.runs.store import Store

Report = Callable[[int], None]
"""Takes the number of updates done so far, for the progress bar."""


@dataclass(frozen=True)
class Job:
    """A training of ``kind`` with a full, JSON-able ``config``, wanted up to ``updates`` updates.

    Only ``kind`` and ``config`` are the identity.
    """

    kind: str
    config: dict[str, Any]
    updates: int
    keep: tuple[int, ...] = ()
    """The numbers of updates whose weights other trainings start from."""
    requires: tuple["Job", ...] = ()
    """Jobs that must be done first: the pre-training that a fine-tuning starts from."""
    context: dict[str, Any] = field(default_factory=dict)
    """Where things lie on this machine."""
    algorithm: str = ""
    """Where the job's :class:`Training` is found: a name that :mod:`synthlib.study.algorithms` knows."""

    @cached_property
    def key(self) -> str:
        """16 hex digits: what makes two jobs the same training, whatever their length."""
        canonical = json.dumps([self.kind, self.config], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Run(Protocol):
    """The state of one fine-tuning between two updates.

    ``every`` updates there is an evaluation. ``evaluations`` and ``losses`` are the rows of the CSV files so far, each
    a dict with ``updates`` and numbers.
    """

    config: dict[str, Any]
    updates: int
    every: int
    evaluations: list[dict[str, Any]]
    losses: list[dict[str, Any]]

    def update(self) -> None:
        """Make one update; FloatingPointError when a loss is NaN or infinite."""

    def evaluate(self) -> None:
        """Append a row to ``evaluations``."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which :meth:`restore` goes on bit for bit.

        Raises FloatingPointError when the run has diverged: its last good state must stay.
        """

    def restore(self, saved: dict[str, Any] | None) -> None:
        """Go on from ``saved``, which :meth:`state` gave, or from the start when it is None."""


class StackableRun(Run, Protocol):
    """A run whose update is divided in three, so that the middle can be one computation for several runs."""

    def draw(self) -> tuple[Any, ...]:
        """The arguments of the next update: minibatch, noise, ..."""

    def log(self, done: Any) -> None:
        """Count an update and note its losses; FloatingPointError when one is NaN or infinite."""


class Pretraining(Protocol):
    """A training that passes through the numbers of updates whose weights are kept; ``losses`` are its rows so far."""

    updates: int
    losses: list[dict[str, Any]]

    def run(self, until: int, progress: Report | None = None) -> None:
        """Train up to ``until`` updates in all."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


UpdateAll = Callable[[Sequence[Any]], Callable[[], None]]
"""Takes runs that differ in their seed alone; returns a function that makes one update of each."""


def one_by_one(runs: Sequence[Run]) -> Callable[[], None]:
    """A function that updates one run after the other."""

    def update() -> None:
        for run in runs:
            run.update()

    return update


@dataclass(frozen=True)
class Training:
    """Everything that is asked about the jobs of one kind."""

    kind: str
    start: Callable[[Job, "Store"], Any]
    """A :class:`Run` of a job before its first update; for a pre-training a :class:`Pretraining`."""
    describe: Callable[[Job], str]
    """One phrase that tells a person which training this is."""
    operations: Callable[[Job], float]
    """Floating-point operations of all updates; a multiply-add counts as two."""
    seconds: Callable[[Job], float]
    """Expected seconds from the start on this machine: one process, every evaluation at full length."""
    update_all: UpdateAll = one_by_one
    """How runs are updated that are trained as one computation."""
    weights: Callable[[Any], dict[str, Any]] | None = None
    """Only of a pre-training: the weights that other trainings start from."""
    stride: int = 1
    """Only of a pre-training: updates between two looks at the clock."""
    curve: Callable[[Job, "pd.DataFrame"], tuple[str, "pd.Series"]] | None = None
    """Only of a pre-training: from its rows of losses, what has losses on one scale (a name), and the loss to draw."""
    bench_line: str = ""
    """The line of ``make bench`` that holds its update against the reference style."""

    @property
    def is_pretraining(self) -> bool:
        """Whether other trainings start from its weights."""
        return self.weights is not None


@dataclass(frozen=True)
class Algorithm:
    """A method of offline RL as a study sees it.

    The record itself needs neither PyTorch nor MuJoCo, so that params/ can be read and checked without them. What
    trains is imported when it is first asked for.
    """

    name: str
    """The section of params/presets.yaml with its sizes."""
    seeds: tuple[int, ...]
    """Fine-tuning seeds; a preset with n seeds takes the first n."""
    preset_keys: frozenset[str]
    """What a preset says for this algorithm, beside what it says for every algorithm."""
    arm_keys: frozenset[str]
    """What an arm of a table may say, beside ``length``."""
    pretraining_updates: Callable[[dict[str, Any]], int]
    """Updates of the pre-training that an arm starts from at the paper's size, where the arm itself names no number."""
    plotted_loss: str
    """The column of losses.csv that the loss curves show: one row per evaluation."""
    target_over: int
    """Over how many of a run's last evaluations the return is averaged whose 90 % are the target of Tables 11, 13."""
    code: str
    """The module with ``finetuning_job`` and ``TRAININGS``."""

    def job(self, arm: dict[str, Any], dataset: str, seed: int, settings: dict[str, Any], source: str | None) -> Job:
        """Job of one fine-tuning: ``arm`` x ``dataset`` x ``seed``, of the size of ``settings``, on data ``source``."""
        return import_module(self.code).finetuning_job(arm, dataset, seed, settings, source)

    @property
    def trainings(self) -> tuple[Training, ...]:
        """One record for each kind of job that :meth:`job` and its requirements can have."""
        return import_module(self.code).TRAININGS
