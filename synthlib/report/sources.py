"""Whose runs a report shows: ours, or those of the paper's authors.

    runs = open_runs("own", preset="quick")        our runs: what is missing can be trained
    runs = open_runs("authors", logs="logs.csv")   the authors' logs: nothing to train

Both have ``prepare``, ``plan``, ``train``, ``report``, ``folder`` and ``limits``, so that a notebook or command is
written once.
"""

import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from synthlib.dt.similarity import similarities_of_plan
from synthlib.machine import devices
from synthlib.machine.processors import usable_processors
from synthlib.offline.download import prepare
from synthlib.offline.sources import parse_source
from synthlib.paths import data_cache, outputs, store_root
from synthlib.report import pretraining_curves
from synthlib.report.authors_logs import (
    arms_without_logs,
    find_logs,
    log_labels,
    logged_evaluations,
    read_logs,
    run_folder,
)
from synthlib.report.figures import Drawing
from synthlib.report.finished_runs import environment, larger_runs, own_folder, runs_of_plan
from synthlib.report.report import Report
from synthlib.report.runs import Runs
from synthlib.report.similarity import SimilarityReport, authors_similarities
from synthlib.runs.store import Store
from synthlib.study.engine import ALL, RunOptions
from synthlib.study.figures import find_artefact
from synthlib.study.params import Artefact, ParameterError, pretraining_updates
from synthlib.study.plan import EVERYTHING, Plan, Selection, make_plan
from synthlib.study.presets import presets
from synthlib.study.summary import PlanSummary, run_plan
from synthlib.tasks import environment_of

SOURCES = ("own", "authors")  # whose runs: values of the option ``source``
_AUTHORS_PHYSICS = "gym 0.21.0 v3 environments, mujoco-py 2.1.2.14"  # faithfulness 3.14
_ONE_PRETRAINING = (
    "Each pre-trained arm starts from one file of pre-trained weights: intervals are over fine-tuning seeds and say "
    "nothing about another pre-training seed."
)


@dataclass(frozen=True)
class OwnRuns:
    """Runs of this project's store under one preset, fine-tuned on one data source."""

    preset: str
    data: str
    workers: int
    selection: Selection = EVERYTHING

    def prepare(self, name: str) -> None:
        """Download the official D4RL files that artefact ``name`` still needs, and check all that it needs."""
        plan, store = self._plan(name), Store(store_root())
        similarity = plan.artefact.metric == "similarity"  # its report reads the data once more
        wanted = dict.fromkeys(cell.dataset for cell in plan.cells if similarity or not store.is_done(cell.job))
        prepare(wanted, self.data, data_cache())

    def plan(self, name: str) -> PlanSummary:
        """What artefact ``name`` needs, has and lacks: a text to print."""
        return PlanSummary(self._plan(name), self.workers)

    def train(self, name: str, arms: tuple[str, ...] = (), options: RunOptions = ALL) -> None:
        """Train what is missing, of ``arms`` only if any are named.

        :func:`synthlib.study.engine.run_jobs` says how, and which errors are raised.
        """
        run_plan(make_plan(name, self.preset, self.data, arms, self.selection), self.workers, options)

    def report(self, name: str) -> Report:
        """The :class:`~synthlib.report.report.Report` of the finished runs.

        RuntimeError when no run is finished, or when runs with different physics would share a table.
        """
        plan = self._plan(name)
        if plan.artefact.metric == "similarity":
            return SimilarityReport(runs_of_plan(plan), similarities_of_plan(plan, Store(store_root())))
        return Report(replace(runs_of_plan(plan), larger=tuple(larger_runs(plan))))

    def folder(self, name: str) -> Path:
        """``outputs/<preset>/<artefact>``, with the data in the name unless it is the replica."""
        return own_folder(self._plan(name))

    def limits(self) -> str:
        """Sentences on what these runs can and cannot show."""
        expect = presets()[self.preset]["expect"]
        lines = [f"Preset {self.preset} ({expect['time']}, {expect['disk']}) can show {expect['shows']}."]
        data = parse_source(self.data)
        if data.kind == "replica":
            lines.append("The data are a replica made by this project: scores must not be compared with the paper's.")
        if data.kind == "path":
            lines.append(f"The data are the files in {data.folder}; nothing is known of where they come from.")
        return "\n".join(textwrap.fill(line, 110) for line in [*lines, _ONE_PRETRAINING])

    def pretraining_curves(self, name: str) -> Drawing:
        """(figure, alt text) of the losses of pre-training; see :mod:`synthlib.report.pretraining_curves`."""
        return pretraining_curves.pretraining_curves(self._plan(name))

    def pretraining_learned(self, name: str) -> pd.DataFrame:
        """What each pre-training learned below its own guess: see :mod:`synthlib.report.pretraining_curves`."""
        return pretraining_curves.pretraining_learned(self._plan(name))

    def pretraining_ends(self, name: str) -> pd.DataFrame:
        """By arm, where GPT-2's pre-training was left: ``updates`` and ``validation_loss`` (nats per token)."""
        return pretraining_curves.pretraining_ends(self._plan(name))

    def _plan(self, name: str) -> Plan:
        return make_plan(name, self.preset, self.data, selection=self.selection)


