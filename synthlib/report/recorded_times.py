"""The times that finished and unfinished trainings keep: of all in the store and in the published records.

A training says what it took since :mod:`synthlib.runs.stopwatch` is there. Older ones are "not recorded".
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from synthlib.cql.agent import CQLConfig
from synthlib.dt.finetuning import DTTrainingConfig
from synthlib.dt.model import DTConfig
from synthlib.machine.files import read_json
from synthlib.report.comparisons import ratio
from synthlib.report.verdicts import MINIMUM_SEEDS
from synthlib.runs.progress import read_or_say
from synthlib.runs.session import known_environment
from synthlib.runs.store import Store, folders_in, spent_in, updates_in
from synthlib.tasks import environment_of

GPT2, DT, CRITICS, CQL = "GPT-2 pre-training", "DT fine-tuning", "critic pre-training", "CQL fine-tuning"
PAPER_UPDATES = {GPT2: 80_000, DT: 100_000, CRITICS: 100_000, CQL: 1_000_000}
SECONDS = ["wall", "processor"]
LONG_ENOUGH = 60  # seconds; of a shorter training much is loading and compiling
_ARMS = {"DT": "DT", "DT+Wiki": "k-means", "DT+Synthetic": "pre-trained"}  # column of Table 12 -> ``arm`` of a training


def recorded(store: Store) -> pd.DataFrame:
    """One row per training that has made an update, in the store or else in the records.

    Columns: ``stage``, ``size`` (what an update's time depends on), ``arm`` (for the Decision Transformer: DT,
    pre-trained, or with the k-means term), ``environment``, ``is_papers_size``, ``key``, ``updates``; ``wall`` and
    ``processor``, seconds per update without evaluations; ``evaluations``, their share of the wall time; ``machine``,
    the processors and the device. The numbers are NaN where the training is older than this record, or took no time.
    """
    folders: dict[tuple[str, str], Path] = {}
    for root in (store.root, store.records):
        for folder in folders_in(root):
            if updates_in(folder) and isinstance(read_or_say(folder / "config.json"), dict):
                folders.setdefault((folder.parent.name, folder.name), folder)
    columns = ["stage", "size", "arm", "environment", "is_papers_size", "key", "updates", *SECONDS, "evaluations"]
    rows = [_row(folder) for (kind, _), folder in folders.items() if kind in _DESCRIBED]
    return pd.DataFrame(rows, columns=[*columns, "machine"])


def _row(folder: Path) -> dict[str, Any]:
    config = read_json(folder / "config.json")
    row = _DESCRIBED[config["kind"]](config) | {"key": folder.name, "updates": updates_in(folder)}
    row["machine"] = _machine(known_environment(folder))
    updates, spent = spent_in(folder) or (0, None)
    if spent is not None and updates and spent.wall_seconds > 0:
        row |= {
            "wall": spent.update_wall_seconds / updates,
            "processor": spent.update_processor_seconds / updates,
            "evaluations": spent.evaluation_wall_seconds / spent.wall_seconds,
        }
    return row


def _machine(environment: dict[str, Any]) -> str:
    places = [environment, *environment.get("continued", [])]
    names = [
        place["processor"] if place.get("device", "cpu") == "cpu" else f"{place['device']} ({place['processor']})"
        for place in places
        if "processor" in place
    ]
    return "; ".join(dict.fromkeys(names))


def _gpt2(config: dict[str, Any]) -> dict[str, Any]:
    gpt2 = config["gpt2"]
    size = f"{gpt2['vocabulary']:,} tokens, {gpt2['batch_size']} x {gpt2['sequence_length']:,} an update"
    networks = gpt2["width"], gpt2["layers"]
    papers = networks == (128, 3) and gpt2["batch_size"] * gpt2["sequence_length"] == 64 * 1024
    return _described(GPT2, size, "", "", papers and gpt2["vocabulary"] in (100, 50_257))


def _dt(config: dict[str, Any]) -> dict[str, Any]:
    environment = environment_of(config["dataset"]["name"])
    arm = "k-means" if config["training"]["cluster_weight"] else "pre-trained" if config["backbone"] else "DT"
    model, batch = config["model"], config["training"]["batch_size"]
    usual = {"width": DTConfig.width, "layers": DTConfig.layers, "batch": DTTrainingConfig.batch_size}
    own = {"width": model["width"], "layers": model["layers"], "batch": batch}
    size = f"{environment}, {arm}" + ("" if own == usual else f", {_in_words(own)}")
    return _described(DT, size, arm, environment, own == usual and "context" not in model)


def _critics(config: dict[str, Any]) -> dict[str, Any]:
    hidden = tuple(config["hidden"])
    usual = hidden == CQLConfig.hidden
    size = f"{config['observation_width']} + {config['action_width']} inputs" + ("" if usual else f", {hidden}")
    return _described(CRITICS, size, "", "", usual)


def _cql(config: dict[str, Any]) -> dict[str, Any]:
    environment, cql = environment_of(config["dataset"]["name"]), config["cql"]
    usual = {"hidden": list(CQLConfig.hidden), "sampled_actions": CQLConfig.sampled_actions}
    own = {"hidden": list(cql["hidden"]), "sampled_actions": cql["sampled_actions"]}
    size = environment + ("" if own == usual else f", {_in_words(own)}")
    return _described(CQL, size, "", environment, own == usual)


_DESCRIBED = {"gpt2_pretraining": _gpt2, "dt": _dt, "critic_pretraining": _critics, "cql": _cql}


def _described(stage: str, size: str, arm: str, environment: str, is_papers_size: bool) -> dict[str, Any]:
    return {
        "stage": stage,
        "size": size,
        "arm": arm,
        "environment": environment,
        "is_papers_size": is_papers_size,
    }


def _in_words(sizes: dict[str, Any]) -> str:
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in sizes.items())


class Share(NamedTuple):
    """What one arm needs of what another needs, with a 95 % interval where a spread is known (else NaN)."""

    value: float
    low: float = math.nan
    high: float = math.nan
    enough: bool = True
    """False for a share of runs that are too few for an interval."""


def share_of_cells(cells: pd.DataFrame, arm: str, baseline: str) -> Share | None:
    """The mean of ``arm`` over data sets divided by the mean of ``baseline``; None without a common data set.

    ``cells``: rows of ``arm, dataset, mean, std, n``. With fewer than three seeds in a cell there is no interval.
    """
    columns = [cells[cells["arm"] == name].set_index("dataset")[["mean", "std", "n"]] for name in (arm, baseline)]
    pairs = columns[0].join(columns[1].add_prefix("baseline_"), how="inner").reset_index()
    if pairs.empty:
        return None
    enough = pairs[["n", "baseline_n"]].min(axis=None) >= MINIMUM_SEEDS
    if enough:
        return Share(*ratio(pairs))
    return Share(pairs["mean"].mean() / pairs["baseline_mean"].mean(), enough=False)


def comparable(times: pd.DataFrame, stage: str) -> pd.DataFrame:
    """The trainings of a stage that recorded their time, make updates of the paper's size, and took long enough."""
    of_stage = times[(times["stage"] == stage) & times["is_papers_size"]].dropna(subset="wall")
    return of_stage[of_stage["wall"] * of_stage["updates"] >= LONG_ENOUGH]


