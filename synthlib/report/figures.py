"""Figures that can be read without colour, saved as PNG and SVG with alt text.

Every function that draws returns (figure, alt text). The kinds of figures that params/ names are in
:mod:`synthlib.report.paper_figures`; here are the other figures, and what all figures share.
"""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthlib.machine.files import write_atomically, write_text
from synthlib.report.palette import COLOURS, arm_styles
from synthlib.report.statistics import by_task, performance_profile

Drawing: TypeAlias = tuple[Figure, str]  # a figure and its alt text


def performance_profiles(scores: pd.DataFrame, arms: Iterable[str]) -> Drawing:
    """Share of runs above each score; every data set has the same weight.

    ``scores``: rows of ``arm, dataset, score``, one per run, all finite.
    """
    low, high = scores["score"].min(), scores["score"].max()
    thresholds = np.linspace(min(low, 0), high, 200)
    styles, halves = arm_styles(arms), []
    figure, (axis,) = panels_in_a_grid(1)
    for arm in [arm for arm in arms if arm in set(scores["arm"])]:
        tasks = by_task(scores, arm, list(scores.loc[scores["arm"] == arm, "dataset"].unique()))
        profile = performance_profile(tasks, thresholds)
        axis.plot(thresholds, profile, label=arm, markevery=20, markersize=5, linewidth=1.4, **styles[arm])
        halves.append(f"{arm} {thresholds[np.argmax(profile <= 0.5)]:.0f}")
    axis.set_xlabel("normalised score")
    axis.set_ylabel("share of runs above it")
    axis.set_title("performance profile", fontsize=10)
    note = "Every run of every data set, data sets weighing the same; higher is better."
    finish(figure, [axis], note)
    return figure, f"Performance profiles. {note} Half of the runs lie above: {'; '.join(halves)}."


def differences(comparisons: pd.DataFrame, arms: Sequence[str], title: str) -> Drawing:
    """Average differences with their 95 % intervals, one row per arm, a marker per baseline (a forest plot).

    ``comparisons``: rows of ``arm, baseline, difference, low, high``, one per pair of arms.
    """
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
    finish(figure, [axis], "Bars: 95 % intervals over fine-tuning seeds.")
    return figure, f"{title}: {'; '.join(words)}."


def sorted_probabilities(rows: dict[float, np.ndarray]) -> Drawing:
    """Figure 7: next-state probabilities of one state, sorted, a panel per temperature.

    ``rows``: {temperature: (states,) array}.
    """
    figure, axes = panels_in_a_grid(len(rows), width=3.0)
    for axis, (temperature, row) in zip(axes, rows.items(), strict=True):
        axis.bar(range(len(row)), np.sort(row), width=1.0, color=COLOURS[0])
        axis.set_title(f"tau = {temperature:g}", fontsize=10)
        axis.set_xlabel("next state, sorted")
        axis.set_ylabel("probability")
    figure.supxlabel("The panels have scales of their own.", fontsize=8)
    sns.despine(figure)
    tops = "; ".join(f"tau {temperature:g}: {max(row):.3f}" for temperature, row in rows.items())
    return figure, f"Sorted next-state probabilities by temperature; the largest: {tops}."


def verdict_board(words: pd.DataFrame) -> Drawing:
    """A board of claims (rows) by sets of runs (columns); shades show the words, and a reason for no word has none."""
    shades = {
        "holds": COLOURS[0],
        "among the best": "#8fbbd9",
        "fails": COLOURS[3],
        "undecided": "0.75",
    }
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
            text.set_color("white" if dark else "black" if word in shades else "0.4")
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
        f"{name}: " + ", ".join(f"{n} {word}" for word, n in words[name].value_counts().items()) for name in words
    ]
    return figure, f"Claims of the paper by source of runs. {'; '.join(counts)}."


def save_figure(figure: Figure, alt: str, stem: Path) -> None:
    """Write ``stem``.png and ``stem``.svg, both carrying ``alt``, and ``stem``.alt.txt; then close the figure."""
    facts: dict[str, Any] = {"Description": alt}
    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    try:
        write_atomically(png, lambda path: figure.savefig(path, format="png", dpi=150, metadata=facts))
        figure.set_layout_engine("none")  # found once, kept for the second file
        write_atomically(svg, lambda path: figure.savefig(path, format="svg", metadata=facts | {"Date": None}))
        write_text(stem.with_suffix(".alt.txt"), alt + "\n")
    finally:
        plt.close(figure)


def count_in_thousands(axis: Axes) -> None:
    """Write 20000 on the x axis as 20K, where the axis goes that far."""
    if axis.get_xlim()[1] >= 5000:
        axis.xaxis.set_major_formatter(lambda x, position: f"{x / 1000:g}K")


def panels_in_a_grid(
    panels: int, width: float = 4.6, sharey: bool = False, columns: int | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure with that many axes in rows of ``columns``: of three, or of five where ``width`` (inches) is small."""
    columns = min(panels, columns or (3 if width > 4 else 5))
    rows = -(-panels // columns)
    size = (max(width * columns, 6.0), 3.3 * rows + 0.7)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharey=sharey, layout="constrained")
    for axis in axes.flat[panels:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:panels])


def finish(figure: Figure, axes: Iterable[Axes], note: str) -> None:
    """Add one legend for all panels above them, and the note below them."""
    entries: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    width = figure.get_size_inches()[0]
    columns = max(1, min(len(entries), int(width / 1.6)))
    figure.supxlabel(textwrap.fill(note, int(width * 15)), fontsize=8)
    figure.legend(list(entries.values()), list(entries), loc="outside upper center", ncols=columns, frameon=False)
    sns.despine(figure)
