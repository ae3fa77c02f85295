"""Declared rules that turn two columns of cells into words, and the number of seeds that such a decision needs.

One column is compared with another, data set by data set and in the average. Seeds are independent samples (Welch):
arms that share their batches are rather better known than that, never worse. Two questions are asked at level 0.05:
is there a difference (two-sided), and is it smaller than a margin declared beforehand (two one-sided tests, TOST).
Over the data sets both are corrected after Holm, so that one wrong word anywhere in a column has at most that chance;
the average row is one question and is not corrected. The tests simulate these error rates.

What no rule here can know: every paper arm has ONE pre-trained file, so these are statements about fine-tuning seeds.
"""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from synthlib.paper import AVERAGE_ROWS, paper_seeds, paper_table
from synthlib.report.statistics import average_with_error
from synthlib.tasks import DATASETS

LEVEL = 0.05
MINIMUM_SEEDS = 3
# Points of normalised score. The paper's gains are 5.9 (DT) and 6.9 (CQL) in the average: a margin of less than half
# of that cannot hide them. A cell spreads more, so its margin is wider.
CELL_MARGIN = 5.0
AVERAGE_MARGIN = 2.5

EQUAL = "equal to the digit"
DIGITS_DIFFER = "digits differ"
AGREES = "agrees"
HIGHER = "higher"
LOWER = "lower"
UNDECIDED = "undecided"
NOT_ENOUGH_RUNS = "not enough runs"
REPLICA = "replica data, not comparable"
OWN_DATA = "own data, not comparable"
REDUCED = "smaller runs, not comparable"
NOT_COMPARABLE = {"replica": REPLICA, "path": OWN_DATA, "reduced": REDUCED}
HOLDS = "holds"
FAILS = "fails"
AVERAGE = AVERAGE_ROWS[0]
CELL = ("arm", "dataset", "mean", "std", "n")


class Comparison(NamedTuple):
    """``difference`` (first minus second), its interval ``low, high``, and two p-values. Floats or equal arrays."""

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_different: np.ndarray
    p_equivalent: np.ndarray


def compare_cells(first, second, margin=CELL_MARGIN, confidence=0.95):
    """Welch's test, and TOST within ``margin``, cell by cell.

    ``first, second``: (mean, std, n), arrays of one shape (...,), ``std`` with ddof 0. Returns a
    :class:`Comparison` of arrays (...,), p-values not corrected; NaN where a side has one seed or none.
    """
    return compare_averages(*[[np.asarray(x)[..., None] for x in side] for side in (first, second)], margin, confidence)


def compare_averages(first, second, margin=AVERAGE_MARGIN, confidence=0.95):
    """The same for the mean over data sets: ``first, second`` as (mean, std, n), arrays (..., datasets)."""
    means, errors, freedoms = zip(*(average_with_error(*side) for side in (first, second)), strict=True)
    difference = means[0] - means[1]
    variances = np.square(errors)
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


def holm(p_values):
    """Holm's step-down correction of a (tests,) array; NaN entries are no tests and stay NaN."""
    adjusted = np.array(p_values, dtype=float)
    tests = np.flatnonzero(~np.isnan(adjusted))
    order = tests[np.argsort(adjusted[tests])]
    stepped = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def verdict(difference, p_different, p_equivalent, n, level=LEVEL):
    """Rule for one comparison; p-values already corrected, ``n`` the smaller number of seeds.

    Fewer than three seeds: "not enough runs". Shown to be smaller than the margin: "agrees", even when the difference
    is also shown to be there. Otherwise shown to be there: "higher" or "lower". Neither: "undecided".
    """
    if not n >= MINIMUM_SEEDS or np.isnan(difference):
        return NOT_ENOUGH_RUNS
    if p_equivalent < level:
        return AGREES
    if p_different < level:
        return HIGHER if difference > 0 else LOWER
    return UNDECIDED


def same_digits(mean, std, paper_mean, paper_std):
    """Rule for the authors' own runs, which are the paper's: equal when both numbers round to the printed tenth."""
    close = abs(mean - paper_mean) <= 0.05 + 1e-9 and abs(std - paper_std) <= 0.05 + 1e-9
    return EQUAL if close else DIGITS_DIFFER


