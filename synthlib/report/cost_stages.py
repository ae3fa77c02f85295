"""What each stage of the paper costs: minutes as printed, operations as counted, and hours as measured here.

A stage is a training of the paper's size: GPT-2's and the critics' pre-training, and the fine-tuning runs of Tables 12
and 14 on the four medium-expert data sets. Nothing is trained for this: an update is timed, and its time is multiplied.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from synthlib.cql import cost as cql_cost
from synthlib.dt import cost as dt_cost
from synthlib.dt.flops import plain_gpt2_update
from synthlib.machine.description import describe_environment
from synthlib.paper import paper_claims, paper_costs
from synthlib.report.figures import Drawing
from synthlib.report.palette import COLOURS
from synthlib.runs.job import Job
from synthlib.study.algorithms import algorithm, training
from synthlib.study.params import load_artefact
from synthlib.study.presets import load_preset
from synthlib.tasks import DATASETS

MEDIUM_EXPERT = [name for name in DATASETS if name.endswith("medium-expert")]
CHAIN_20K, CHAIN_80K, WIKIPEDIA = "GPT-2 on a chain, 20,000", "GPT-2 on a chain, 80,000", "GPT-2 on Wikipedia, 80,000"
CRITICS, CQL = "critics on an MDP, 100,000", "CQL, 1,000,000"
FINE_TUNINGS = ("DT", "DT+Wiki", "DT+Synthetic")  # the columns of Table 12
SECONDS_OF_AN_UPDATE: dict[str, Callable[[Job], float]] = {"dt": dt_cost.update_seconds, "cql": cql_cost.update_seconds}


@dataclass(frozen=True)
class Stage:
    """One training of the paper; ``jobs``: the same training for each of the four medium-expert data sets.

    Where one training serves all of them, such as GPT-2's, there is one job.
    """

    name: str
    minutes: float
    """Wall time as printed, the average over the data sets."""
    gpus: int
    """RTX 8000 that the printed time is of."""
    jobs: tuple[Job, ...]

    @property
    def operations(self) -> float:
        """Floating-point operations of the matrix products that are needed at least, the mean over data sets."""
        return float(np.mean([training(job).operations(job) for job in self.jobs]))

    @property
    def plain_operations(self) -> float | None:
        """Operations in a plain program, which also computes attention to the future; None for other than GPT-2's."""
        if self.jobs[0].kind != "gpt2_pretraining":
            return None
        (job,) = self.jobs
        return float(job.updates * plain_gpt2_update(job.config["gpt2"]["vocabulary"]))

    def hours(self) -> float:
        """Hours on this machine: a short measurement of one update times the number of updates, without evaluations."""
        return float(np.mean([hours_here(job) for job in self.jobs]))


def stages() -> dict[str, Stage]:
    """{name: stage} of everything whose time the paper prints, pre-training first."""
    printed = {number: paper_costs(number) for number in (12, 14)}
    average = {number: cells[cells["is_average"]].set_index("arm")["value"] for number, cells in printed.items()}
    (short, long), (whole, _) = minutes_in_text("dt-pretraining-time"), minutes_in_text("dt-pretraining-87-percent")
    dt, cql = _jobs("table1", FINE_TUNINGS), _jobs("table7", ("tau=1",))["tau=1"]
    (chain,), (text,) = (dt[arm][0].requires for arm in ("DT+Synthetic", "DT+Wiki"))
    critics = tuple(required for job in cql for required in job.requires)
    made = [
        Stage(CHAIN_20K, short, 2, (chain,)),
        Stage(CHAIN_80K, whole, 2, (replace(chain, updates=text.updates),)),
        Stage(WIKIPEDIA, long, 2, (text,)),
        *(Stage(f"{arm}, 100,000", average[12][arm], 1, dt[arm]) for arm in FINE_TUNINGS),
        Stage(CRITICS, average[14]["Synthetic Pre-training"], 1, critics),
        Stage(CQL, average[14]["Fine-tuning"], 1, cql),
    ]
    return {stage.name: stage for stage in made}


def minutes_in_text(claim: str) -> tuple[float, float]:
    """The two times in the paper's text, in minutes, that the claim with this id compares."""
    (found,) = (one for one in paper_claims() if one["id"] == claim)
    first, second = found["minutes"][0]["minutes"]
    return first, second


def _jobs(artefact: str, arms: Sequence[str]) -> dict[str, tuple[Job, ...]]:
    described = load_artefact(artefact)
    settings = load_preset("paper", described.algorithm)
    make = algorithm(described.algorithm).job
    return {arm: tuple(make(described.arms[arm], name, 42, settings, None) for name in MEDIUM_EXPERT) for arm in arms}


def hours_here(job: Job) -> float:
    """Hours of a job of the paper's size on this machine, from the measured time of one update."""
    return SECONDS_OF_AN_UPDATE[job.algorithm](job) * job.updates / 3600


