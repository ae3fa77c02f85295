"""One column of cells against another, data set by data set and in the average.

:func:`against_baseline` compares our arms with each other, :func:`against_paper` compares them with a printed table.
The tests are Welch's test and TOST; :mod:`synthlib.report.verdicts` turns their p-values into words.
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from synthlib.paper import paper_seeds, paper_table
from synthlib.report.statistics import Average, average_over_datasets
from synthlib.report.verdicts import (
    AVERAGE,
    AVERAGE_MARGIN,
    CELL_MARGIN,
    NOT_COMPARABLE,
    NOT_ENOUGH_RUNS,
    same_digits,
    verdict,
)

CELL = ("arm", "dataset", "mean", "std", "n")
Side: TypeAlias = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]  # mean, std (ddof 0), n: arrays of one shape


class Comparison(NamedTuple):
    """``difference`` (first minus second), its interval ``low, high``, and two p-values. Floats or equal arrays."""

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_different: np.ndarray
    p_equivalent: np.ndarray


def compare_cells(first: Side, second: Side, margin: float = CELL_MARGIN, confidence: float = 0.95) -> Comparison:
    """Welch's test, and TOST within ``margin``, cell by cell.

    ``first, second``: arrays of one shape (...,). Returns a :class:`Comparison` of arrays (...,). The p-values are not
    corrected; they and the interval are NaN where a side has fewer than two seeds.
    """
    (mean, std, n), (other_mean, other_std, other_n) = ([np.asarray(x)[..., None] for x in s] for s in (first, second))
    return compare_averages((mean, std, n), (other_mean, other_std, other_n), margin, confidence)


def compare_averages(first: Side, second: Side, margin: float = AVERAGE_MARGIN, confidence: float = 0.95) -> Comparison:
    """The same tests for the mean over data sets: the arrays of ``first, second`` are (..., datasets)."""
    return _compare(average_over_datasets(*first), average_over_datasets(*second), margin, confidence)


def _compare(first: Average, second: Average, margin: float, confidence: float = 0.95) -> Comparison:
    difference = first.mean - second.mean
    variances = np.square([first.error, second.error])
    freedoms = (first.freedom, second.freedom)
    total = variances.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = total**2 / (variances**2 / freedoms).sum(0)
        freedom = np.where(total == 0, np.sum(freedoms, axis=0), freedom)
        error = np.sqrt(total)
        distance = np.abs(difference)
        # Equal means without any spread are 0 / 0, and no sign of a difference.
        p_different = 2 * stats.t.sf(np.where(distance == 0, 0.0, distance / error), freedom)
        # The nearer of the two bounds decides, so one tail at the nearer bound is both one-sided tests.
        p_equivalent = stats.t.sf((margin - distance) / error, freedom)
    half_width = stats.t.ppf((1 + confidence) / 2, freedom) * error
    return Comparison(difference, difference - half_width, difference + half_width, p_different, p_equivalent)


def holm(p_values: npt.ArrayLike) -> np.ndarray:
    """Holm's step-down correction of a (tests,) array; NaN entries do not count as tests and stay NaN."""
    adjusted = np.array(p_values, dtype=float)
    tests = np.flatnonzero(~np.isnan(adjusted))
    order = tests[np.argsort(adjusted[tests])]
    stepped = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def against_baseline(
    cells: pd.DataFrame,
    baseline: str,
    arms: Iterable[str] | None = None,
    margin: float = CELL_MARGIN,
    average_margin: float = AVERAGE_MARGIN,
) -> pd.DataFrame:
    """Compare our arms with a baseline of ours on the same data (any data: D4RL's, the replica or other files).

    ``cells``: from :func:`~synthlib.report.statistics.score_cells`, without average rows. ``arms``: all but the
    baseline by default. Call it once per baseline, e.g. ``"CQL"`` and ``"CQL, matched"``. Returns one row per arm and
    data set that both have, and an average row over these data sets (no row for an arm that shares no data set with
    the baseline yet): ``arm, dataset, mean, std, n, baseline, baseline_mean, baseline_std, baseline_n, is_average,
    difference, low, high, p_different, p_equivalent, verdict``. The p-values are corrected after Holm over the data
    sets of an arm.

    Raises ValueError when the baseline, or an arm, has no cell.
    """
    arms = [arm for arm in cells["arm"].unique() if arm != baseline] if arms is None else list(arms)
    if unknown := [arm for arm in (baseline, *arms) if arm not in set(cells["arm"])]:
        raise ValueError(f"no cell of {', '.join(map(repr, unknown))}; arms here: {', '.join(cells['arm'].unique())}")
    reference = cells[cells["arm"] == baseline].rename(columns={"arm": "baseline"})
    columns = []
    for arm in arms:
        pairs = cells.loc[cells["arm"] == arm, [*CELL]].merge(
            reference[["baseline", "dataset", "mean", "std", "n"]], on="dataset", suffixes=("", "_of_baseline")
        )
        pairs = pairs.rename(columns={f"{name}_of_baseline": f"baseline_{name}" for name in ("mean", "std", "n")})
        columns.append(judge_column(pairs, "baseline", margin, average_margin))
    return pd.concat(columns, ignore_index=True)