def against_baseline(cells, baseline, arms=None, margin=CELL_MARGIN, average_margin=AVERAGE_MARGIN):
    """Compare arms of ours with a baseline of ours on the same data (any data: paper, replica or other).

    ``cells`` from :func:`~synthlib.report.statistics.score_cells`. Call it once per baseline, e.g. ``"CQL"`` and
    ``"CQL, matched"``. Returns one row per arm and data set that both have, and an average row over these (none for an
    arm that shares no data set with the baseline yet):
    ``arm, dataset, mean, std, n, baseline, baseline_mean, baseline_std, baseline_n, difference, low, high,
    p_different, p_equivalent, verdict``. The p-values are corrected after Holm over the data sets of an arm.

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
        columns.append(_judge_column(pairs, "baseline", margin, average_margin))
    return pd.concat(columns, ignore_index=True)


def against_paper(cells, number, source, margin=CELL_MARGIN, average_margin=AVERAGE_MARGIN):
    """Compare our cells with score table ``number`` of the paper; our arms carry the paper's names for that table.

    Average rows in ``cells`` are not used: the one shown is made of the twelve cells.

    ``source`` is the data our runs were fine-tuned on: "d4rl" is tested, "authors" (the authors' own runs) is compared
    digit by digit; "replica", "path" and "reduced" (D4RL's data, but fewer updates than the paper's) are not compared:
    their difference and p-values are NaN.

    Returns one row per printed cell, average rows included, also where we have nothing yet (``n`` 0): ``table, arm,
    dataset, mean, std, n, paper_mean, paper_std, paper_n, difference, low, high, p_different, p_equivalent, verdict``.
    The p-values are corrected after Holm over the data sets of an arm. Our average row is NaN until all twelve data
    sets are in; its difference is that of the twelve cells, which the printed average can miss by 0.06.

    Raises KeyError for a table that is not there, ValueError for an unknown source.
    """
    if source not in (known := ("d4rl", "authors", *NOT_COMPARABLE)):
        raise ValueError(f"unknown source of data {source!r}; known: {', '.join(known)}")
    columns = []
    for arm, printed in paper_table(number).groupby("arm", sort=False):
        printed = printed.rename(columns={"mean": "paper_mean", "std": "paper_std"}).assign(
            paper_n=paper_seeds(number, arm)
        )
        is_average = printed["dataset"].isin(AVERAGE_ROWS)
        pairs = printed[~is_average].merge(cells[[*CELL]], on=["arm", "dataset"], how="left")
        pairs["n"] = pairs["n"].fillna(0).astype(int)
        column = _judge_column(pairs, "paper", margin, average_margin)
        as_printed = ["dataset", "paper_mean", "paper_std"]
        column.loc[len(column) - 1, as_printed] = printed.loc[is_average, as_printed].iloc[0]
        columns.append(column)
    table = pd.concat(columns, ignore_index=True)
    if source == "authors":
        rows = zip(table["mean"], table["std"], table["paper_mean"], table["paper_std"], table["n"], strict=True)
        table["verdict"] = [same_digits(*row[:4]) if row[4] else NOT_ENOUGH_RUNS for row in rows]
        table[["low", "high", "p_different", "p_equivalent"]] = np.nan
    elif source != "d4rl":
        table["verdict"] = NOT_COMPARABLE[source]
        table[list(Comparison._fields)] = np.nan
    return table


def judge_claim(claim, cells, margin=CELL_MARGIN, average_margin=AVERAGE_MARGIN):
    """Apply the comparisons of one of :func:`~synthlib.paper.paper_claims` to cells of any one source of runs.

    ``cells``: columns ``table, arm, dataset, mean, std, n`` with the paper's arm names; average rows are not used. Each
    comparison is answered by :func:`claim_answer`; the claim holds when all hold (so none needs a correction), fails
    when one fails, and else is undecided or has not enough runs. Returns (word, frame): one row per comparison with
    ``must`` and ``answer`` beside the columns of :func:`against_baseline`.

    Raises ValueError for a claim without ``compare`` (it is not about scores).
    """
    if "compare" not in claim:
        raise ValueError(f"claim {claim['id']!r} is not about scores; see its costs or shown_in")
    tests = []
    for rule in claim["compare"]:
        baseline_table = rule.get("baseline_table", rule["table"])
        for arm, baseline in itertools.product(rule["arms"], rule["baselines"]):
            pair = {}
            for role, table, name in (("arm", rule["table"], arm), ("baseline", baseline_table, baseline)):
                chosen = cells[(cells["table"] == table) & (cells["arm"] == name)]
                # Every data set, so that one without runs is seen, and an average over fewer than twelve never made.
                pair[role] = chosen.set_index("dataset").reindex(DATASETS)[["mean", "std", "n"]].fillna({"n": 0})
            pairs = pair["arm"].join(pair["baseline"].add_prefix("baseline_")).reset_index()
            pairs.insert(0, "arm", arm)
            pairs["baseline"] = baseline
            column = _judge_column(pairs, "baseline", margin, average_margin)
            rows = [AVERAGE] if rule["rows"] == "average" else DATASETS if rule["rows"] == "each" else rule["rows"]
            column = column[column["dataset"].isin(rows)]
            tests.append(column.assign(table=rule["table"], baseline_table=baseline_table, must=rule["must"]))
    tests = pd.concat(tests, ignore_index=True)
    margins = np.where(tests["dataset"] == AVERAGE, average_margin, margin)
    tests["answer"] = [claim_answer(row, size) for row, size in zip(tests.itertuples(), margins, strict=True)]
    return strictest(tests["answer"]), tests


def strictest(answers):
    """One word for several comparisons that must all hold."""
    answers = set(answers)
    return next((word for word in (FAILS, NOT_ENOUGH_RUNS, UNDECIDED) if word in answers), HOLDS)


def claim_answer(row, margin, level=LEVEL):
    """Rule for one comparison of a claim: ``row`` with must, difference, low, high, p_different, p_equivalent, verdict.

    "higher" holds when the 95 % interval lies above 0; it fails when the arm is shown to be lower, or shown to differ
    by less than the margin. "not lower" holds when the interval lies above minus the margin, and fails when the arm is
    shown to be lower; "not higher" is its mirror. What is neither is undecided.
    """
    if row.verdict == NOT_ENOUGH_RUNS:
        return NOT_ENOUGH_RUNS
    sign = -1 if row.must == "not higher" else 1
    worst = row.low if sign > 0 else -row.high
    if worst > (0 if row.must == "higher" else -margin):
        return HOLDS
    shown_otherwise = row.p_different < level and sign * row.difference < 0
    if shown_otherwise or (row.must == "higher" and row.p_equivalent < level):
        return FAILS
    return UNDECIDED


def _judge_column(pairs, other, margin, average_margin):
    """Append the average row, the :class:`Comparison` and the verdict to the paired cells of one arm."""
    if pairs.empty:  # nothing to compare, and no average of nothing
        return pairs.reindex(columns=[*pairs, *Comparison._fields, "verdict"])
    names = (("mean", "std", "n"), tuple(f"{other}_{name}" for name in ("mean", "std", "n")))
    average = pairs.iloc[:1].assign(dataset=AVERAGE)
    for mean, std, n in names:
        average[mean], average[std] = pairs[mean].mean(skipna=False), pairs[std].mean(skipna=False)
        average[n] = pairs[n].min()
    sides = [[pairs[name].to_numpy(dtype=float) for name in side] for side in names]
    rows = compare_cells(*sides, margin=margin)
    rows = rows._replace(p_different=holm(rows.p_different), p_equivalent=holm(rows.p_equivalent))
    last = compare_averages(*sides, margin=average_margin)
    table = pd.concat([pairs, average], ignore_index=True)
    for name, of_rows, of_last in zip(Comparison._fields, rows, last, strict=True):
        table[name] = [*of_rows, of_last]
    smaller = table[[side[2] for side in names]].min(axis=1)
    judged = zip(table["difference"], table["p_different"], table["p_equivalent"], smaller, strict=True)
    return table.assign(verdict=[verdict(*row) for row in judged])


def power(difference, std, other_std, n, level=LEVEL):
    """Chance that :func:`compare_averages` finds a true ``difference`` with ``n`` seeds per arm and data set.

    ``std, other_std``: (datasets,) true spreads over seeds, estimated with ddof 1; one entry for a single cell. ``n``:
    one number or (datasets,). Noncentral t with Satterthwaite's degrees of freedom.
    """
    spreads = np.array([np.atleast_1d(std), np.atleast_1d(other_std)])
    n = np.broadcast_to(n, spreads.shape).ravel()
    variances = spreads.ravel() ** 2 / n
    datasets = spreads.shape[1]
    freedom = variances.sum() ** 2 / (variances**2 / (n - 1)).sum()
    shift = difference * datasets / np.sqrt(variances.sum())
    limit = stats.t.ppf(1 - level / 2, freedom)
    wrong_side = np.nan_to_num(stats.nct.cdf(-limit, freedom, shift))  # SciPy gives NaN where it is below 1e-30
    return float(stats.nct.sf(limit, freedom, shift) + wrong_side)


def power_of_cells(difference, std, other_std, n, level=LEVEL, draws=20_000):
    """Chance that each of several cells is found to differ, Holm's correction over them included: (datasets,).

    ``difference, std, other_std, n`` are (datasets,), as in :func:`power`. Simulated, always with the same draws: the
    standard error is at most 0.004.
    """
    rng, shape = np.random.default_rng(0), (draws, len(difference))
    variances = [spread**2 * rng.chisquare(n - 1, shape) / (n - 1) / n for spread in (std, other_std)]
    total = np.add(*variances)
    found = rng.normal(difference, np.sqrt((std**2 + other_std**2) / n), shape)
    freedom = total**2 / (np.square(variances).sum(0) / (n - 1))
    p_values = 2 * stats.t.sf(np.abs(found) / np.sqrt(total), freedom)
    order = p_values.argsort(axis=1)
    stepped = np.take_along_axis(p_values, order, axis=1) * np.arange(shape[1], 0, -1)
    adjusted = np.empty(shape)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(stepped, axis=1), axis=1)
    return (adjusted < level).mean(axis=0)


def seeds_needed(difference, std, other_std, level=LEVEL, wanted=0.8, most=10_000):
    """Smallest number of seeds per arm and data set with :func:`power` of at least ``wanted``; None beyond ``most``."""
    low, high = 1, 2
    while power(difference, std, other_std, high, level) < wanted:
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:  # power grows with n, so halve the bracket
        middle = (low + high) // 2
        low, high = (low, middle) if power(difference, std, other_std, middle, level) >= wanted else (middle, high)
    return high


def power_table(cells, arm, baseline, difference, level=LEVEL, wanted=0.8):
    """What a comparison of two of our arms can find: one row per data set, and the average row.

    ``difference``: the true difference to be found, in points; the observed one only answers "had it been this size".
    Returns ``dataset, n`` (the smaller one), ``power`` with that n, and ``seeds`` needed for ``wanted`` (NaN: more than
    10,000), spreads as observed. A data set counts where both arms have at least two seeds.
    """
    pairs = against_baseline(cells, baseline, [arm]).dropna(subset=["std", "baseline_std"])
    pairs = pairs[pairs["dataset"] != AVERAGE]
    smaller = pairs[["n", "baseline_n"]].min(axis=1)
    spreads = [pairs[x] * np.sqrt(pairs[n] / (pairs[n] - 1)) for x, n in (("std", "n"), ("baseline_std", "baseline_n"))]
    questions = [(dataset, n, [a], [b]) for dataset, n, a, b in zip(pairs["dataset"], smaller, *spreads, strict=True)]
    rows = [
        (dataset, n, power(difference, *std, n, level), seeds_needed(difference, *std, level, wanted))
        for dataset, n, *std in [*questions, (AVERAGE, smaller.min(), *spreads)]
    ]
    return pd.DataFrame(rows, columns=["dataset", "n", "power", "seeds"])
