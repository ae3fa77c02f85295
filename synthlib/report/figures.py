"""Figures that can be read without colour, saved as PNG and SVG with alt text.

Every function returns (figure, alt text). Which evaluations enter, what is averaged and what is shifted is written
under the figure itself. Averages over data sets, the moving average of five evaluations and the shift of a pre-trained
arm by its pre-training updates are the paper's (faithfulness 9.3).
"""

import itertools
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from synthlib.report.statistics import by_task, performance_profile

SMOOTHING = 5  # evaluations in the paper's moving average (faithfulness 9.3)
_MARKERS = "osD^vPX*<>hd"
# Seaborn's colour-blind palette without its pink and yellow, which are too light in grey, and three dark ones.
_COLOURS = [colour for i, colour in enumerate(sns.color_palette("colorblind")) if i not in (6, 8)]
_COLOURS += ["#1a1a1a", "#882255", "#6b2d0c"]
_DASHES = ["-", "--", "-.", ":"]
_LABELS = {"score": "normalised score", "loss": "training loss"}
# Panels as in Figures 3-6 and 9: a row per environment, a column per kind of data.
_PANEL_ORDER = [
    f"{environment}-{kind}"
    for environment in ("hopper", "walker2d", "halfcheetah", "ant")
    for kind in ("medium", "medium-replay", "medium-expert")
]


def arm_styles(arms):
    """One colour, marker and line style per arm, the same in every panel: {arm: plot keywords}."""
    styles = zip(itertools.cycle(_COLOURS), itertools.cycle(_MARKERS), itertools.cycle(_DASHES), strict=False)
    return {
        arm: {"color": colour, "marker": marker, "linestyle": dash}
        for arm, (colour, marker, dash) in zip(arms, styles, strict=False)
    }


def described(description, report):
    """The figure that an entry under ``figures:`` in params/ describes, of the runs of ``report``.

    kind curves: ``values`` (score, loss) ``over`` average or datasets, of ``arms`` (names, or {name in the figure:
    arm}; all by default), those in ``shift`` moved right by their pre-training updates. kind shares: score after
    ``shares`` of the fine-tuning updates. kind data: final score by share of the data. These two in ``panels``
    {title: {name in the figure: arm}}. kind similarity: :func:`similarity_bars` of all arms.
    """
    options = dict(description)
    kind = options.pop("kind")
    if kind == "curves":
        chosen = options.pop("arms", list(report.artefact.arms))
        names = chosen if isinstance(chosen, dict) else {arm: arm for arm in chosen}
        records = report.runs.records.groupby("arm")["pretraining_updates"].max()
        shift = {name: int(records.get(names[name], 0)) for name in options.pop("shift", [])}
        evaluations = report.runs.evaluations
        parts = [evaluations[evaluations["arm"] == arm].assign(arm=name) for name, arm in names.items()]
        return learning_curves(pd.concat(parts, ignore_index=True), list(names), shift=shift, **options)
    if kind == "shares":
        return scores_at_shares(report.runs.evaluations, **options)
    if kind == "data":
        return scores_by_data(report.cells[report.cells["dataset"] == report.average_name], **options)
    if kind == "similarity":
        return similarity_bars(report.cells, list(report.artefact.arms))
    raise ValueError(f"unknown kind of figure {kind!r}; known: curves, shares, data, similarity")


