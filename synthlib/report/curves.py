"""Learning curves as the paper draws them: means over seeds, a panel per data set or one for all.

Averages over data sets, the moving average of five evaluations and the shift of a pre-trained arm by its pre-training
updates are the paper's (faithfulness 9.3). The paper smooths losses too; we do not. A moving average of the first few
evaluations draws knees that no run has, so the means that it smooths are drawn as well. Data sets stand in the order of
the tables; the letter of the paper's panel stands in a panel's title.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from synthlib.report.figures import Drawing, count_in_thousands, finish, panels_in_a_grid
from synthlib.report.palette import arm_styles
from synthlib.tasks import DATASETS, ENVIRONMENTS, in_data_order

SMOOTHING = 5  # evaluations in the paper's moving average (faithfulness 9.3)
_LABELS = {"score": "normalised score", "loss": "training loss"}


@dataclass(frozen=True)
class Curves:
    """Curves over evaluations, mean over seeds, shaded by one standard error.

    Scores are moving averages over ``smoothing`` evaluations, with the means themselves as pale points. Losses are
    drawn as they are: a loss falls so steeply at first that a moving average shows a kink where its first value leaves
    the window.
    """

    evaluations: pd.DataFrame  # long: arm, dataset, seed, updates and each of ``values``
    arms: Sequence[str]
    values: Sequence[str] = ("score",)
    over: str = "datasets"  # a panel per data set; "average": a panel per value, the mean over data sets
    shift: Mapping[str, int] = field(default_factory=dict)  # {arm: updates to the right}
    smoothing: int = SMOOTHING
    letters: Mapping[str, str] = field(default_factory=dict)  # {data set: the letter of its panel in the paper}
    xlabel: str = "fine-tuning updates"
    spread: bool = True  # whether there are seeds to take a mean and a standard error of
    remarks: Sequence[str] = ()  # sentences that are added to the note under the figure

    @property
    def caption(self) -> str:
        """What is drawn against what, and the note under the figure."""
        return f"Curves against {self._xlabel}. {self._note}"

    @cached_property
    def points(self) -> pd.DataFrame:
        """Every point of every curve: ``panel, value, arm, updates, mean, raw, error, std, n``.

        ``updates`` count what an arm is shifted by. ``raw``: the mean before smoothing. ``error``: the standard error
        of the mean, 0 for one seed. ``std``: the population standard deviation over seeds, NaN for one; of an average
        the mean over data sets, as in the tables. ``n``: the smallest number of seeds.
        """
        curves = []
        for panel, value, datasets in self._panels:
            window = self.smoothing if value == "score" else 1
            for arm in self.arms:
                curve = _curve(self.evaluations[self.evaluations["arm"] == arm], value, datasets, window)
                if curve is not None:
                    curve["updates"] += self.shift.get(arm, 0)
                    curves.append(curve.assign(panel=panel, value=value, arm=arm))
        columns = ["panel", "value", "arm", "updates", "mean", "raw", "error", "std", "n"]
        return pd.concat(curves, ignore_index=True)[columns] if curves else pd.DataFrame(columns=columns)

    def numbers(self) -> pd.DataFrame:
        """Where the curves end, as text: rows panels, columns arms; mean ± std (seeds), and after how many updates."""
        ends = self.points.groupby(["panel", "arm"], sort=False).last()
        rows: dict[str, dict[str, str]] = {}
        for (panel, arm), end in ends.iterrows():
            rows.setdefault(panel, {})[arm] = _plus_minus(end)
            rows.setdefault("after updates", {})[arm] = f"{end['updates']:,}"
        rows = {name: rows[name] for name in [*(n for n in rows if n != "after updates"), "after updates"]}
        arms = [arm for arm in self.arms if arm in set(self.points["arm"])]
        return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=arms).fillna("-")

    def draw(self) -> Drawing:
        """(figure, alt text)."""
        styles, ends = arm_styles(self.arms), []
        whole = self.over == "datasets" and len(self._panels) == len(DATASETS)
        figure, axes = panels_in_a_grid(len(self._panels), columns=len(ENVIRONMENTS) if whole else None)
        for axis, (panel, value, _) in zip(axes, self._panels, strict=True):
            drawn = self.points[self.points["panel"] == panel]
            for arm, curve in drawn.groupby("arm", sort=False):
                x, mean, raw, error = (curve[name].to_numpy() for name in ("updates", "mean", "raw", "error"))
                every = max(len(x) // 8, 1)
                axis.plot(x, mean, label=arm, markevery=every, markersize=5, linewidth=1.4, **styles[arm])
                if value == "score" and self.smoothing > 1:
                    axis.plot(x, raw, ".", color=styles[arm]["color"], alpha=0.35, markersize=3)
                axis.fill_between(x, mean - error, mean + error, color=styles[arm]["color"], alpha=0.15, linewidth=0)
                ends.append(f"{panel} {arm} {mean[-1]:.3g}")
            letter = self.letters.get(panel)
            axis.set_title(f"{panel} ({letter})" if letter else panel, fontsize=10)
            axis.set_xlabel(self._xlabel)
            axis.set_ylabel(_LABELS[value])
            count_in_thousands(axis)
        finish(figure, axes, self._note)
        return figure, f"{self.caption} At the end: {'; '.join(ends)}."

    @property
    def _datasets(self) -> list[str]:
        return in_data_order(self.evaluations["dataset"])

    @property
    def _panels(self) -> list[tuple[str, str, list[str]]]:
        """(title, value, data sets) of each panel."""
        if self.over == "average":
            return [(_LABELS[value], value, self._datasets) for value in self.values]
        several = len(self.values) > 1
        return [
            (f"{dataset}, {_LABELS[value]}" if several else dataset, value, [dataset])
            for value in self.values
            for dataset in self._datasets
        ]

    @property
    def _xlabel(self) -> str:
        return "updates, pre-training of shifted arms included" if self.shift else self.xlabel

    @property
    def _note(self) -> str:
        smoothed = {
            "score": f"scores are moving averages of {self.smoothing} evaluations, fewer at the start, "
            "points the means before smoothing",
            "loss": "losses are not smoothed",
        }
        said = "; ".join(smoothed[value] for value in self.values)
        note = [f"Mean over seeds, shade one standard error; {said}." if self.spread else f"One run each; {said}."]
        if self.over == "average":
            datasets = len(self._datasets)
            note.append(f"Mean over {datasets} data set{'s' if datasets > 1 else ''}.")
        if self.letters and self.over == "datasets":
            note.append("In parentheses the letter of the paper's panel.")
        if moved := ", ".join(f"{arm} by {updates:,}" for arm, updates in self.shift.items()):
            note.append(f"Shifted right by pre-training updates: {moved}.")
        return " ".join([*note, *self.remarks])


def _plus_minus(end: pd.Series) -> str:
    """The last point of a curve: mean ± std (seeds)."""
    digits, of_spread = (".1f", ".1f") if end["value"] == "score" else ("#.4g", ".2g")
    spread = "" if np.isnan(end["std"]) else f" ± {end['std']:{of_spread}}"
    return f"{end['mean']:{digits}}{spread} ({end['n']})"


def _curve(runs: pd.DataFrame, value: str, datasets: Sequence[str], smoothing: int) -> pd.DataFrame | None:
    """``updates, mean, error, std, n`` of an arm over ``datasets``; None when a data set has no ``value``."""
    means, raws, variances, spreads, seeds = [], [], [], [], []
    for dataset in datasets:
        chosen = runs[runs["dataset"] == dataset]
        if value not in chosen or chosen[value].isna().all():
            return None
        runs_of = chosen.pivot(index="updates", columns="seed", values=value)
        curves = runs_of.rolling(smoothing, min_periods=1).mean()
        n = curves.count(axis=1)
        means.append(curves.mean(axis=1))
        raws.append(runs_of.mean(axis=1))
        variances.append(curves.var(axis=1).fillna(0) / n)
        spreads.append(curves.std(axis=1, ddof=0).where(n > 1))
        seeds.append(n)
    mean = sum(means) / len(means)
    return pd.DataFrame(
        {
            "updates": mean.index.to_numpy(),
            "mean": mean.to_numpy(),
            "raw": (sum(raws) / len(raws)).to_numpy(),
            "error": np.sqrt(sum(variances)).to_numpy() / len(means),
            "std": (sum(spreads) / len(spreads)).to_numpy(),
            "n": pd.concat(seeds, axis=1).min(axis=1).to_numpy().astype(int),
        }
    )
