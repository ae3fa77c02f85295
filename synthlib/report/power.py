"""Statistical power: how likely a comparison is to find a difference, and how many seeds it needs.

The comparison is that of :mod:`synthlib.report.comparisons`: Welch's test at 5 %, corrected over the data sets of a
column; their average is one question. :func:`power_of_presets` asks what the seeds of a preset can find, if arms differ
and spread as they did in the authors' runs.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from synthlib.paper import logged_scores
from synthlib.report.comparisons import against_baseline
from synthlib.report.verdicts import AVERAGE, LEVEL
from synthlib.study.params import load_artefact
from synthlib.study.presets import can_train, left_out, load_preset, number_of_seeds, presets


def power(
    difference: float, std: npt.ArrayLike, other_std: npt.ArrayLike, n: npt.ArrayLike, level: float = LEVEL
) -> float:
    """Chance that ``compare_averages`` finds a true ``difference`` with ``n`` seeds per arm and data set.

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


def power_of_cells(
    difference: np.ndarray,
    std: np.ndarray,
    other_std: np.ndarray,
    n: np.ndarray,
    level: float = LEVEL,
    draws: int = 20_000,
) -> np.ndarray:
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


def seeds_needed(
    difference: float,
    std: npt.ArrayLike,
    other_std: npt.ArrayLike,
    level: float = LEVEL,
    wanted: float = 0.8,
    most: int = 10_000,
) -> int | None:
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


def power_table(
    cells: pd.DataFrame, arm: str, baseline: str, difference: float, level: float = LEVEL, wanted: float = 0.8
) -> pd.DataFrame:
    """What a comparison of two of our arms can find: one row per data set, and the average row.

    ``difference``: the true difference to be found, in points. (The power to find the observed difference says no more
    than its p-value.) Returns ``dataset, n`` (the smaller number of seeds), ``power`` with that n, and the ``seeds``
    needed for a power of ``wanted`` (NaN: more than 10,000), spreads as observed. A data set counts where both arms
    have at least two seeds.
    """
    pairs = against_baseline(cells, baseline, [arm]).dropna(subset=["std", "baseline_std"])
    pairs = pairs[~pairs["is_average"]]
    smaller = pairs[["n", "baseline_n"]].min(axis=1)
    first = _sample_spread(pairs["std"], pairs["n"])
    second = _sample_spread(pairs["baseline_std"], pairs["baseline_n"])
    questions = [
        (dataset, n, [a], [b]) for dataset, n, a, b in zip(pairs["dataset"], smaller, first, second, strict=True)
    ]
    rows = [
        (dataset, n, power(difference, a, b, n, level), seeds_needed(difference, a, b, level, wanted))
        for dataset, n, a, b in [*questions, (AVERAGE, smaller.min(), first, second)]
    ]
    return pd.DataFrame(rows, columns=["dataset", "n", "power", "seeds"])


def power_of_presets(name: str = "table1") -> pd.DataFrame:
    """What each preset can find of the differences that the authors' runs show in the artefact ``name``.

    A preset of fewer updates than the paper's is held against the authors' evaluations after as many updates, on the
    data sets that it has. The index has one row per preset, pair of arms that a verdict compares, and data set; then a
    row for their average, which the column ``is_average`` marks. The other columns are ``difference`` in points,
    ``spread`` and ``other spread`` (standard deviation over seeds; for the average their root mean square), ``seeds``
    of the preset (for the average the fewest), its ``power``, and ``seeds for 80 %`` of that row alone (NaN: more than
    10,000). Presets that end where the authors did not evaluate are left out.
    """
    artefact, frames = load_artefact(name), []
    for preset in presets():
        if not can_train(preset, "dt"):
            continue
        settings = load_preset(preset, "dt")
        scores = logged_scores()
        arms = [arm for arm in artefact.arms if arm in set(scores["arm"]) - set(left_out(artefact, settings))]
        scores = scores[scores["dataset"].isin(settings["datasets"]) & (scores["updates"] == settings["updates"])]
        for baseline in filter(None, (artefact.baseline, artefact.control)):
            for arm in arms:
                # The control is compared with the baseline; the other way round would be the same question.
                if arm not in (artefact.baseline, baseline) and not scores.empty:
                    rows = _power_of_preset(scores, arm, baseline, settings)
                    frames.append(rows.assign(preset=preset, comparison=f"{arm} - {baseline}"))
    return pd.concat(frames).set_index(["preset", "comparison", "dataset"])


def _power_of_preset(scores: pd.DataFrame, arm: str, baseline: str, settings: dict[str, Any]) -> pd.DataFrame:
    """The rows of one preset and one pair of arms; ``scores`` are the authors' after as many updates."""
    sides = [scores[scores["arm"] == name].set_index("dataset").sort_index() for name in (arm, baseline)]
    first, second = (_sample_spread(side["std"], side["n"]).to_numpy() for side in sides)
    differences = (sides[0]["mean"] - sides[1]["mean"]).to_numpy()
    datasets = sides[0].index
    seeds = np.array([number_of_seeds(settings, dataset) for dataset in datasets])

    found = power_of_cells(differences, first, second, seeds)
    columns = zip(datasets, differences, first, second, seeds, found, strict=True)
    rows = [_row(dataset, d, np.array([a]), np.array([b]), n, chance) for dataset, d, a, b, n, chance in columns]
    if len(datasets) > 1:
        average = differences.mean()
        chance = power(average, first, second, seeds)
        rows.append(_row(AVERAGE, average, first, second, seeds.min(), chance, is_average=True))
    return pd.DataFrame(rows)


def _row(
    dataset: str,
    difference: float,
    std: np.ndarray,
    other_std: np.ndarray,
    seeds: int,
    chance: float,
    is_average: bool = False,
) -> dict[str, Any]:
    needed = seeds_needed(difference, std, other_std)
    return {
        "dataset": dataset,
        "is_average": is_average,
        "difference": difference,
        "spread": np.sqrt(np.mean(std**2)),
        "other spread": np.sqrt(np.mean(other_std**2)),
        "seeds": seeds,
        "power": chance,
        "seeds for 80 %": np.nan if needed is None else needed,
    }


def _sample_spread(std: pd.Series, n: pd.Series) -> pd.Series:
    """Standard deviation with ddof 1, of one with ddof 0."""
    return std * np.sqrt(n / (n - 1))
