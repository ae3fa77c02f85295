"""What the critics of CQL say over a fine-tuning, beside the cap of safe Q (paper A.2, notebook 15).

Qmax is 100 times the largest reward of the data. With the discount 0.99 no sum of these rewards is above it. So a
critic whose mean lies above Qmax has diverged. Its numbers stay finite: Adam's steps are bounded, and so is the growth
of Q.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthlib.offline.datasets import cql_data
from synthlib.offline.identity import planned_data
from synthlib.report.figures import Drawing, count_in_thousands, finish, panels_in_a_grid
from synthlib.report.palette import arm_styles
from synthlib.report.statistics import RUN
from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.plan import Plan

if TYPE_CHECKING:
    from synthlib.report.report import Report

_COLUMNS = {"average_target_q": "mean", "largest_target_q": "largest", "above_cap": "above_cap"}
_PANELS = {
    "mean": "mean Q, % of Qmax",
    "largest": "largest Q of a minibatch, % of Qmax",
    "above_cap": "values above Qmax, %",
}


def logged_q_values(plan: Plan, store: Store) -> pd.DataFrame:
    """The Q values that the finished runs of ``plan`` logged, a row per run and logging interval.

    Columns ``arm, dataset, seed, updates``; ``mean`` and ``largest``, uncapped min(Q1-, Q2-) over a minibatch of next
    states; ``above_cap``, the share of the values above ``q_max``: all three means since the row before. Runs of code
    that did not log the last two have NaN there.
    """
    frames = []
    for cell in plan.cells:
        if store.is_done(cell.job):
            rows = store.losses(cell.job).reindex(columns=["updates", *_COLUMNS]).rename(columns=_COLUMNS)
            where: dict[str, Any] = {"arm": cell.arm, "dataset": cell.dataset, "seed": cell.seed}
            frames.append(rows.assign(**where, q_max=_q_max(cell.job)))
    return pd.concat(frames, ignore_index=True)


def _q_max(job: Job) -> float:
    return _q_max_of(**job.config["dataset"], **job.context, ratio=job.config["data_ratio"])


@lru_cache
def _q_max_of(name: str, checksum: str, source: str, ratio: float) -> float:
    return cql_data(planned_data(name, checksum, source), ratio).q_max


def by_run(values: pd.DataFrame) -> pd.DataFrame:
    """A row per run of :func:`logged_q_values`: ``arm, dataset, seed`` and what the run reached.

    ``mean`` and ``largest``: the greatest, as shares of Qmax. ``above_cap``: the share over the whole run. ``passed``:
    the updates after which the mean lay above Qmax for the first time, NaN if it never did. ``updates``: the run's
    length.
    """
    rows = values.assign(mean=values["mean"] / values["q_max"], largest=values["largest"] / values["q_max"])
    runs = rows.groupby(RUN, sort=False)
    found = runs.agg({"mean": "max", "largest": "max", "updates": "max"})
    found["above_cap"] = runs["above_cap"].agg(lambda shares: shares.mean(skipna=False))
    found["passed"] = rows[rows["mean"] > 1].groupby(RUN)["updates"].min().reindex(found.index)
    return found.reset_index()


def q_table(values: pd.DataFrame) -> pd.DataFrame:
    """:func:`by_run` as text, a row per arm: the greatest of its runs, and how many runs passed Qmax."""
    rows = {}
    for arm, runs in by_run(values).groupby("arm", sort=False):
        rows[arm] = {
            "runs": f"{len(runs)}",
            "greatest mean Q, % of Qmax": _per_cent(runs["mean"].max()),
            "largest Q, % of Qmax": _per_cent(runs["largest"].max()),
            "values above Qmax, %": _per_cent(runs["above_cap"].mean()),
            "runs whose mean passed Qmax": f"{runs['passed'].notna().sum()}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _per_cent(share: float) -> str:
    return "not logged" if np.isnan(share) else f"{100 * share:.3g}"


def finding(report: Report) -> str:
    """Sentences on whether Q passed Qmax in the runs of ``report``, and on what the cap did to their scores."""
    values = report.runs.q_values
    assert values is not None, "the artefact does not show Q values"
    runs = by_run(values)
    passed = runs[runs["passed"].notna()]
    highest = runs.loc[runs["mean"].idxmax()]
    sentences = [
        f"{len(passed)} of {len(runs)} runs have a mean Q above Qmax at some time; the highest mean is "
        f"{100 * highest['mean']:.3g} % of Qmax ({highest['arm']}, {highest['dataset']})."
    ]
    for arm, ours in passed.groupby("arm", sort=False):
        many = f"{len(ours)} runs, the first" if len(ours) > 1 else "1 run,"
        sentences.append(f"{arm}: {many} after {ours['passed'].min():,.0f} updates.")
    logged = runs.dropna(subset="above_cap")
    if logged.empty:
        sentences.append("How many values exceed the cap was not logged in these runs.")
    elif (logged["above_cap"] == 0).all():
        sentences.append(
            f"No value of a next state was above Qmax in the {len(logged)} runs that logged it. There the cap did "
            "nothing: an arm with the cap and the same arm without it are one run, to the bit."
        )
    else:
        shares = logged.groupby("arm", sort=False)["above_cap"].mean()
        sentences.append(
            f"Share of the values above Qmax: {'; '.join(f'{a} {_per_cent(s)} %' for a, s in shares.items())}."
        )
    sentences.append(f"These runs have {runs['updates'].max():,} of the paper's {report.runs.paper_updates:,} updates.")
    return "\n".join(sentences)


def q_figure(values: pd.DataFrame, arms: list[str]) -> Drawing:
    """Mean and largest Q in per cent of Qmax, and the share of the values above it: a row of panels per data set.

    Means over seeds; ``arms`` in the order of the legend. The scale is linear below 10 %, logarithmic above.
    """
    values = values.assign(
        mean=100 * values["mean"] / values["q_max"],
        largest=100 * values["largest"] / values["q_max"],
        above_cap=100 * values["above_cap"],
    )
    datasets, styles, ends = list(values["dataset"].unique()), arm_styles(arms), []
    figure, axes = panels_in_a_grid(len(_PANELS) * len(datasets))
    panels = [(dataset, column) for dataset in datasets for column in _PANELS]
    for axis, (dataset, column) in zip(axes, panels, strict=True):
        chosen = values[values["dataset"] == dataset].dropna(subset=column)
        for arm in [arm for arm in arms if arm in set(chosen["arm"])]:
            curve = chosen[chosen["arm"] == arm].groupby("updates")[column].mean()
            every = max(len(curve) // 8, 1)
            axis.plot(curve.index, curve, label=arm, markevery=every, markersize=5, linewidth=1.4, **styles[arm])
            ends.append(f"{dataset}, {_PANELS[column]}: {arm} {curve.iloc[-1]:.3g}")
        if column == "above_cap":
            axis.set_ylim(-0.05, max(1.0, 1.05 * chosen[column].max()))
        else:
            axis.axhline(100, color="0.3", linewidth=1, label="Qmax")
            axis.set_yscale("symlog", linthresh=10)
            axis.yaxis.set_major_formatter("{x:g}")
        axis.set_title(dataset, fontsize=10)
        axis.set_xlabel("fine-tuning updates")
        axis.set_ylabel(_PANELS[column])
        count_in_thousands(axis)
    note = "Uncapped min Q of the target networks at next states; means over seeds and over the updates between points."
    finish(figure, axes, note)
    return figure, f"Q values beside the cap of safe Q. {note} At the end: {'; '.join(ends)}."
