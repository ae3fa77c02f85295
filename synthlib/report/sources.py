"""Finished runs as a report wants them, whoever trained them: this project, or the paper's authors.

    runs = open_runs("own", preset="quick")        our runs: what is missing can be trained
    runs = open_runs("authors", logs="logs.csv")   the authors' logs: nothing to train

Both answer ``prepare``, ``plan``, ``train`` and ``report`` of an artefact's name, so that a notebook or command is
written once.
"""

import json
import math
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from synthlib.dt.pretraining_jobs import describe_pretraining
from synthlib.dt.similarity import similarities_of_plan
from synthlib.machine import devices
from synthlib.machine.description import describe_environment
from synthlib.machine.processors import usable_processors
from synthlib.offline.download import prepare
from synthlib.offline.sources import parse_source
from synthlib.paths import data_cache, outputs, store_root
from synthlib.report.authors_logs import evaluations_of, find_logs, folder_of_run, labels_of, read_logs
from synthlib.report.report import Report, Runs
from synthlib.report.similarity import SimilarityReport, authors_similarities
from synthlib.runs.store import Store
from synthlib.study.algorithms import algorithm, describe, training
from synthlib.study.params import (
    ParameterError,
    can_train,
    load_artefact,
    load_preset,
    presets,
    pretraining_updates,
)
from synthlib.study.plan import make_plan
from synthlib.study.summary import PlanSummary, run_plan

SOURCES = ("own", "authors")
_LABELS = {
    "replica": "replica data (D4RL's recipe, made by this project; scores are not comparable with the paper's)",
    "d4rl": "official D4RL v2 data",
    "path": "the user's own files in D4RL's layout",
}
_AUTHORS_PHYSICS = "gym 0.21.0 v3 environments, mujoco-py 2.1.2.14"  # faithfulness 3.14


def open_runs(source="own", preset="quick", data="replica", logs="", workers=0):
    """A source of runs: :class:`OwnRuns` or :class:`AuthorsRuns`. ParameterError for an unknown name, ValueError for
    a device that is not there.

    ``preset``, ``data`` and ``workers`` (0: one per usable processor) matter to our own runs, ``logs`` to the authors'.
    """
    if source == "own":
        devices.chosen()  # a GPU that is not there is to be said before anything is trained
        return OwnRuns(preset, data, workers or usable_processors())
    if source == "authors":
        path = find_logs(logs)
        return AuthorsRuns(path, read_logs(path))
    raise ParameterError(f"unknown source of runs {source!r}; known: {', '.join(SOURCES)}")


