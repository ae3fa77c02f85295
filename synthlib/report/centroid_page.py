"""The page of section 4.3: the centroids that pre-training has to predict, what critics predict, and the scores."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from synthlib.generators.centroids import Centroids
from synthlib.generators.mdp import MDPConfig
from synthlib.paper import paper_table
from synthlib.report.comparisons import against_baseline
from synthlib.report.figures import Drawing, finish, panels_in_a_grid
from synthlib.report.palette import COLOURS, arm_styles
from synthlib.study import critic_study

DEFAULT, IID, INDEPENDENT, SHARPEST = "tau=1", "CQL+IID", "independent rows", "tau=0.01"
_SIDE = 1.05  # of the state vectors' box, drawn from -_SIDE to _SIDE


def spreads(data: Mapping[str, MDPConfig], measured: Mapping[str, Centroids]) -> pd.DataFrame:
    """The spread of the centroids of each data set: a row per data set, columns as in ``critic_study.sweep``."""
    rows = {name: critic_study.described(config, measured[name]) for name, config in data.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def spread_table(table: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The plain table of :func:`spreads`: variances per dimension as text, for some data sets."""
    chosen = table.loc[list(names)]
    shown = {
        "next states": [f"{value:.4f}" for value in chosen["total"]],
        "exact centroids": [f"{value:.5f}" for value in chosen["exact"]],
        "sampling noise": [f"{value:.5f}" for value in chosen["noise"]],
        "empirical centroids": [f"{value:.5f}" for value in chosen["empirical"]],
        "explained by (s, a)": [f"{value:.2%}" for value in chosen["exact"] / chosen["total"]],
        "pairs in the data": [f"{value:,.0f}" for value in chosen["pairs"]],
        "different exact centroids": [f"{value:,.0f}" for value in chosen["distinct"]],
    }
    return pd.DataFrame(shown, index=chosen.index)


