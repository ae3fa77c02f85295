"""The kinds of figures that a description under ``figures:`` in params/ can name.

Each kind is a chart, which has a caption, its numbers as text, its points, and a drawing: (figure, alt text). Which
evaluations are used, what is averaged and what is shifted is written under the figure itself.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import seaborn as sns

from synthlib.report.curves import Curves
from synthlib.report.figures import Drawing, count_in_thousands, finish, panels_in_a_grid
from synthlib.report.palette import COLOURS, arm_styles
from synthlib.report.statistics import average_rows, score_cells
from synthlib.study.sizes import with_size

if TYPE_CHECKING:
    from synthlib.report.report import Report

Panels = dict[str, dict[str, str]]  # {title of a panel: {name in the figure: arm}}
# The panels of Figures 3, 4, 9 and 14 in the paper: a row per environment, a column per kind of data.
_ROWS = ("hopper", "walker2d", "halfcheetah", "ant")
_COLUMNS = ("medium", "medium-replay", "medium-expert")
_STAGES = ("PT vs FT", "RI vs FT")  # in the paper blue and orange
_LINEAR_BELOW = 1e-4  # on the logarithmic scale of cosines, which has zero and negative ones too


class Chart(Protocol):
    """A figure before it is drawn."""

    @property
    def caption(self) -> str:
        """What is drawn against what, and the note under the figure."""

    @property
    def points(self) -> pd.DataFrame:
        """What is drawn, in numbers."""

    def numbers(self) -> pd.DataFrame:
        """What a reader wants to know of it, as text."""

    def draw(self) -> Drawing:
        """(figure, alt text)."""


def described_chart(description: dict[str, Any], report: Report) -> Chart:
    """The figure that an entry under ``figures:`` in params/ describes, of the runs of ``report``.

    ``title`` says what it shows; the artefact's title by default.

    kind curves: ``values`` (score, loss) ``over`` average or datasets. ``arms`` are names, or {name in the figure:
    arm}; all by default. The arms in ``shift`` are moved right by their pre-training updates. ``until``: all curves end
    where the curve of this arm ends. ``rows``, ``columns``: environments and kinds of data in the order of the paper's
    panels, which gives them their letters. kind shares:
    score after ``shares`` of the fine-tuning updates. kind data: final score by share of the data. These two have
    ``panels``, {title: {name in the figure: arm}}. kind similarity: :class:`SimilarityBars` of all arms.

    Raises ValueError for another kind.
    """
    options = {key: value for key, value in description.items() if key != "title"}
    kind = options.pop("kind")
    if kind == "curves":
        return _described_curves(options, report)
    if kind == "similarity":
        arms = list(report.artefact.arms)
        return SimilarityBars(report.cells, arms, _not_in_the_paper(dict(zip(arms, arms, strict=True)), report))
    if kind not in ("shares", "data"):
        raise ValueError(f"unknown kind of figure {kind!r}; known: curves, shares, data, similarity")
    panels = {title: _labels(names, report) for title, names in options.pop("panels").items()}
    remark = _not_in_the_paper({name: arm for names in panels.values() for name, arm in names.items()}, report)
    if kind == "shares":
        return scores_at_shares(report.runs.evaluations, panels=panels, remark=remark, **options)
    return scores_by_data(report.averages_by_data_ratio(), panels, remark)


def text_of_figures(report: Report) -> str:
    """What the terminal shows of an artefact's figures: title, whose runs they are, caption and numbers of each."""
    parts = []
    for name, description in report.artefact.figures.items():
        chart, title = report.chart(name), description.get("title", report.artefact.title)
        parts += [f"{name}: {title}. {report.runs.label}. {chart.caption}", "", chart.numbers().to_string(), ""]
    return "\n".join(parts)


def _described_curves(options: dict[str, Any], report: Report) -> Curves:
    chosen = options.pop("arms", list(report.artefact.arms))
    letters = _letters(options.pop("rows", _ROWS), options.pop("columns", _COLUMNS))
    names = chosen if isinstance(chosen, dict) else {arm: arm for arm in chosen}
    records = report.runs.records.groupby("arm")["pretraining_updates"].max()
    moved = {name: names[name] for name in options.pop("shift", []) if names[name] in report.artefact.arms}
    last = names.get(options.pop("until", ""))
    shift = {name: int(records[arm]) for name, arm in _labels(moved, report).items() if arm in records.index}
    evaluations, names = report.runs.evaluations, _labels(names, report)
    parts = [evaluations[evaluations["arm"] == arm].assign(arm=name) for name, arm in names.items()]
    curves = pd.concat(parts, ignore_index=True)
    refused = [f"{said}." for arms, said in report.runs.unequal.items() if set(arms) <= set(names.values())]
    notes = list(refused)
    if apart := _without_common_updates(curves, shift):
        shift, notes = {}, [*notes, apart]
    elif last is not None and (evaluations["arm"] == last).any():
        totals = curves["updates"] + curves["arm"].map(shift).fillna(0)
        total = int(totals[curves["arm"].map(names) == last].max())
        curves = curves[totals <= total]
        notes += [f"Cut at equal totals: no curve goes beyond {total:,} updates, pre-training included."]
    if not refused and (said := report.runs.other_proportions({name: names[name] for name in shift})):
        notes += [f"{said}."]
    notes += _not_in_the_paper(names, report)
    printed = report.artefact.is_printed and options.get("over") == "datasets"
    return Curves(curves, list(names), shift=shift, remarks=notes, letters=letters if printed else {}, **options)