def against_paper(
    cells: pd.DataFrame,
    number: int,
    compared_as: str,
    margin: float = CELL_MARGIN,
    average_margin: float = AVERAGE_MARGIN,
) -> pd.DataFrame:
    """Compare our cells with score table ``number`` of the paper; our arms have the names that the table prints.

    Average rows in ``cells`` are not used: the average row shown is made of the twelve cells.

    ``compared_as`` says what our runs are. "d4rl": trained on D4RL's data, and tested. "authors": the authors' own
    runs, compared digit by digit. "replica" and "path" (other data) and "reduced" (D4RL's data, but fewer updates than
    the paper's) are not compared: their difference, interval and p-values are NaN.

    Returns one row per printed cell, average rows included, also where we have nothing yet (``n`` 0): ``table, dataset,
    arm, paper_mean, paper_std, paper_n, mean, std, n, is_average, difference, low, high, p_different, p_equivalent,
    verdict``. The p-values are corrected after Holm over the data sets of an arm. Our average row is NaN until all
    twelve data sets are in. Its difference is the average difference of the twelve cells, which the printed average can
    miss by 0.06.

    Raises KeyError when the paper has no such score table, ValueError for an unknown ``compared_as``.
    """
    if compared_as not in (known := ("d4rl", "authors", *NOT_COMPARABLE)):
        raise ValueError(f"unknown source of data {compared_as!r}; known: {', '.join(known)}")
    columns = []
    for arm, printed in paper_table(number).groupby("arm", sort=False):
        printed = printed.rename(columns={"mean": "paper_mean", "std": "paper_std"}).assign(
            paper_n=paper_seeds(number, arm)
        )
        printed_cells, average = printed[~printed["is_average"]], printed[printed["is_average"]]
        pairs = printed_cells.drop(columns="is_average").merge(cells[[*CELL]], on=["arm", "dataset"], how="left")
        pairs["n"] = pairs["n"].fillna(0).astype(int)
        column = judge_column(pairs, "paper", margin, average_margin)
        as_printed = ["dataset", "paper_mean", "paper_std"]
        column.loc[column["is_average"], as_printed] = average[as_printed].to_numpy()
        columns.append(column)
    table = pd.concat(columns, ignore_index=True)
    if compared_as == "authors":
        rows = zip(table["mean"], table["std"], table["paper_mean"], table["paper_std"], table["n"], strict=True)
        table["verdict"] = [same_digits(*row[:4]) if row[4] else NOT_ENOUGH_RUNS for row in rows]
        table[["low", "high", "p_different", "p_equivalent"]] = np.nan
    elif compared_as != "d4rl":
        table["verdict"] = NOT_COMPARABLE[compared_as]
        table[list(Comparison._fields)] = np.nan
    return table


def judge_column(pairs: pd.DataFrame, other: str, margin: float, average_margin: float) -> pd.DataFrame:
    """The paired cells of one arm with their average row, the :class:`Comparison` and the verdict of each row.

    ``pairs``: one row per data set, with the columns ``dataset, mean, std, n`` and ``<other>_mean, <other>_std,
    <other>_n`` beside others that the average row takes over. The new column ``is_average`` marks the average row. No
    pair, no average row.
    """
    pairs = pairs.assign(is_average=False)
    if pairs.empty:
        return pairs.reindex(columns=[*pairs, *Comparison._fields, "verdict"])
    names = (("mean", "std", "n"), (f"{other}_mean", f"{other}_std", f"{other}_n"))
    first, second = ([pairs[name].to_numpy(dtype=float) for name in side] for side in names)
    averages = average_over_datasets(*first), average_over_datasets(*second)
    average_row = pairs.iloc[:1].assign(dataset=AVERAGE, is_average=True)
    for (mean, std, n), average in zip(names, averages, strict=True):
        average_row[mean], average_row[std] = average.mean, average.std
        average_row[n] = average.n.astype(pairs[n].dtype)
    cells = compare_cells((first[0], first[1], first[2]), (second[0], second[1], second[2]), margin)
    cells = cells._replace(p_different=holm(cells.p_different), p_equivalent=holm(cells.p_equivalent))
    table = pd.concat([pairs, average_row], ignore_index=True)
    for name, by_dataset, overall in zip(
        Comparison._fields, cells, _compare(*averages, margin=average_margin), strict=True
    ):
        table[name] = [*by_dataset, overall]
    smaller = table[[side[2] for side in names]].min(axis=1)
    margins = np.where(table["is_average"], average_margin, margin)
    judged = zip(table["difference"], table["p_different"], table["p_equivalent"], smaller, margins, strict=True)
    return table.assign(verdict=[verdict(*row) for row in judged])


def ratio(pairs: pd.DataFrame) -> tuple[float, float, float]:
    """(share, low, high): an arm's mean over data sets divided by its baseline's, with the 95 % interval.

    ``pairs``: one row per data set, ``mean, std, n, baseline_mean, baseline_std, baseline_n``. The delta method: the
    interval is that of the arm minus share times baseline.
    """
    baseline = float(pairs["baseline_mean"].mean())
    share = float(pairs["mean"].mean()) / baseline
    scaled = {name: share * pairs[name] for name in ("baseline_mean", "baseline_std")}
    found = compare_averages(*sides(pairs.assign(**scaled)))
    half_width = float(found.high - found.low) / 2 / abs(baseline)
    return share, share - half_width, share + half_width


def sides(pairs: pd.DataFrame) -> tuple[Side, Side]:
    """An arm and its baseline, each as ``mean, std, n`` of the data sets."""
    arm = pairs["mean"], pairs["std"], pairs["n"]
    return arm, (pairs["baseline_mean"], pairs["baseline_std"], pairs["baseline_n"])