def share_of_arms(times: pd.DataFrame, arm: str, baseline: str) -> Share | None:
    """The share of an update's wall time in trainings of the Decision Transformer, on equal robots and processors.

    ``arm`` and ``baseline``: columns of Table 12. ``times``: of :func:`recorded`. None where an arm has no recorded
    time of :func:`comparable` trainings.
    """
    usable = comparable(times, DT)
    if usable.empty:
        return None
    grouped = usable.groupby(["arm", "environment", "machine"])["wall"]
    cells = grouped.agg(mean="mean", n="size").assign(std=grouped.std(ddof=0)).reset_index()
    cells["dataset"] = cells["environment"] + " on " + cells["machine"]
    return share_of_cells(cells, _ARMS[arm], _ARMS[baseline])


def summary(times: pd.DataFrame) -> pd.DataFrame:
    """The recorded times by stage, size and machine, as text; empty where no training has any.

    ``times``: of :func:`recorded`. Seconds an update: mean ± sd over trainings, and from least to most. Hours: the
    paper's number of updates at this rate, scaled and not run; "-" where some training is not :func:`comparable`.
    """
    rows = {}
    for (stage, size, machine), group in times.dropna(subset="wall").groupby(["stage", "size", "machine"], sort=False):
        wall, updates = group["wall"], PAPER_UPDATES[stage]
        rows[stage, size, machine] = {
            "n": f"{len(group)}",
            "updates of one": _span(group["updates"]),
            "wall s/update": f"{wall.mean():.4f} ± {wall.std(ddof=0):.4f} [{wall.min():.4f}, {wall.max():.4f}]",
            "processor s/update": f"{group['processor'].mean():.4f}",
            "evaluations' share": f"{group['evaluations'].mean():.0%}",
            "scaled to the paper": f"{wall.mean() * updates / 3600:.1f} h for {updates:,}"
            if len(comparable(group, stage)) == len(group)
            else "-",
        }
    if not rows:
        return pd.DataFrame()
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["stage", "size", "processor"])


def coverage(times: pd.DataFrame) -> str:
    """How many trainings have a time and how many were made before times were kept, in a sentence."""
    known = int(times["wall"].notna().sum())
    return f"{known} of {len(times)} trainings have their time; of the other {len(times) - known} it is not recorded."


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
