"""What the whole paper takes on one GPU: from measured rates where there are any, from the arithmetic where not.

The operations of a training are counted, and :mod:`synthlib.study.gpu_rates` says how many a second a card does.
Evaluations take place beside training, on the host's processors.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from synthlib.report.cost_stages import CHAIN_20K, CQL, CRITICS, WIKIPEDIA, Stage
from synthlib.runs.job import Job
from synthlib.study.algorithms import training
from synthlib.study.gpu_rates import H100_LIMIT, Rate

AIM_HOURS = 350


def hours(jobs: Sequence[Job], stages: Mapping[str, Stage], of: Mapping[str, Rate]) -> pd.DataFrame:
    """One row per kind of training, and their sum "total".

    Columns: ``trainings``; ``authors``, hours of an RTX 8000 at the printed time of an update (Tables 12 and 14, A.1);
    ``operations``; ``rate`` and ``hours`` on one GPU at this rate; ``source`` of the rate.
    """
    rows = pd.DataFrame([_row(job, stages) for job in jobs])
    table = rows.groupby("kind", sort=False).sum()
    table["rate"] = [of[kind].operations for kind in table.index]
    table["hours"] = table["operations"] / table["rate"] / 3600
    table["source"] = [of[kind].source for kind in table.index]
    table.loc["total"] = table.drop(columns=["rate", "source"]).sum()
    return table


def _row(job: Job, stages: Mapping[str, Stage]) -> dict[str, float | str]:
    stage = stages[_stage_of(job)]
    authors = stage.minutes / 60 * stage.gpus / stage.jobs[0].updates * job.updates
    return {"kind": job.kind, "trainings": 1, "authors": authors, "operations": float(training(job).operations(job))}


def _stage_of(job: Job) -> str:
    """The stage whose printed time is nearest to what a training does."""
    if job.kind == "gpt2_pretraining":
        return WIKIPEDIA if "text" in job.config["data"] else CHAIN_20K
    if job.kind == "dt":
        arm = "DT" if job.config["backbone"] is None else "DT+Wiki" if job.config["clusters"] else "DT+Synthetic"
        return f"{arm}, 100,000"
    return CQL if job.kind == "cql" else CRITICS


def as_text(table: pd.DataFrame) -> str:
    """The table of :func:`hours`, to be printed."""
    shown = pd.DataFrame(
        {
            "trainings": [f"{count:,.0f}" for count in table["trainings"]],
            "authors, RTX 8000 h": [f"{value:,.0f}" for value in table["authors"]],
            "operations": [f"{value:.1e}" for value in table["operations"]],
            "a second": ["" if pd.isna(rate) else f"{rate:.1e}" for rate in table["rate"]],
            "hours, one GPU": [f"{value:,.1f}" for value in table["hours"]],
            "rate": table["source"].fillna(""),
        },
        index=table.index,
    )
    return shown.to_string()


def sentences(table: pd.DataFrame) -> list[str]:
    """What the table of :func:`hours` says, and what the aim asks for."""
    operations, total = table.loc["total", "operations"], table.loc["total", "hours"]
    needed = operations / (3600 * AIM_HOURS)
    kinds = table.drop(index="total")
    guessed = kinds["source"].str.startswith("assumed")
    where = "All rates are assumed" if guessed.all() else "All rates are measured" if not guessed.any() else None
    aim = "" if guessed.any() else "Reached. " if total <= AIM_HOURS else "Missed. "
    where = where or f"Assumed: the rates of {', '.join(kinds.index[guessed])}; the others are measured"
    return [
        f"The whole paper, each training once: {operations:.1e} operations, at the authors' printed times "
        f"{table.loc['total', 'authors']:,.0f} hours of an RTX 8000. Here, on one GPU: {total:,.0f} hours. {where}.",
        f"The aim is {AIM_HOURS} hours on one H100. {aim}It asks for {needed:.1e} operations per second, "
        f"{needed / H100_LIMIT:.0%} of its float32 limit of {H100_LIMIT:.2g}.",
    ]
