"""The kinds of figures that a description under ``figures:`` in params/ can name.

Every function returns (figure, alt text). Which evaluations are used, what is averaged and what is shifted is written
under the figure itself. Averages over data sets, the moving average of five evaluations and the shift of a pre-trained
arm by its pre-training updates are the paper's (faithfulness 9.3). The paper smooths losses too; we do not.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import seaborn as sns

from synthlib.report.figures import COLOURS, Drawing, arm_styles, count_in_thousands, finish, panels_in_a_grid
from synthlib.study.sizes import with_size

if TYPE_CHECKING:
    from synthlib.report.report import Report

SMOOTHING = 5  # evaluations in the paper's moving average (faithfulness 9.3)
_LABELS = {"score": "normalised score", "loss": "training loss"}
# Panels as in Figures 3-6 and 9: a row per environment, a column per kind of data.
_PANEL_ORDER = [
    f"{environment}-{kind}"
    for environment in ("hopper", "walker2d", "halfcheetah", "ant")
    for kind in ("medium", "medium-replay", "medium-expert")
]
Panels = dict[str, dict[str, str]]  # {title of a panel: {name in the figure: arm}}


def described_figure(description: dict[str, Any], report: Report) -> Drawing:
    """The figure that an entry under ``figures:`` in params/ describes, drawn from the runs of ``report``.

    kind curves: ``values`` (score, loss) ``over`` average or datasets. ``arms`` are names, or {name in the figure:
    arm}; all by default. The arms in ``shift`` are moved right by their pre-training updates. kind shares: score after
    ``shares`` of the fine-tuning updates. kind data: final score by share of the data. These two have ``panels``,
    {title: {name in the figure: arm}}. kind similarity: :func:`similarity_bars` of all arms. Raises ValueError for
    another kind.
    """
    options = dict(description)
    kind = options.pop("kind")
    if kind == "curves":
        chosen = options.pop("arms", list(report.artefact.arms))
        names = chosen if isinstance(chosen, dict) else {arm: arm for arm in chosen}
        records = report.runs.records.groupby("arm")["pretraining_updates"].max()
        moved = {name: names[name] for name in options.pop("shift", [])}
        shift = {name: int(records.get(arm, 0)) for name, arm in _labels(moved, report).items()}
        evaluations, names = report.runs.evaluations, _labels(names, report)
        parts = [evaluations[evaluations["arm"] == arm].assign(arm=name) for name, arm in names.items()]
        curves = pd.concat(parts, ignore_index=True)
        notes = [f"{said}." for arms, said in report.runs.unequal.items() if set(arms) <= set(names.values())]
        if apart := _without_common_updates(curves, shift):
            shift, notes = {}, [*notes, apart]
        return learning_curves(curves, list(names), shift=shift, remarks=notes, **options)
    if "panels" in options:
        options["panels"] = {title: _labels(names, report) for title, names in options["panels"].items()}
    if kind == "shares":
        return scores_at_shares(report.runs.evaluations, **options)
    if kind == "data":
        return scores_by_data(report.averages_by_data_ratio(), **options)
    if kind == "similarity":
        return similarity_bars(report.cells, list(report.artefact.arms))
    raise ValueError(f"unknown kind of figure {kind!r}; known: curves, shares, data, similarity")


def _labels(names: dict[str, str], report: Report) -> dict[str, str]:
    """{name in a figure: arm}, with the updates that were run where a name says another number."""
    whole = {base: arm for arm, (base, _) in report.artefact.ratios.items()}  # arms repeated on parts of the data
    sizes = report.runs.sizes
    return {with_size(name, sizes.get(whole.get(arm, arm), {})): arm for name, arm in names.items()}


def _without_common_updates(curves: pd.DataFrame, shift: dict[str, int]) -> str:
    """A sentence that refuses to shift curves of which some would begin where others have ended; "" otherwise."""
    ends = curves.groupby("arm")["updates"].max()
    shortest = ends.drop(list(shift), errors="ignore").min()
    apart = {arm: updates for arm, updates in shift.items() if arm in ends.index and updates >= shortest}
    if not apart:
        return ""
    moved = ", ".join(f"{arm} {updates:,}" for arm, updates in apart.items())
    return (
        f"Not shifted by the updates of pre-training ({moved}): other curves end after {shortest:,}, and none would be "
        "left to compare at equal numbers of updates."
    )


def learning_curves(
    evaluations: pd.DataFrame,
    arms: Sequence[str],
    values: Sequence[str] = ("score",),
    over: str = "datasets",
    shift: dict[str, int] | None = None,
    smoothing: int = SMOOTHING,
    xlabel: str = "fine-tuning updates",
    remarks: Sequence[str] = (),
) -> Drawing:
    """Curves over evaluations, mean over seeds, shaded by one standard error.

    Scores are moving averages over ``smoothing`` evaluations. Losses are drawn as they are: a loss falls so steeply at
    first that a moving average shows a kink where its first value leaves the window.

    ``evaluations``: long frame with arm, dataset, seed, updates and each of ``values``. ``over`` "datasets": a panel
    per data set; "average": a panel per value, the mean over data sets. ``shift``: {arm: updates} to the right.
    ``remarks``: sentences that are added to the note under the figure.
    """
    shift = shift or {}
    there = sorted(evaluations["dataset"].unique(), key=lambda name: [*_PANEL_ORDER, name].index(name))
    panels = [(value, [dataset]) for value in values for dataset in there]
    if over == "average":
        panels = [(value, there) for value in values]
    styles, ends = arm_styles(arms), []
    xlabel = "updates, pre-training of shifted arms included" if shift else xlabel
    figure, axes = panels_in_a_grid(len(panels))
    for axis, (value, datasets) in zip(axes, panels, strict=True):
        for arm in arms:
            window = smoothing if value == "score" else 1
            curve = _curve(evaluations[evaluations["arm"] == arm], value, datasets, window)
            if curve is None:
                continue
            x, mean, error = curve[0] + shift.get(arm, 0), curve[1], curve[2]
            every = max(len(x) // 8, 1)
            axis.plot(x, mean, label=arm, markevery=every, markersize=5, linewidth=1.4, **styles[arm])
            axis.fill_between(x, mean - error, mean + error, color=styles[arm]["color"], alpha=0.15, linewidth=0)
            ends.append(f"{_panel_title(value, datasets, over)} {arm} {mean[-1]:.3g}")
        axis.set_title(_panel_title(value, datasets, over), fontsize=10)
        axis.set_xlabel(xlabel)
        axis.set_ylabel(_LABELS[value])
        count_in_thousands(axis)
    smoothed = {
        "score": f"scores are moving averages of {smoothing} evaluations, fewer at the start",
        "loss": "losses are not smoothed",
    }
    note = [f"Mean over seeds, shade one standard error; {'; '.join(smoothed[value] for value in values)}."]
    if over == "average":
        note.append(f"Mean over {len(there)} data set{'s' if len(there) > 1 else ''}.")
    moved = ", ".join(f"{arm} by {updates:,}" for arm, updates in shift.items())
    note += [f"Shifted right by pre-training updates: {moved}."] if moved else []
    note += remarks
    finish(figure, axes, " ".join(note))
    return figure, f"Curves against {xlabel}. {' '.join(note)} At the end: {'; '.join(ends)}."


def scores_at_shares(evaluations: pd.DataFrame, shares: Sequence[float], panels: Panels) -> Drawing:
    """Mean score over data sets after each share of the fine-tuning updates, one panel per group of arms."""
    evaluated = np.sort(evaluations["updates"].unique())
    # The first evaluation at or after each share; small presets have fewer evaluations than shares.
    positions = np.searchsorted(evaluated, np.asarray(shares) * evaluated[-1] - 1e-9)
    at = np.unique(evaluated[positions])
    means = evaluations[evaluations["updates"].isin(at)].groupby(["arm", "updates", "dataset"])["score"].mean()
    means = means.groupby(["arm", "updates"]).mean().unstack("updates")
    note = "Mean over seeds and data sets of the single evaluation at these fine-tuning updates; no moving average."
    return _grouped_lines(means, panels, "fine-tuning updates", note)


def scores_by_data(averages: pd.DataFrame, panels: Panels) -> Drawing:
    """Mean final score over data sets against the share of the data, one panel per group of arms.

    ``averages``: rows of ``arm, data_ratio, mean, n``, one per arm and share of the data.
    """
    means = averages.pivot(index="arm", columns="data_ratio", values="mean")
    seeds = averages.groupby("data_ratio")["n"].min().groupby(lambda ratio: ratio == 1).min()
    counted = "; ".join(f"{n:.0f} seeds on {'all' if whole else 'parts'} of the data" for whole, n in seeds.items())
    note = f"Mean over data sets of the final score (last four evaluations of each run); {counted}."
    return _grouped_lines(means, panels, "share of the fine-tuning data", note)


def similarity_bars(averages: pd.DataFrame, arms: Sequence[str]) -> Drawing:
    """Figure 12: cosines of weights and of features by arm, a bar per pair of stages that is compared.

    ``averages``: rows of ``arm, of, between, mean, low, high``. A row that is not there has no bar.
    """
    figure, axes = panels_in_a_grid(2)
    there, words = list(dict.fromkeys(averages["between"])), []
    alone = averages.groupby("arm")["between"].nunique().reindex(arms).to_numpy() == 1
    for axis, quantity in zip(axes, ("weights", "features"), strict=True):
        for place, between in enumerate(there):
            rows = averages[(averages["of"] == quantity) & (averages["between"] == between)]
            rows = rows.set_index("arm").reindex(arms)
            spread = [rows["mean"] - rows["low"], rows["high"] - rows["mean"]]
            x = np.arange(len(arms)) + np.where(alone, 0, 0.4 * (place - (len(there) - 1) / 2))
            style = {"color": COLOURS[place], "hatch": ("", "//")[place], "edgecolor": "white", "ecolor": "0.2"}
            axis.bar(x, rows["mean"], 0.38, yerr=spread, capsize=2, label=between, **style)
            words += [f"{quantity} {between} {arm} {mean:.3f}" for arm, mean in rows["mean"].dropna().items()]
        axis.set_xticks(range(len(arms)), arms, rotation=40, ha="right", fontsize=8)
        axis.set_ylabel(f"cosine of {quantity}")
    finish(figure, axes, "PT: after pre-training, RI: random initialisation, FT: after fine-tuning. Lines: 95 %.")
    return figure, f"Cosine similarities by arm: {'; '.join(words)}."


def _grouped_lines(means: pd.DataFrame, panels: Panels, xlabel: str, note: str) -> Drawing:
    """Lines of ``means`` (rows arms, columns x). An arm has one style in all panels; each panel gives it a name."""
    shown = list(dict.fromkeys(arm for names in panels.values() for arm in names.values()))
    styles, ends = arm_styles(shown), []
    figure, axes = panels_in_a_grid(len(panels), sharey=True)
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        for name, arm in names.items():
            if arm in means.index:
                line = means.loc[arm].dropna()
                axis.plot(line.index, line, label=name, markersize=5.5, linewidth=1.4, **styles[arm])
                ends.append(f"{title}: {name} {line.iloc[-1]:.1f}")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(xlabel)
        axis.set_ylabel("normalised score")
        axis.legend(fontsize=8, frameon=False)
        count_in_thousands(axis)
    figure.supxlabel(textwrap.fill(note, 40 * max(len(axes), 2)), fontsize=8)
    sns.despine(figure)
    return figure, f"Scores against {xlabel}. {note} At the end: {'; '.join(ends)}."


def _curve(
    runs: pd.DataFrame, value: str, datasets: Iterable[str], smoothing: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(updates, mean, standard error) of an arm over ``datasets``; the error of one seed alone is 0.

    None when a data set has no ``value``.
    """
    means, variances = [], []
    for dataset in datasets:
        chosen = runs[runs["dataset"] == dataset]
        if value not in chosen or chosen[value].isna().all():
            return None
        curves = chosen.pivot(index="updates", columns="seed", values=value).rolling(smoothing, min_periods=1).mean()
        means.append(curves.mean(axis=1))
        variances.append(curves.var(axis=1).fillna(0) / curves.count(axis=1))
    mean = sum(means) / len(means)
    error = np.sqrt(sum(variances)) / len(means)
    return mean.index.to_numpy(), mean.to_numpy(), error.to_numpy()


def _panel_title(value: str, datasets: Sequence[str], over: str) -> str:
    return _LABELS[value] if over == "average" else datasets[0]