@dataclass(frozen=True)
class AuthorsRuns:
    """The authors' own runs of the Decision Transformer, read from ``path``."""

    path: Path
    logs: pd.DataFrame

    def prepare(self, name: str) -> None:
        """Nothing to do: the logs are read."""

    def plan(self, name: str) -> str:
        """How many of the authors' runs artefact ``name`` uses: a text to print."""
        artefact = find_artefact(name)
        chosen = logged_evaluations(self.logs, artefact)
        runs = len(chosen[["arm", "dataset", "seed"]].drop_duplicates())
        return f"{name}: {artefact.title}\n  the authors' logs: {runs} runs, nothing to train"

    def train(self, name: str, arms: tuple[str, ...] = (), options: RunOptions = ALL) -> None:
        """Nothing to do: these runs are finished."""

    def report(self, name: str) -> Report:
        """The :class:`~synthlib.report.report.Report`; ValueError when the logs lack an arm of artefact ``name``."""
        runs = runs_of_authors(find_artefact(name), self.logs)
        if runs.artefact.metric == "similarity":
            return SimilarityReport(runs, authors_similarities(runs.artefact.baseline))
        return Report(runs)

    def folder(self, name: str) -> Path:
        """``outputs/authors/<artefact>``."""
        return outputs() / "authors" / name

    def limits(self) -> str:
        """Sentences on what these runs can and cannot show."""
        return (
            "These are the runs that the paper was printed from, on the authors' machines, simulator and data files.\n"
            "They are scores and losses only: nothing can be trained further from them, and no CQL run is among them.\n"
        ) + _ONE_PRETRAINING


AnyRuns: TypeAlias = OwnRuns | AuthorsRuns


def _processes() -> int:
    """As many as there are usable processors; on a GPU one, which trains runs of one shape together."""
    return usable_processors() if devices.chosen() == devices.CPU else 1


def open_runs(
    source: str = "own",
    preset: str = "quick",
    data: str = "replica",
    logs: str = "",
    workers: int = 0,
    selection: Selection = EVERYTHING,
) -> AnyRuns:
    """:class:`OwnRuns` where ``source`` is "own", :class:`AuthorsRuns` where it is "authors".

    ``preset``, ``data``, ``workers`` (0: :func:`_processes`) and ``selection`` (a part of the table) matter to
    our own runs, ``logs`` to the authors'.

    Raises ParameterError for another ``source``, ValueError for a device that is not there, and what
    :func:`synthlib.report.authors_logs.find_logs` and ``read_logs`` raise.
    """
    if source == "own":
        devices.chosen()  # fail now, not after the first training, when the wanted GPU is not there
        return OwnRuns(preset, data, workers or _processes(), selection)
    if source == "authors":
        if selection.suffix:
            raise ParameterError("ARMS, DATASETS and SEEDS choose among runs of our own, not among the authors'")
        path = find_logs(logs)
        return AuthorsRuns(path, read_logs(path))
    raise ParameterError(f"unknown source of runs {source!r}; known: {', '.join(SOURCES)}")


def runs_of_authors(artefact: Artefact, logs: pd.DataFrame) -> Runs:
    """The authors' runs behind ``artefact``, without the arms that are ours alone.

    ValueError when their logs have no run of another arm.
    """
    evaluations = logged_evaluations(logs, artefact).rename(columns={"train_loss": "loss"})
    records = evaluations[["arm", "dataset", "seed"]].drop_duplicates()
    labels = log_labels(artefact)
    absent = arms_without_logs(artefact)
    artefact = _without(artefact, absent)
    updates = {arm: pretraining_updates(artefact, arm) for arm in artefact.arms}
    records = records.assign(
        environment=records["dataset"].map(environment_of),
        run=[run_folder(labels[row.arm], row.dataset, row.seed) for row in records.itertuples()],
        physics=_AUTHORS_PHYSICS,
        pretraining_updates=records["arm"].map(updates),
    )
    return Runs(
        artefact=artefact,
        evaluations=evaluations.drop(columns="train_seconds"),
        records=records.reset_index(drop=True),
        data="d4rl",
        label="The authors' own runs, from their public logs (github Victor-wang-902/rl_pretrain, table_generator)",
        folder=outputs() / "authors" / artefact.name,
        missing=tuple(f"{arm}, which the authors did not run" for arm in absent),
        provenance={"report_made_with": environment()},
        by_authors=True,
    )


def _without(artefact: Artefact, arms: list[str]) -> Artefact:
    """The artefact without ``arms``. An arm that loses its own control has the artefact's control again."""
    return replace(
        artefact,
        arms={arm: settings for arm, settings in artefact.arms.items() if arm not in arms},
        controls={arm: own for arm, own in artefact.controls.items() if not {arm, own} & set(arms)},
    )
