"""The finished runs of a plan, out of the store, with the words on where they come from."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from synthlib.dt.pretraining_jobs import describe_pretraining
from synthlib.machine.description import describe_environment
from synthlib.offline.finetuning import reference_of
from synthlib.offline.sources import DIGITS, DataSource, folder_suffix, parse_source
from synthlib.paths import outputs, store_root
from synthlib.report.q_values import logged_q_values
from synthlib.report.runs import Runs
from synthlib.runs.session import known_environment
from synthlib.runs.store import Store
from synthlib.study.algorithms import algorithm, describe
from synthlib.study.figures import name_in_figure
from synthlib.study.plan import Plan, make_plan
from synthlib.study.presets import can_train, load_preset, presets
from synthlib.study.sizes import run_sizes, unequal_totals
from synthlib.tasks import environment_of

_DATA_LABELS = {
    "replica": "replica data (D4RL's recipe, made by this project; scores are not comparable with the paper's)",
    "d4rl": "official D4RL v2 data",
    "path": "the user's own files in D4RL's layout, in {folder} (SHA-256 {checksums})",
}


def runs_of_plan(plan: Plan) -> Runs:
    """The finished runs of a plan, out of the store. RuntimeError when no run is done."""
    store = Store(store_root())
    frames, records, missing = [], [], []
    for cell in plan.cells:
        if not store.is_done(cell.job):
            missing.append(f"{name_in_figure(plan.artefact, cell.arm)}, {describe(cell.job)}")
            continue
        rows = store.evaluations(cell.job).rename(columns={"return_mean": "return"})
        losses = store.losses(cell.job)
        if (column := algorithm(plan.artefact.algorithm).plotted_loss) in losses:
            rows = rows.merge(losses[["updates", column]].rename(columns={column: "loss"}), on="updates", how="left")
        which: dict[str, Any] = {"arm": cell.arm, "dataset": cell.dataset, "seed": cell.seed}
        frames.append(rows.assign(**which))
        records.append(
            which
            | {
                "environment": environment_of(cell.dataset),
                "run": cell.job.key,
                "physics": json.dumps(cell.job.config["physics"], sort_keys=True),
                "pretraining_updates": sum(job.updates for job in cell.job.requires),
            }
        )
    if not frames:
        name = plan.artefact.name
        raise RuntimeError(f"{name}, preset {plan.preset}: no run is done; make run-{name} PRESET={plan.preset}")
    data, checksums = _source_of(plan), _checksums(plan)
    return Runs(
        artefact=plan.artefact,
        evaluations=pd.concat(frames, ignore_index=True),
        records=pd.DataFrame(records),
        data=data.kind,
        label=f"Preset {plan.preset}; {_data_label(data, checksums)}"
        + "".join(words(plan) for words in (_reference_label, _text_label, _device_label)),
        folder=own_folder(plan),
        missing=tuple(missing),
        provenance={
            "preset": plan.preset,
            "settings": plan.settings,
            "data": data.label,
            "data_checksums": checksums,
            "report_made_with": environment(),
        },
        reduced=_is_reduced(plan),
        sizes=run_sizes(plan),
        unequal=unequal_totals(plan),
        paper_updates=_paper_updates(plan),
        q_values=logged_q_values(plan, store) if plan.artefact.q_values else None,
    )


def larger_runs(plan: Plan) -> Iterator[Runs]:
    """Finished runs of the plan's artefact under presets with more updates, on the same kind of data."""
    name, kind = plan.artefact.name, plan.artefact.algorithm
    for preset in presets():
        if can_train(preset, kind) and load_preset(preset, kind)["updates"] > plan.settings["updates"]:
            try:
                larger = make_plan(name, preset, plan.source)
            except FileNotFoundError:  # a folder of the user's own need not have the data of every preset
                continue
            if any(Store(store_root()).is_done(cell.job) for cell in larger.cells):
                yield runs_of_plan(larger)


def _paper_updates(plan: Plan) -> int | None:
    """How many updates of fine-tuning the paper makes; None for an algorithm that the paper does not have."""
    kind = plan.artefact.algorithm
    return load_preset("paper", kind)["updates"] if can_train("paper", kind) else None


def _is_reduced(plan: Plan) -> bool:
    """Whether the plan's runs are smaller than the paper's; False for an algorithm that the paper does not have."""
    if not can_train("paper", plan.artefact.algorithm):
        return False
    full = load_preset("paper", plan.artefact.algorithm)
    return any(plan.settings[name] < full[name] for name in ("updates", "pretraining_scale") if name in full)


def _text_label(plan: Plan) -> str:
    """What the plan's text arm read, as half a sentence; empty without such an arm."""
    required = (job for cell in plan.cells for job in cell.job.requires)
    texts = {describe_pretraining(job.config) for job in required if "text" in job.config.get("data", {})}
    return "".join(f"; DT+Wiki pre-trained on {text}" for text in sorted(texts))


def _reference_label(plan: Plan) -> str:
    """Which returns the user's own files beside the data score by, as half a sentence; empty without such a file."""
    given = {cell.dataset: one for cell in plan.cells if (one := reference_of(cell.job.config)) is not None}
    words = "; ".join(f"{name}: {low:g} scores 0 and {high:g} scores 100" for name, (low, high) in given.items())
    return f"; by the reference returns beside the data {words}" if words else ""


def _device_label(plan: Plan) -> str:
    """How many of the runs were made on which GPU, as half a sentence; empty where no run is known to be of one."""
    store = Store(store_root())
    done = {cell.job.key: store.finished(cell.job) for cell in plan.cells if store.is_done(cell.job)}
    devices = Counter(known_environment(folder).get("device", "cpu") for folder in done.values())
    devices.pop("cpu", None)
    return "".join(f"; {count} of {len(done)} runs on {name}" for name, count in sorted(devices.items()))


def _data_label(data: DataSource, checksums: dict[str, str]) -> str:
    """Which data the runs were trained on, as half a sentence."""
    digits = ", ".join(f"{name} {checksum[:DIGITS]}" for name, checksum in checksums.items())
    return _DATA_LABELS[data.kind].format(folder=data.folder, checksums=digits)


def own_folder(plan: Plan) -> Path:
    """``outputs/<preset>/<artefact>``; its name says which data, unless the replica, and which part of the table."""
    suffix = folder_suffix(_source_of(plan), list(_checksums(plan).values()))
    return outputs() / plan.preset / f"{plan.artefact.name}{suffix}{plan.selection.suffix}"


def _checksums(plan: Plan) -> dict[str, str]:
    """{data set: SHA-256 of its content}."""
    return {cell.dataset: cell.job.config["dataset"]["checksum"] for cell in plan.cells}


def _source_of(plan: Plan) -> DataSource:
    if plan.source is None:
        raise ValueError(f"the plan of {plan.artefact.name} names no data: it has no runs to report")
    return parse_source(plan.source)


def environment() -> dict[str, Any]:
    """The machine and the packages that a report is made with."""
    versions = {name: value for name, value in describe_environment().items() if name != "host"}
    versions["made"] = versions.pop("started")
    return versions