@dataclass(frozen=True)
class OwnRuns:
    """Runs of this project's store under one preset, on one source of data."""

    preset: str
    data: str
    workers: int

    def prepare(self, name):
        """Have the data sets that artefact ``name`` wants: download official D4RL files that are not there yet."""
        prepare(load_preset(self.preset, load_artefact(name).algorithm)["datasets"], self.data, data_cache())

    def plan(self, name):
        """What artefact ``name`` needs, has and lacks: a text to print."""
        return PlanSummary(self._plan(name), self.workers)

    def train(self, name, shard=(0, 1), arms=(), stacked=False):
        """Train what is missing, of ``arms`` only if any are named; :func:`synthlib.study.engine.run_jobs` says how,
        and what is raised."""
        run_plan(make_plan(name, self.preset, self.data, arms), self.workers, shard, stacked)

    def report(self, name):
        """The :class:`~synthlib.report.report.Report` of what is done. RuntimeError when nothing is, or physics are
        mixed."""
        plan = self._plan(name)
        if plan.artefact.metric == "similarity":
            return SimilarityReport(runs_of_plan(plan), similarities_of_plan(plan, Store(store_root())))
        return Report(runs_of_plan(plan))

    def folder(self, name):
        """``outputs/<preset>/<artefact>``, with the source of data in the name unless it is the replica."""
        return _own_folder(self._plan(name))

    def limits(self):
        """Sentences on what these runs can and cannot show."""
        expect = presets()[self.preset]["expect"]
        lines = [f"Preset {self.preset} ({expect['time']}, {expect['disk']}) can show {expect['shows']}."]
        if parse_source(self.data).kind == "replica":
            lines.append("The data are a replica made by this project: scores must not be compared with the paper's.")
        return "\n".join(textwrap.fill(line, 110) for line in [*lines, _ONE_PRETRAINING])

    def pretraining_curves(self, name):
        """(figure, alt text) of the pre-training losses; RuntimeError when none was long enough to log one."""
        from synthlib.report.figures import learning_curves

        plan = self._plan(name)
        curves = _pretraining_losses(plan)
        arms = [arm for arm in plan.artefact.arms if arm in set(curves["arm"])]
        return learning_curves(curves, arms, values=["loss"], smoothing=1, xlabel="pre-training updates")

    def pretraining_ends(self, name):
        """By arm, where GPT-2's pre-training was left: ``updates`` and ``validation_loss`` (nat per token)."""
        store, ends = Store(store_root()), {}
        for cell in self._plan(name).cells:
            for pretraining in cell.job.requires:
                updates = cell.job.config["backbone"]["updates"]
                rows = store.losses(pretraining)
                seen = rows[rows["updates"] <= updates].get("validation_loss", pd.Series(dtype=float)).dropna()
                ends[cell.arm] = {"updates": updates, "validation_loss": seen.iloc[-1] if len(seen) else math.nan}
        return pd.DataFrame.from_dict(ends, orient="index")

    def _plan(self, name):
        return make_plan(name, self.preset, self.data)


@dataclass(frozen=True)
class AuthorsRuns:
    """The authors' own runs of the Decision Transformer, read from ``path``."""

    path: Path
    logs: pd.DataFrame

    def prepare(self, name):
        """Nothing to do: the logs are read."""

    def plan(self, name):
        artefact = load_artefact(name)
        chosen = evaluations_of(self.logs, artefact)
        runs = len(chosen[["arm", "dataset", "seed"]].drop_duplicates())
        return f"{name}: {artefact.title}\n  the authors' logs: {runs} runs, nothing to train"

    def train(self, name, shard=(0, 1), arms=(), stacked=False):
        """Nothing to do: these runs are finished."""

    def report(self, name):
        runs = runs_of_authors(load_artefact(name), self.logs)
        if runs.artefact.metric == "similarity":
            return SimilarityReport(runs, authors_similarities(runs.artefact.baseline))
        return Report(runs)

    def folder(self, name):
        return outputs() / "authors" / name

    def limits(self):
        return (
            "These are the runs that the paper was printed from, on the authors' machines, simulator and data files.\n"
            "They are scores and losses only: nothing can be trained further from them, and no CQL run is among them.\n"
        ) + _ONE_PRETRAINING


_ONE_PRETRAINING = (
    "Each pre-trained arm starts from one file of pre-trained weights: intervals are over fine-tuning seeds and say "
    "nothing about another pre-training seed."
)


