"""Figures: learning curves drawn so that they can be read without colour, saved as PNG and SVG with alt text."""

from pathlib import Path

import matplotlib.pyplot as plt
import seaborn as sns

SMOOTHING = 5  # evaluations in the paper's moving average (faithfulness 9.3)
_MARKERS = "osD^vPX*<>"
_DASHES = ["-", "--", "-.", ":"]


def arm_styles(arms):
    """One colour, marker and line style per arm, the same in every panel and table: {arm: plot keywords}."""
    colours = sns.color_palette("colorblind", max(len(arms), 1))
    return {
        arm: {"color": colours[i], "marker": _MARKERS[i % len(_MARKERS)], "linestyle": _DASHES[i % len(_DASHES)]}
        for i, arm in enumerate(arms)
    }


def learning_curves(
    evaluations, arms, smoothing=SMOOTHING, value="score", label="normalised score", xlabel="fine-tuning updates"
):
    """One panel per data set: mean over seeds of the moving average, with the range of the seeds shaded.

    ``evaluations``: long frame with arm, dataset, seed, updates and ``value``. The average runs over the last
    ``smoothing`` evaluations, fewer at the start. Returns (figure, alt text).
    """
    datasets = list(evaluations["dataset"].unique())
    styles = arm_styles(arms)
    columns = min(len(datasets), 3)
    rows = -(-len(datasets) // columns)
    size = (4.6 * columns, 3.4 * rows + 0.5)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharex=True, layout="constrained")
    ends = []
    for axis, dataset in zip(axes.flat, datasets, strict=False):
        for arm in arms:
            runs = evaluations[(evaluations["dataset"] == dataset) & (evaluations["arm"] == arm)]
            if runs.empty:
                continue
            curves = runs.pivot(index="updates", columns="seed", values=value).rolling(smoothing, min_periods=1).mean()
            mean = curves.mean(axis=1)
            every = max(len(mean) // 8, 1)
            axis.plot(mean.index, mean, label=arm, markevery=every, markersize=4.5, linewidth=1.4, **styles[arm])
            axis.fill_between(
                mean.index, curves.min(axis=1), curves.max(axis=1), color=styles[arm]["color"], alpha=0.12
            )
            ends.append(f"{dataset} {arm} {mean.iloc[-1]:.3g}")
        axis.set_title(dataset, fontsize=10)
        axis.set_xlabel(xlabel)
        axis.set_ylabel(label)
    for axis in axes.flat[len(datasets) :]:
        axis.set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4 * columns), frameon=False)
    sns.despine(figure)
    alt = f"Learning curves, {label} against {xlabel}; at the end: {'; '.join(ends)}."
    return figure, alt


def save_figure(figure, alt, stem):
    """Write ``stem``.png and ``stem``.svg, both carrying ``alt``, and ``stem``.alt.txt."""
    stem = Path(stem)
    figure.savefig(stem.with_suffix(".png"), dpi=150, metadata={"Description": alt})
    figure.savefig(stem.with_suffix(".svg"), metadata={"Description": alt, "Date": None})
    stem.with_suffix(".alt.txt").write_text(alt + "\n")
