"""What another pre-training would change, beside what another fine-tuning seed changes: two spreads and an effect.

The paper's ± is over fine-tuning seeds that all start from one pre-trained file. Arms that differ in their
``pretraining_seed`` only are one family here. Runs of a family may be complete (every pre-training with every
fine-tuning seed), or a cross: all fine-tuning seeds of the first pre-training, and one fine-tuning seed of the others.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from scipy import stats

from synthlib.report.figures import Drawing
from synthlib.report.palette import COLOURS
from synthlib.report.report import Report
from synthlib.study.params import Artefact

CONFIDENCE = 0.95
_DRAWS = 20_000


class Spread(NamedTuple):
    """A standard deviation with its interval; ``n`` values are behind it."""

    deviation: float
    low: float
    high: float
    n: int


def families(artefact: Artefact) -> dict[str, list[str]]:
    """{first arm: itself and all arms that differ from it in their pre-training seed only}, where there are any."""
    found: dict[str, list[str]] = {}
    kinds: dict[str, str] = {}
    for arm, settings in artefact.arms.items():
        kind = repr(sorted((key, value) for key, value in settings.items() if key not in ("pretraining_seed", "seeds")))
        found.setdefault(kinds.setdefault(kind, arm), []).append(arm)
    return {first: arms for first, arms in found.items() if len(arms) > 1}


def grid(scores: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """The runs of a family on one data set: rows pre-trainings (arms), columns fine-tuning seeds, NaN without a run.

    ``scores``: of :attr:`synthlib.report.report.Report.scores`. Raises ValueError for more than one data set.
    """
    runs = scores[scores["arm"].isin(arms)]
    if runs["dataset"].nunique() > 1:
        raise ValueError(f"spreads are of one data set, not of {', '.join(runs['dataset'].unique())}")
    table = runs.pivot(index="arm", columns="seed", values="score")
    return table.reindex(index=[arm for arm in arms if arm in table.index], columns=runs["seed"].unique())


def spread(values: Sequence[float] | np.ndarray) -> Spread:
    """The sample standard deviation of independent values, with the chi-squared interval of normal values.

    NaN with fewer than two values.
    """
    n = len(values)
    if n < 2:
        return Spread(np.nan, np.nan, np.nan, n)
    deviation = float(np.std(values, ddof=1))
    tails = stats.chi2.ppf([(1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2], n - 1)
    low, high = deviation * np.sqrt((n - 1) / tails)
    return Spread(deviation, float(low), float(high), n)


def analysis_of_variance(table: np.ndarray) -> dict[str, Spread]:
    """The three standard deviations of a complete table: between rows, between columns, and of what is left.

    A two-way analysis of variance with random rows and columns and one value a cell. The variance between rows is
    (mean square of the rows - mean square of the rest) / number of columns, at least 0. Its interval is the generalised
    one: each mean square is divided by a chi-squared draw over its degrees of freedom, and the same formula applied
    (Weerahandi 1993). The interval of the rest is the chi-squared one. Raises ValueError for a table with a hole, or
    with fewer than two rows or columns.
    """
    rows, columns = table.shape
    if min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError("an analysis of variance needs a complete table of two rows and two columns at least")
    by_row, by_column = table.mean(axis=1), table.mean(axis=0)
    rest = table - by_row[:, None] - by_column + table.mean()
    freedoms = {"rows": rows - 1, "columns": columns - 1, "rest": (rows - 1) * (columns - 1)}
    squares = {
        "rows": columns * float(np.var(by_row, ddof=1)),
        "columns": rows * float(np.var(by_column, ddof=1)),
        "rest": float((rest**2).sum()) / freedoms["rest"],
    }
    generator = np.random.default_rng(0)
    drawn = {name: squares[name] * freedoms[name] / generator.chisquare(freedoms[name], _DRAWS) for name in squares}
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    found = {}
    for name, repeats, n in (("rows", columns, rows), ("columns", rows, columns)):
        deviation = np.sqrt(max(squares[name] - squares["rest"], 0) / repeats)
        low, high = np.sqrt(np.quantile(np.maximum(drawn[name] - drawn["rest"], 0) / repeats, ends))
        found[name] = Spread(float(deviation), float(low), float(high), n)
    low, high = np.sqrt(freedoms["rest"] * squares["rest"] / stats.chi2.ppf(ends[::-1], freedoms["rest"]))
    found["rest"] = Spread(float(np.sqrt(squares["rest"])), float(low), float(high), rows * columns)
    return found


def spreads(report: Report) -> pd.DataFrame:
    """One row per family and kind of spread: ``deviation, low, high, n``, in the unit of the report's scores.

    A complete family of several fine-tuning seeds is analysed as a table. Otherwise the spread between pre-trainings is
    that at the fine-tuning seed that most of them have, and the spread between fine-tuning seeds that of the first one.
    """
    rows: dict[tuple[str, str], Spread] = {}
    for first, arms in families(report.artefact).items():
        table = grid(report.scores, arms)
        if table.empty:
            continue
        if min(table.shape) > 1 and table.notna().all(axis=None):
            found = analysis_of_variance(table.to_numpy())
            names = {"rows": "pre-trainings", "columns": "fine-tuning seeds", "rest": "what is left"}
            rows |= {(first, names[kind]): value for kind, value in found.items()}
        else:
            shared = table.notna().sum().idxmax()
            rows[first, f"pre-trainings, at fine-tuning seed {shared}"] = spread(table[shared].dropna().to_numpy())
            rows[first, f"fine-tuning seeds, of {table.index[0]}"] = spread(table.iloc[0].dropna().to_numpy())
    index = pd.MultiIndex.from_tuples(rows, names=["arm", "standard deviation between"]) if rows else None
    return pd.DataFrame(list(rows.values()), index=index, columns=Spread._fields)


def deviations(report: Report, arm: str) -> list[tuple[float, float, float]]:
    """The two spreads of one family, each with its interval: between pre-trainings, between fine-tuning seeds.

    NaN where there are too few runs.
    """
    unknown = (math.nan, math.nan, math.nan)
    rows = {kind: row for (family, kind), row in spreads(report).iterrows() if family == arm}
    kinds = ("pre-trainings", "fine-tuning seeds")
    return [
        next((tuple(row[["deviation", "low", "high"]]) for name, row in rows.items() if name.startswith(kind)), unknown)
        for kind in kinds
    ]


def effect(report: Report, arm: str, control: str) -> pd.Series:
    """One family minus another, paired by pre-training: ``mean, low, high, n`` (Student's t over pre-trainings).

    A pre-training counts with the mean over those fine-tuning seeds that all pre-trainings of both families have. The
    interval is NaN for fewer than two pre-trainings.
    """
    known = families(report.artefact)
    ours, theirs = grid(report.scores, known[arm]), grid(report.scores, known[control])
    pairs = [(one, other) for one, other in zip(known[arm], known[control], strict=True)]
    pairs = [(one, other) for one, other in pairs if one in ours.index and other in theirs.index]
    first, second = ours.loc[[one for one, _ in pairs]], theirs.loc[[other for _, other in pairs]]
    common = [seed for seed in first if seed in second and first[seed].notna().all() and second[seed].notna().all()]
    differences = (first[common].to_numpy() - second[common].to_numpy()).mean(axis=1) if common else np.empty(0)
    n = len(differences)
    if n < 2:
        return pd.Series({"mean": np.nan, "low": np.nan, "high": np.nan, "n": n})
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    mean = differences.mean()
    return pd.Series({"mean": mean, "low": mean - half, "high": mean + half, "n": n})


def runs_by_pretraining(report: Report, unit: str) -> Drawing:
    """Every run as a point, one column of points per pre-training, families side by side; a bar at each mean."""
    known = families(report.artefact)
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    seeds = list(dict.fromkeys(report.scores["seed"]))
    colours = dict(zip(seeds, COLOURS, strict=False))
    place, ticks, words = 0, {}, []
    for first, arms in known.items():
        table = grid(report.scores, arms)
        for arm in table.index:
            values = table.loc[arm].dropna()
            axis.scatter([place] * len(values), values, c=[colours[seed] for seed in values.index], s=26, zorder=3)
            axis.hlines(values.mean(), place - 0.3, place + 0.3, color="0.3", linewidth=1.2)
            ticks[place] = arm.replace(", seed", "\nseed") if arm != first else f"{first}\nfirst"
            words.append(f"{arm} {values.mean():.1f} ({len(values)})")
            place += 1
        place += 1
    for seed in seeds:
        axis.scatter([], [], color=colours[seed], s=26, label=str(seed))
    axis.legend(title="fine-tuning seed", fontsize=8, title_fontsize=8, frameon=False, ncols=len(seeds))
    axis.set_xticks(list(ticks), list(ticks.values()), fontsize=7, rotation=30, ha="right")
    axis.set_ylabel(unit)
    sns.despine(figure)
    return figure, f"{unit} of every run by pre-training; means, with the number of runs: {'; '.join(words)}."


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """:func:`spreads` to be displayed: ``deviation [low, high]`` and n."""
    texts = [f"{row.deviation:.1f} [{row.low:.1f}, {row.high:.1f}]" for row in frame.itertuples()]
    return pd.DataFrame({"95 % interval in brackets": texts, "values": frame["n"]}, index=frame.index)