def runs_of_plan(plan):
    """The plan's finished runs out of the store. RuntimeError when none is done."""
    store = Store(store_root())
    frames, records, missing = [], [], []
    for cell in plan.cells:
        if not store.is_done(cell.job):
            missing.append(f"{cell.arm}, {describe(cell.job)}")
            continue
        rows = store.evaluations(cell.job).rename(columns={"return_mean": "return"})
        losses = store.losses(cell.job)
        if (column := algorithm(plan.artefact.algorithm).plotted_loss) in losses:
            rows = rows.merge(losses[["updates", column]].rename(columns={column: "loss"}), on="updates", how="left")
        which = {"arm": cell.arm, "dataset": cell.dataset, "seed": cell.seed}
        frames.append(rows.assign(**which))
        records.append(
            which
            | {
                "run": cell.job.key,
                "physics": json.dumps(cell.job.config["physics"], sort_keys=True),
                "pretraining_updates": sum(job.updates for job in cell.job.requires),
            }
        )
    if not frames:
        name = plan.artefact.name
        raise RuntimeError(f"{name}, preset {plan.preset}: no run is done; make run-{name} PRESET={plan.preset}")
    kind = parse_source(plan.source).kind
    return Runs(
        artefact=plan.artefact,
        evaluations=pd.concat(frames, ignore_index=True),
        records=pd.DataFrame(records),
        source=kind,
        label=f"Preset {plan.preset}; {_LABELS[kind]}{_text_label(plan)}",
        folder=_own_folder(plan),
        missing=tuple(missing),
        provenance={
            "preset": plan.preset,
            "settings": plan.settings,
            "data_checksums": {cell.dataset: cell.job.config["dataset"]["checksum"] for cell in plan.cells},
            "report_made_with": _environment(),
        },
        reduced=_is_reduced(plan),
    )


def _is_reduced(plan):
    """Whether the plan's runs are smaller than the paper's, False for an algorithm that the paper does not have."""
    if not can_train("paper", plan.artefact.algorithm):
        return False
    full = load_preset("paper", plan.artefact.algorithm)
    return any(plan.settings[name] < full[name] for name in ("updates", "pretraining_scale") if name in full)


def runs_of_authors(artefact, logs):
    """The authors' runs behind ``artefact``; ValueError when their logs have none of an arm."""
    evaluations = evaluations_of(logs, artefact).rename(columns={"train_loss": "loss"})
    records = evaluations[["arm", "dataset", "seed"]].drop_duplicates()
    labels = labels_of(artefact)
    updates = {arm: pretraining_updates(artefact, arm) for arm in artefact.arms}
    records = records.assign(
        run=[folder_of_run(labels[row.arm], row.dataset, row.seed) for row in records.itertuples()],
        physics=_AUTHORS_PHYSICS,
        pretraining_updates=records["arm"].map(updates),
    )
    return Runs(
        artefact=artefact,
        evaluations=evaluations.drop(columns="train_seconds"),
        records=records.reset_index(drop=True),
        source="authors",
        label="The authors' own runs, from their public logs (github Victor-wang-902/rl_pretrain, table_generator)",
        folder=outputs() / "authors" / artefact.name,
        missing=(),
        provenance={"report_made_with": _environment()},
    )


def _text_label(plan):
    """What the plan's text arm read, as half a sentence; empty without one."""
    required = (job for cell in plan.cells for job in cell.job.requires)
    texts = {describe_pretraining(job.config) for job in required if "text" in job.config.get("data", {})}
    return "".join(f"; DT+Wiki pre-trained on {text}" for text in sorted(texts))


def _own_folder(plan):
    kind = parse_source(plan.source).kind
    return outputs() / plan.preset / (plan.artefact.name + ("" if kind == "replica" else f"-{kind}"))


def _environment():
    versions = {name: value for name, value in describe_environment().items() if name != "host"}
    versions["made"] = versions.pop("started")
    return versions


def _pretraining_losses(plan):
    """Long frame of the logged losses; ``dataset`` tells apart what has losses of its own scale.

    CQL: both critics summed, by pair of widths. DT: cross-entropy per token in nat, by size of the vocabulary.
    """
    store, frames = Store(store_root()), []
    for cell in plan.cells:
        for job in cell.job.requires:
            rows = store.losses(job)
            if rows.empty or cell.seed != plan.cells[0].seed:
                continue
            scale, loss = training(job).curve(job, rows)
            frames.append(rows[["updates"]].assign(loss=loss, arm=cell.arm, dataset=scale, seed=0, key=job.key))
    if not frames:
        raise RuntimeError("no pre-training of this plan is long enough to have logged a loss")
    return pd.concat(frames).dropna().drop_duplicates(["key", "updates", "dataset"])