def clouds(rows: Mapping[str, Mapping[str, np.ndarray]], states: Mapping[str, np.ndarray]) -> Drawing:
    """Points in their first two dimensions, on the scale of the state vectors: a row of panels per kind of point.

    ``rows``: {kind of point: {data set: (P, W)}}. ``states``: {data set: its state vectors (S, W)}, drawn in grey.
    """
    names = list(next(iter(rows.values())))
    size = (2.6 * len(names), 2.6 * len(rows) + 0.5)
    figure, grid = plt.subplots(
        len(rows), len(names), figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    words = []
    for line, (kind, of_data) in zip(grid, rows.items(), strict=True):
        for axis, name in zip(line, names, strict=True):
            points = of_data[name]
            axis.scatter(*states[name][:, :2].T, s=10, color="0.75", marker="x", linewidths=0.8)
            axis.scatter(*points[:, :2].T, s=4, color=COLOURS[0], alpha=min(1.0, 3000 / len(points)), linewidths=0)
            axis.set(xlim=(-_SIDE, _SIDE), ylim=(-_SIDE, _SIDE), aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
            words.append(f"{kind}, {name}: {np.std(points[:, :2], axis=0).mean():.3f}")
        line[0].set_ylabel(kind)
    for axis, name in zip(grid[0], names, strict=True):
        axis.set_title(name, fontsize=10)
    figure.supxlabel("The first two dimensions. Grey crosses: the vectors of the states.", fontsize=8)
    sns.despine(figure)
    return figure, (
        "Clouds of points among the vectors of the states, by kind of point and data set. Standard deviation per "
        f"dimension, each pair counted once: {'; '.join(words)}."
    )


def spread_curves(states: Sequence[int], trajectories: Sequence[int]) -> Drawing:
    """The variance of the centroids against the number of transitions, the number of states and the temperature."""
    temperatures = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
    sweeps: dict[str, dict[float, dict[str, Any]]] = {
        "transitions": {1000 * count: {"trajectories": count} for count in trajectories},
        "states and actions": {count: {"states": count, "actions": count} for count in states},
        "temperature": {t: {"policy_temperature": t, "transition_temperature": t} for t in temperatures},
    }
    figure, axes = panels_in_a_grid(3, sharey=True)
    words = []
    for axis, (what, changes) in zip(axes, sweeps.items(), strict=True):
        of_mdp = critic_study.sweep(MDPConfig(), changes)
        _spread_panel(axis, of_mdp)
        if what != "temperature":
            iid = critic_study.sweep(MDPConfig(kind="iid"), changes)
            axis.plot(
                iid["value"],
                iid["empirical"],
                "D",
                markersize=10,
                markerfacecolor="none",
                color=COLOURS[3],
                label="IID: empirical centroids",
            )
        axis.set(xscale="log", yscale="log", xlabel=what, ylim=(1e-6, 1))
        words += [f"{row.value:,g} {what}: {row.exact:.2g} and {row.noise:.2g}" for row in of_mdp.itertuples()]
    axes[0].set_ylabel("variance per dimension")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    figure.supxlabel("Default MDP with one thing changed. Lines without marks: the formula.", fontsize=8)
    sns.despine(figure)
    return figure, f"Variance of the centroids. Exact centroids and sampling noise of the MDP: {'; '.join(words)}."


def _spread_panel(axis: plt.Axes, table: pd.DataFrame) -> None:
    x = table["value"]
    axis.plot(x, table["total"], color="0.3", linestyle="--", label="next states")
    axis.plot(x, table["expected_exact"], color=COLOURS[0], linewidth=1)
    axis.plot(x, table["expected_noise"], color=COLOURS[1], linewidth=1)
    axis.plot(x, table["exact"], "o", color=COLOURS[0], label="MDP: exact centroids")
    axis.plot(x, table["noise"], "s", color=COLOURS[1], label="MDP: sampling noise")
    axis.plot(x, table["empirical"], "^", color=COLOURS[2], markerfacecolor="none", label="MDP: empirical centroids")


def learning_curves(learning: pd.DataFrame, names: Sequence[str]) -> Drawing:
    """How far critics are on the way from one prediction for all pairs (0) to the empirical centroids (1)."""
    means = learning.groupby(["data", "updates"])[["structure", "noise"]].mean()
    styles, words = arm_styles(names), []
    figure, axes = panels_in_a_grid(2, sharey=True)
    for axis, part in zip(axes, ("structure", "noise"), strict=True):
        for name in names:
            line = means.loc[name, part].dropna()
            if len(line):
                axis.plot(line.index, line, label=name, markersize=6, **styles[name])
                words.append(f"{part} of {name} {line.iloc[-1]:.2f}")
        axis.axhline(1, color="0.3", linestyle="--", linewidth=1)
        axis.set(xscale="log", xlabel="pre-training updates")
        axis.set_title(f"{part} that is learnt", fontsize=10)
        _plain_ticks(axis, sorted(set(learning["updates"])))
    axes[0].set_ylabel("share")
    finish(figure, axes, "Mean of both critics. Not drawn: what is too small to be told from nothing.")
    return figure, (
        "Share of the exact centroids (structure) and of the sampling noise in the predictions of the critics, mean of "
        f"both critics, against pre-training updates. At the end: {'; '.join(words)}."
    )


def learning_table(learning: pd.DataFrame) -> pd.DataFrame:
    """The critics after their last update, as text: a row per data set, mean of both critics."""
    last = learning[learning["updates"] == learning["updates"].max()]
    means = last.groupby("data", sort=False).mean(numeric_only=True)
    shown = {
        "structure learnt": ["-" if math.isnan(value) else f"{value:.1%}" for value in means["structure"]],
        "noise learnt": [f"{value:.1%}" for value in means["noise"]],
        "variance of predictions": [f"{value:.5f}" for value in means["variance"]],
        "error to exact": [f"{value:.5f}" for value in means["error_to_exact"]],
        "error to empirical": [f"{value:.5f}" for value in means["error_to_empirical"]],
    }
    return pd.DataFrame(shown, index=means.index.rename(None))


def printed_gains() -> pd.DataFrame:
    """What the paper prints for Tables 6 and 7: the average gain over CQL by arm, ``difference, low, high``.

    The interval (95 %, Welch) is over the 20 fine-tuning seeds of each cell.
    """
    cells = pd.concat([paper_table(number) for number in (6, 7)]).drop_duplicates(["dataset", "arm"])
    cells = cells[~cells["is_average"]].assign(n=20)
    gains = against_baseline(cells, "CQL")
    return gains[gains["is_average"]].set_index("arm")[["difference", "low", "high"]]


def gains_against_distance(table: pd.DataFrame, learning: pd.DataFrame, gains: pd.DataFrame) -> Drawing:
    """The printed gain over CQL against the distance of the centroids, and against the distance of the predictions."""
    last = learning[learning["updates"] == learning["updates"].max()]
    distances = {
        "empirical centroids": np.sqrt(table["empirical"]),
        f"predictions after {learning['updates'].max():,} updates": np.sqrt(last.groupby("data")["variance"].mean()),
    }
    names = [name for name in table.index if name in gains.index]
    styles, words = arm_styles(names), []
    figure, axes = panels_in_a_grid(2, sharey=True)
    for axis, (what, distance) in zip(axes, distances.items(), strict=True):
        for name in names:
            gain = gains.loc[name]
            spread = [[gain["difference"] - gain["low"]], [gain["high"] - gain["difference"]]]
            style = styles[name] | {"linestyle": "none"}
            axis.errorbar(distance[name], gain["difference"], yerr=spread, capsize=3, label=name, **style)
        axis.set(xscale="log", xlabel=f"distance between {what}")
        _plain_ticks(axis, [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
        axis.axhline(0, color="0.3", linewidth=1)
        words.append(f"{what}: " + ", ".join(f"{name} {distance[name]:.3f}" for name in names))
    axes[0].set_ylabel("printed gain over CQL")
    finish(figure, axes, "Distance: standard deviation per dimension. Bars: 95 % over the paper's fine-tuning seeds.")
    scores = ", ".join(f"{name} {gains.loc[name, 'difference']:+.1f}" for name in names)
    return figure, f"The paper's gains over CQL ({scores}) against distances. {'; '.join(words)}."


def _plain_ticks(axis: plt.Axes, ticks: Sequence[float]) -> None:
    """Write the numbers of ``ticks`` that lie inside the logarithmic x axis as they are, and no others."""
    low, high = axis.get_xlim()
    inside = [tick for tick in ticks if low <= tick <= high]
    axis.set_xticks(inside, [f"{tick:,g}" for tick in inside])
    axis.minorticks_off()


def finding(table: pd.DataFrame, learning: pd.DataFrame) -> str:
    """What the page found, in one sentence written from the numbers."""
    mdp, iid = table.loc[DEFAULT], table.loc[IID]
    apart, iid_apart = math.sqrt(mdp["empirical"]), math.sqrt(iid["empirical"])
    noise, explained = mdp["noise"] / mdp["empirical"], mdp["exact"] / mdp["total"]
    updates = learning["updates"].max()
    critics = learning[(learning["updates"] == updates) & (learning["data"] == DEFAULT)]
    return (
        f"In the paper's default data the centroids of the MDP lie {apart / iid_apart - 1:.0%} further apart than "
        f"those of IID data ({apart:.4f} and {iid_apart:.4f} per dimension), because {noise:.0%} of their variance is "
        f"sampling noise; the {mdp['pairs']:,.0f} pairs have {mdp['distinct']:,.0f} different exact centroids, which "
        f"explain {explained:.2%} of the next state; and after {updates:,} updates the critics have learnt "
        f"{critics['structure'].mean():.1%} of this structure and {critics['noise'].mean():.1%} of the noise."
    )


def conclusion(table: pd.DataFrame, gains: pd.DataFrame) -> str:
    """The paper's conclusion beside its own numbers, in sentences written from them."""
    distance = np.sqrt(table["empirical"] / table.loc[IID, "empirical"])
    printed = [name for name in table.index if name in gains.index]
    near = [name for name in printed if abs(distance[name] - 1) < 0.1]
    scores = gains.loc[near, "difference"]
    lines = [
        f"{', '.join(near)}: centroids as far apart as IID's, to within 10 %. Printed gains {scores.min():+.1f} to "
        f"{scores.max():+.1f}: these columns cannot show what the distance does.",
        "The others, in times the distance of IID's centroids, with the printed gain over CQL and its 95 % interval:",
    ]
    for name in sorted(set(printed) - set(near), key=lambda name: distance[name]):
        gain = gains.loc[name]
        interval = f"[{gain['low']:+.1f}, {gain['high']:+.1f}]"
        lines.append(f"  {name:<9} {distance[name]:4.1f} times  {gain['difference']:+.1f} {interval}")
    return "\n".join(lines)