def _letters(rows: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """{data set: letter of its panel} of a figure with a row per environment and a column per kind of data."""
    names = (f"{environment}-{kind}" for environment in rows for kind in columns)
    return dict(zip(names, "abcdefghijkl", strict=True))


def _labels(names: dict[str, str], report: Report) -> dict[str, str]:
    """{name in a figure: arm}, with the updates that were run where a name says another number."""
    sizes = report.runs.sizes
    whole = {base: arm for arm, (base, _) in report.artefact.ratios.items()}  # arms repeated on parts of the data
    return {with_size(name, sizes.get(whole.get(arm, arm), {})): arm for name, arm in names.items()}


def _not_in_the_paper(names: Mapping[str, str], report: Report) -> list[str]:
    """A sentence that names the matched controls among the runs of a figure of the paper."""
    base = {arm: report.artefact.ratios.get(arm, (arm, 1.0))[0] for arm in report.artefact.arms}
    there = {base[arm] for arm in report.runs.records["arm"].unique() if arm in base}
    controls = {base[arm] for arm, of in report.artefact.arms.items() if of.get("pretraining_updates") == 0} & there
    ours = [name for name, arm in names.items() if arm in controls]
    return [f"Not in the paper: {'; '.join(ours)}."] if ours and report.artefact.is_printed else []


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


@dataclass(frozen=True)
class GroupedLines:
    """Scores against a number, lines of means over data sets, one panel per group of arms.

    ``points``: rows of ``arm, x, mean, std, n``. An arm has one style in all panels; each panel gives it a name.
    """

    points: pd.DataFrame
    panels: Panels
    xlabel: str
    note: str

    @property
    def caption(self) -> str:
        return f"Scores against {self.xlabel}. {self.note}"

    def numbers(self) -> pd.DataFrame:
        """Rows arms in their panels, columns the points on the x axis: mean ± std (seeds)."""
        text = self.points.assign(
            text=[
                f"{row.mean:.1f}{'' if np.isnan(row.std) else f' ± {row.std:.1f}'} ({row.n:.0f})"
                for row in self.points.itertuples()
            ]
        )
        table = text.pivot(index="arm", columns="x", values="text")
        table.columns = [f"{x:,g}" for x in table.columns]
        rows = {
            (panel, name): table.loc[arm]
            for panel, names in self.panels.items()
            for name, arm in names.items()
            if arm in table.index
        }
        return pd.DataFrame.from_dict(rows, orient="index").fillna("-")

    def draw(self) -> Drawing:
        """(figure, alt text)."""
        means = self.points.pivot(index="arm", columns="x", values="mean")
        shown = list(dict.fromkeys(arm for names in self.panels.values() for arm in names.values()))
        styles, ends = arm_styles(shown), []
        figure, axes = panels_in_a_grid(len(self.panels), sharey=True)
        for axis, (title, names) in zip(axes, self.panels.items(), strict=True):
            for name, arm in names.items():
                if arm in means.index:
                    line = means.loc[arm].dropna()
                    axis.plot(line.index, line, label=name, markersize=5.5, linewidth=1.4, **styles[arm])
                    ends.append(f"{title}: {name} {line.iloc[-1]:.1f}")
            axis.set_title(title, fontsize=10)
            axis.set_xlabel(self.xlabel)
            axis.set_ylabel("normalised score")
            axis.legend(fontsize=8, frameon=False)
            count_in_thousands(axis)
        figure.supxlabel(textwrap.fill(self.note, 40 * max(len(axes), 2)), fontsize=8)
        sns.despine(figure)
        return figure, f"{self.caption} At the end: {'; '.join(ends)}."


def scores_at_shares(
    evaluations: pd.DataFrame, shares: Sequence[float], panels: Panels, remark: Iterable[str] = ()
) -> GroupedLines:
    """Mean score over data sets after each share of the fine-tuning updates."""
    evaluated = np.sort(evaluations["updates"].unique())
    # The first evaluation at or after each share; small presets have fewer evaluations than shares.
    positions = np.searchsorted(evaluated, np.asarray(shares) * evaluated[-1] - 1e-9)
    points = [
        average_rows(score_cells(evaluations[evaluations["updates"] == at])).assign(x=at)
        for at in np.unique(evaluated[positions])
    ]
    note = "Mean over seeds and data sets of the single evaluation at these fine-tuning updates; no moving average."
    return GroupedLines(pd.concat(points, ignore_index=True), panels, "fine-tuning updates", " ".join([note, *remark]))


def scores_by_data(averages: pd.DataFrame, panels: Panels, remark: Iterable[str] = ()) -> GroupedLines:
    """Mean final score over data sets against the share of the data.

    ``averages``: rows of ``arm, data_ratio, mean, std, n``, one per arm and share of the data.
    """
    seeds = averages.groupby("data_ratio")["n"].min().groupby(lambda ratio: ratio == 1).min()
    counted = "; ".join(f"{n:.0f} seeds on {'all' if whole else 'parts'} of the data" for whole, n in seeds.items())
    note = f"Mean over data sets of the final score (last four evaluations of each run); {counted}."
    points = averages.rename(columns={"data_ratio": "x"})
    return GroupedLines(points, panels, "share of the fine-tuning data", " ".join([note, *remark]))


@dataclass(frozen=True)
class SimilarityBars:
    """Figure 12: cosines of weights and of features by arm, a bar per pair of stages that is compared.

    ``points``: rows of ``arm, of, between, mean, low, high``. A row that is not there has no bar. The features have a
    logarithmic scale when some of their cosines are less than a tenth of the largest.
    """

    points: pd.DataFrame
    arms: Sequence[str]
    remarks: Sequence[str] = ()

    @property
    def caption(self) -> str:
        note = "PT: after pre-training, RI: random initialisation, FT: after fine-tuning."
        if self.points["low"].notna().any():  # of the authors' runs only the means are public
            note += " Lines: 95 %."
        if self._needs_decades:
            linear = f"-{_LINEAR_BELOW:g} and {_LINEAR_BELOW:g}"
            note += f" The scale of the features is logarithmic, and linear between {linear}."
        return " ".join([note, *self.remarks])

    @property
    def _needs_decades(self) -> bool:
        sizes = self.points.loc[self.points["of"] == "features", "mean"].abs()
        return bool(sizes.min() < sizes.max() / 10)

    def numbers(self) -> pd.DataFrame:
        """Rows arms, columns quantities and pairs of stages: cosines."""
        table = self.points.pivot(index="arm", columns=["of", "between"], values="mean").reindex(self.arms)
        return table.map(cosine_text).fillna("-")

    def draw(self) -> Drawing:
        """(figure, alt text)."""
        figure, axes = panels_in_a_grid(2)
        there, words = [stages for stages in _STAGES if stages in set(self.points["between"])], []
        alone = self.points.groupby("arm")["between"].nunique().reindex(self.arms).to_numpy() == 1
        for axis, quantity in zip(axes, ("weights", "features"), strict=True):
            for place, between in enumerate(there):
                rows = self.points[(self.points["of"] == quantity) & (self.points["between"] == between)]
                rows = rows.set_index("arm").reindex(self.arms)
                spread = [rows["mean"] - rows["low"], rows["high"] - rows["mean"]]
                x = np.arange(len(self.arms)) + np.where(alone, 0, 0.4 * (place - (len(there) - 1) / 2))
                style = {"color": COLOURS[place], "hatch": ("", "//")[place], "edgecolor": "white", "ecolor": "0.2"}
                axis.bar(x, rows["mean"], 0.38, yerr=spread, capsize=2, label=between, **style)
                words += [
                    f"{quantity} {between} {arm} {cosine_text(mean)}" for arm, mean in rows["mean"].dropna().items()
                ]
            axis.set_xticks(range(len(self.arms)), self.arms, rotation=40, ha="right", fontsize=8)
            axis.set_ylabel(f"cosine of {quantity}")
        if self._needs_decades:
            axes[1].set_yscale("symlog", linthresh=_LINEAR_BELOW)
            axes[1].set_ylim(top=1)
            axes[1].axhline(0, color="0.3", linewidth=0.8)
        finish(figure, axes, self.caption)
        return figure, f"Cosine similarities by arm. {self.caption} {'; '.join(words)}."


def cosine_text(cosine: float) -> str:
    """A cosine with three decimals, and a small one with two digits, so that its order of magnitude can be read."""
    return f"{cosine:.3f}" if np.isnan(cosine) or abs(cosine) >= 0.1 else f"{cosine:#.2g}"