def learning_curves(
    evaluations,
    arms,
    values=("score",),
    over="datasets",
    shift=None,
    smoothing=SMOOTHING,
    xlabel="fine-tuning updates",
):
    """Moving averages over evaluations, mean over seeds, shaded by one standard error.

    ``evaluations``: long frame with arm, dataset, seed, updates and each of ``values``. ``over`` "datasets": a panel
    per data set; "average": a panel per value, the mean over data sets. ``shift``: {arm: updates} to the right.
    """
    shift = shift or {}
    there = sorted(evaluations["dataset"].unique(), key=lambda name: [*_PANEL_ORDER, name].index(name))
    panels = [(value, [dataset]) for value in values for dataset in there]
    if over == "average":
        panels = [(value, there) for value in values]
    styles, ends = arm_styles(arms), []
    figure, axes = _grid(len(panels))
    for axis, (value, datasets) in zip(axes, panels, strict=True):
        for arm in arms:
            curve = _curve(evaluations[evaluations["arm"] == arm], value, datasets, smoothing)
            if curve is None:
                continue
            x, mean, error = curve[0] + shift.get(arm, 0), curve[1], curve[2]
            every = max(len(x) // 8, 1)
            axis.plot(x, mean, label=arm, markevery=every, markersize=5, linewidth=1.4, **styles[arm])
            axis.fill_between(x, mean - error, mean + error, color=styles[arm]["color"], alpha=0.15, linewidth=0)
            ends.append(f"{_panel_title(value, datasets, over)} {arm} {mean[-1]:.3g}")
        axis.set_title(_panel_title(value, datasets, over), fontsize=10)
        axis.set_xlabel(xlabel if not shift else "updates, pre-training of shifted arms included")
        axis.set_ylabel(_LABELS[value])
        _count_in_thousands(axis)
    smoothed = f"moving average of {smoothing} evaluations, fewer at the start" if smoothing > 1 else "not smoothed"
    note = [f"Mean over seeds, shade one standard error; {smoothed}."]
    if over == "average":
        note.append(f"Mean over {len(there)} data set{'s' if len(there) > 1 else ''}.")
    moved = ", ".join(f"{arm} by {updates:,}" for arm, updates in shift.items())
    note.append(f"Shifted right by pre-training updates: {moved}." if moved else "")
    _finish(figure, axes, " ".join(note))
    return figure, f"Curves against {xlabel}. {' '.join(note)} At the end: {'; '.join(ends)}."


def _panel_title(value, datasets, over):
    return _LABELS[value] if over == "average" else datasets[0]


def scores_at_shares(evaluations, shares, panels):
    """Mean score over data sets after each share of the fine-tuning updates, one panel per group of arms."""
    evaluated = np.sort(evaluations["updates"].unique())
    # The first evaluation at or after each share; small presets have fewer evaluations than shares.
    positions = np.searchsorted(evaluated, np.asarray(shares) * evaluated[-1] - 1e-9)
    at = np.unique(evaluated[positions])
    means = evaluations[evaluations["updates"].isin(at)].groupby(["arm", "updates", "dataset"])["score"].mean()
    means = means.groupby(["arm", "updates"]).mean().unstack("updates")
    note = "Mean over seeds and data sets of the single evaluation at these fine-tuning updates; no moving average."
    return _grouped_lines(means, panels, "fine-tuning updates", note)


def scores_by_data(averages, panels):
    """Mean final score over data sets against the share of the data, one panel per group of arms.

    ``averages``: average cells whose arms are called "<arm> @ <share>".
    """
    names = averages["arm"].str.split(" @ ", expand=True)
    averages = averages.assign(arm=names[0], share=names[1].astype(float))
    means = averages.pivot(index="arm", columns="share", values="mean")
    seeds = averages.groupby("share")["n"].min().groupby(lambda share: share == 1).min()
    counted = "; ".join(f"{n:.0f} seeds on {'all' if whole else 'parts'} of the data" for whole, n in seeds.items())
    note = f"Mean over data sets of the final score (last four evaluations of each run); {counted}."
    return _grouped_lines(means, panels, "share of the fine-tuning data", note)


def performance_profiles(scores, arms):
    """Share of runs above each score, every data set weighing the same."""
    low, high = scores["score"].min(), scores["score"].max()
    thresholds = np.linspace(min(low, 0), high, 200)
    styles, halves = arm_styles(arms), []
    figure, (axis,) = _grid(1)
    for arm in [arm for arm in arms if arm in set(scores["arm"])]:
        tasks = by_task(scores, arm, list(scores.loc[scores["arm"] == arm, "dataset"].unique()))
        profile = performance_profile(tasks, thresholds)
        axis.plot(thresholds, profile, label=arm, markevery=20, markersize=5, linewidth=1.4, **styles[arm])
        halves.append(f"{arm} {thresholds[np.argmax(profile <= 0.5)]:.0f}")
    axis.set_xlabel("normalised score")
    axis.set_ylabel("share of runs above it")
    axis.set_title("performance profile", fontsize=10)
    note = "Every run of every data set, data sets weighing the same; higher is better."
    _finish(figure, [axis], note)
    return figure, f"Performance profiles. {note} Half of the runs lie above: {'; '.join(halves)}."


def differences(comparisons, arms, title):
    """Average differences with their 95 % intervals, one row per arm, a marker per baseline (a forest plot)."""
    baselines = list(dict.fromkeys(comparisons["baseline"]))
    styles = arm_styles(baselines)
    figure, axis = plt.subplots(figsize=(7.5, 0.55 * len(arms) + 1.9), layout="constrained")
    words = []
    for place, baseline in enumerate(baselines):
        rows = comparisons[comparisons["baseline"] == baseline].set_index("arm")
        for height, arm in enumerate(arms):
            if arm not in rows.index:
                continue
            row = rows.loc[arm]
            y = height + 0.22 * (place - (len(baselines) - 1) / 2)
            spread = [[row["difference"] - row["low"]], [row["high"] - row["difference"]]]
            style = styles[baseline] | {"linestyle": "none"}
            shown = axis.errorbar(row["difference"], y, xerr=spread, capsize=3, markersize=6, **style)
            shown.set_label(f"against {baseline}" if place == len(axis.get_legend_handles_labels()[1]) else None)
            words.append(f"{arm} against {baseline} {row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]")
    axis.axvline(0, color="0.3", linewidth=1)
    axis.set_yticks(range(len(arms)), arms)
    axis.invert_yaxis()
    axis.set_xlabel("difference in normalised score, mean over data sets")
    axis.set_title(title, fontsize=10)
    _finish(figure, [axis], "Bars: 95 % intervals over fine-tuning seeds.")
    return figure, f"{title}: {'; '.join(words)}."


def similarity_bars(averages, arms):
    """Figure 12: cosines of weights and of features by arm, a bar per pair of stages that is compared.

    ``averages``: rows of ``arm, of, between, mean, low, high``; bars of what is not there are left out.
    """
    figure, axes = _grid(2)
    there, words = list(dict.fromkeys(averages["between"])), []
    alone = averages.groupby("arm")["between"].nunique().reindex(arms).to_numpy() == 1
    for axis, of in zip(axes, ("weights", "features"), strict=True):
        for place, between in enumerate(there):
            rows = averages[(averages["of"] == of) & (averages["between"] == between)].set_index("arm").reindex(arms)
            spread = [rows["mean"] - rows["low"], rows["high"] - rows["mean"]]
            x = np.arange(len(arms)) + np.where(alone, 0, 0.4 * (place - (len(there) - 1) / 2))
            style = {"color": _COLOURS[place], "hatch": ("", "//")[place], "edgecolor": "white", "ecolor": "0.2"}
            axis.bar(x, rows["mean"], 0.38, yerr=spread, capsize=2, label=between, **style)
            words += [f"{of} {between} {arm} {mean:.3f}" for arm, mean in rows["mean"].dropna().items()]
        axis.set_xticks(range(len(arms)), arms, rotation=40, ha="right", fontsize=8)
        axis.set_ylabel(f"cosine of {of}")
    _finish(figure, axes, "PT: after pre-training, RI: random initialisation, FT: after fine-tuning. Lines: 95 %.")
    return figure, f"Cosine similarities by arm: {'; '.join(words)}."


def sorted_probabilities(rows):
    """Figure 7: next-state probabilities of one state, sorted, a panel per temperature: {temperature: (S,) array}."""
    figure, axes = _grid(len(rows), width=3.0)
    for axis, (temperature, row) in zip(axes, rows.items(), strict=True):
        axis.bar(range(len(row)), np.sort(row), width=1.0, color=_COLOURS[0])
        axis.set_title(f"tau = {temperature:g}", fontsize=10)
        axis.set_xlabel("next state, sorted")
        axis.set_ylabel("probability")
    figure.supxlabel("The panels have scales of their own.", fontsize=8)
    sns.despine(figure)
    tops = "; ".join(f"tau {temperature:g}: {max(row):.3f}" for temperature, row in rows.items())
    return figure, f"Sorted next-state probabilities by temperature; the largest: {tops}."


def verdict_board(words):
    """A board of claims (rows) by sources of runs (columns), every word on its shade; rows without any are left out."""
    shades = {
        "holds": _COLOURS[0],
        "fails": _COLOURS[3],
        "undecided": "0.75",
        "not enough runs": "0.9",
        "no runs": "0.9",
    }
    words = words[(words != "").any(axis=1)]
    rows, columns = words.shape
    width = max(map(len, words.index)) * 0.085
    figure, axis = plt.subplots(figsize=(width + 2.1 * columns, 0.27 * rows + 0.9), layout="constrained")
    for y, row in enumerate(words.to_numpy()):
        for x, word in enumerate(row):
            shade = shades.get(word, "white")
            dark = word in ("holds", "fails")
            axis.add_patch(plt.Rectangle((x, y), 0.97, 0.9, color=shade, hatch="///" if word == "fails" else None))
            weight = "bold" if word == "fails" else "normal"
            text = axis.text(x + 0.485, y + 0.45, word, ha="center", va="center", fontsize=8, weight=weight)
            text.set_color("white" if dark else "black")
    axis.set_xlim(0, columns)
    axis.set_ylim(rows, 0)
    axis.set_xticks(
        [x + 0.485 for x in range(columns)], [textwrap.fill(name, 22) for name in words.columns], fontsize=9
    )
    axis.xaxis.tick_top()
    axis.set_yticks([y + 0.45 for y in range(rows)], words.index, fontsize=8)
    axis.tick_params(length=0)
    sns.despine(figure, left=True, bottom=True)
    counts = [
        f"{name}: " + ", ".join(f"{n} {word}" for word, n in words[name].value_counts().items() if word)
        for name in words
    ]
    return figure, f"Claims of the paper by source of runs. {'; '.join(counts)}."


def save_figure(figure, alt, stem):
    """Write ``stem``.png and ``stem``.svg, both carrying ``alt``, and ``stem``.alt.txt; then close the figure."""
    stem = Path(stem)
    figure.savefig(stem.with_suffix(".png"), dpi=150, metadata={"Description": alt})
    figure.set_layout_engine("none")  # found once, kept for the second file
    figure.savefig(stem.with_suffix(".svg"), metadata={"Description": alt, "Date": None})
    stem.with_suffix(".alt.txt").write_text(alt + "\n")
    plt.close(figure)


def _grouped_lines(means, panels, xlabel, note):
    """``means``: rows arms, columns x. Every arm keeps its style in all panels, under the name that the panel gives."""
    shown = list(dict.fromkeys(arm for names in panels.values() for arm in names.values()))
    styles, ends = arm_styles(shown), []
    figure, axes = _grid(len(panels), sharey=True)
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
        _count_in_thousands(axis)
    figure.supxlabel(textwrap.fill(note, 40 * max(len(axes), 2)), fontsize=8)
    sns.despine(figure)
    return figure, f"Scores against {xlabel}. {note} At the end: {'; '.join(ends)}."


def _curve(runs, value, datasets, smoothing):
    """(updates, mean, standard error) of an arm over ``datasets``, or None; errors are 0 where a seed is alone."""
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


def _count_in_thousands(axis):
    if axis.get_xlim()[1] >= 5000:
        axis.xaxis.set_major_formatter(lambda x, position: f"{x / 1000:g}K")


def _grid(panels, width=4.6, sharey=False):
    columns = min(panels, 3 if width > 4 else 5)
    rows = -(-panels // columns)
    size = (max(width * columns, 6.0), 3.3 * rows + 0.7)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharey=sharey, layout="constrained")
    for axis in axes.flat[panels:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:panels])


def _finish(figure, axes, note):
    """One legend for all panels and the note, both below them."""
    entries = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    width = figure.get_size_inches()[0]
    columns = max(1, min(len(entries), int(width / 1.6)))
    figure.supxlabel(textwrap.fill(note, int(width * 15)), fontsize=8)
    figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=columns, frameon=False)
    sns.despine(figure)