def table(of: Mapping[str, Stage]) -> pd.DataFrame:
    """One row per stage: ``printed`` (hours times GPUs), ``operations``, ``rate`` (operations per second of a printed
    GPU) and ``here`` (hours on this machine, scaled)."""
    rows = {
        name: {
            "printed": stage.minutes * stage.gpus / 60,
            "operations": stage.operations,
            "rate": stage.operations / (60 * stage.minutes * stage.gpus),
            "here": stage.hours(),
        }
        for name, stage in of.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def as_text(costs: pd.DataFrame) -> pd.DataFrame:
    """:func:`table` to be displayed."""
    formats = {
        "printed, GPU hours": [hours_and_minutes(hours) for hours in costs["printed"]],
        "operations": [f"{value:.1e}" for value in costs["operations"]],
        "a second, printed": [f"{value:.1e}" for value in costs["rate"]],
        "here, scaled": [hours_and_minutes(hours) for hours in costs["here"]],
    }
    return pd.DataFrame(formats, index=costs.index)


def machine() -> str:
    """The processor of this machine, and the GPU where one was chosen."""
    facts = describe_environment()
    on = "" if facts["device"] == "cpu" else f", {facts['device']}"
    return f"{facts['processor']}{on}, torch {facts['torch']}"


def hours_and_minutes(hours: float) -> str:
    """Hours in words: "2 h 12 min", "4.1 min" below ten minutes, "126 h" from a hundred hours on."""
    if hours >= 100:
        return f"{hours:,.0f} h"
    minutes = 60 * hours
    if minutes < 10:
        return f"{minutes:.1f} min"
    whole = round(minutes)
    return f"{whole // 60} h {whole % 60:02d} min" if whole >= 60 else f"{whole} min"


def bars(costs: pd.DataFrame) -> Drawing:
    """The stages as bars on logarithmic scales: printed GPU hours, operations, hours here."""
    panels = {
        "printed": ("as printed, hours of an RTX 8000", hours_and_minutes),
        "operations": ("operations, at least", "{:.1e}".format),
        "here": ("this machine, one core, scaled: hours", hours_and_minutes),
    }
    figure, axes = plt.subplots(1, 3, figsize=(11, 0.42 * len(costs) + 1.2), sharey=True, layout="constrained")
    places = np.arange(len(costs))
    colours = [COLOURS[3] if name in (CHAIN_20K, CHAIN_80K, WIKIPEDIA, CRITICS) else COLOURS[0] for name in costs.index]
    words = []
    for axis, (column, (title, text)) in zip(axes, panels.items(), strict=True):
        values = costs[column]
        hatched = ["//" if colour == COLOURS[3] else "" for colour in colours]
        axis.barh(places, values, color=colours, hatch=hatched, edgecolor="white")
        axis.set_xscale("log")
        axis.set_xlim(values.min() / 3, values.max() * 30)
        for place, value in zip(places, values, strict=True):
            axis.text(value * 1.15, place, text(value), va="center", fontsize=8)
        axis.set_title(title, fontsize=10)
        words.append(f"{title}: " + ", ".join(f"{name} {text(value)}" for name, value in values.items()))
    axes[0].set_yticks(places, costs.index)
    axes[0].invert_yaxis()
    figure.supxlabel("Hatched: pre-training. Logarithmic scales.", fontsize=8)
    sns.despine(figure)
    return figure, f"Cost of every stage. {'; '.join(words)}."


def beside_table_12(of: Mapping[str, Stage], logged: pd.DataFrame) -> pd.DataFrame:
    """Table 12 (rows) by arm: as printed, the authors' logs (mean ± sd over seeds), and here, scaled."""
    cells = paper_costs(12)
    hours = logged.set_index(["arm", "dataset"])
    rows: dict[Any, dict[str, str]] = {}
    for place, dataset in enumerate([*MEDIUM_EXPERT, "average"]):
        average = dataset == "average"
        printed = cells[cells["is_average"]] if average else cells[cells["dataset"] == dataset]
        minutes = printed.set_index("arm")["value"]
        for arm in FINE_TUNINGS:
            here = [hours_here(job) for job in of[f"{arm}, 100,000"].jobs]
            if average:
                theirs = f"{hours.loc[arm].loc[MEDIUM_EXPERT, 'mean'].mean():.1f} h"
            else:
                theirs = "{mean:.1f} ± {std:.1f} h ({n:.0f})".format(**hours.loc[arm, dataset])
            rows[dataset, arm] = {
                "printed": hours_and_minutes(minutes[arm] / 60),
                "authors' logs": theirs,
                "here, scaled": hours_and_minutes(float(np.mean(here)) if average else here[place]),
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def beside_table_14(of: Mapping[str, Stage]) -> pd.DataFrame:
    """Table 14 (rows) by stage: as printed, and here, scaled."""
    cells = paper_costs(14)
    rows: dict[Any, dict[str, str]] = {}
    for place, dataset in enumerate([*MEDIUM_EXPERT, "average"]):
        average = dataset == "average"
        minutes = (cells[cells["is_average"]] if average else cells[cells["dataset"] == dataset]).set_index("arm")
        for arm, name in (("Synthetic Pre-training", CRITICS), ("Fine-tuning", CQL)):
            here = [hours_here(job) for job in of[name].jobs]
            rows[dataset, arm] = {
                "printed": hours_and_minutes(minutes.loc[arm, "value"] / 60),
                "here, scaled": hours_and_minutes(float(np.mean(here)) if average else here[place]),
            }
    return pd.DataFrame.from_dict(rows, orient="index")
