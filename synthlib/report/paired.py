"""Two arms compared seed by seed.

Runs with one fine-tuning seed share their minibatches, so their scores may go together. Where they do, the difference
within a seed varies less than that of two independent runs. The rule of all tables (Welch) knows no pairs and needs
more seeds.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from scipy import stats

from synthlib.report.figures import Drawing
from synthlib.report.report import Report

CONFIDENCE = 0.95


def differences(scores: pd.DataFrame, arm: str, other: str) -> pd.DataFrame:
    """The runs of two arms that share data set and seed: columns ``dataset, seed, score, other, difference``.

    ``scores``: of :attr:`synthlib.report.report.Report.scores`.
    """
    keys = ["dataset", "seed"]
    first, second = (scores.loc[scores["arm"] == name, [*keys, "score"]] for name in (arm, other))
    pairs = first.merge(second.rename(columns={"score": "other"}), on=keys)
    return pairs.assign(difference=pairs["score"] - pairs["other"])


def paired_effects(report: Report, pairs: dict[str, list[str]]) -> pd.DataFrame:
    """Mean difference per pair of arms and data set, with Student's t interval over the seeds that both arms have.

    ``pairs``: {arm: arms that it is compared with}. Index: arm, compared with, data set. Columns: ``difference, low,
    high`` in the unit of the scores; ``p`` (two-sided); ``spread``, the sample standard deviation of the differences;
    ``correlation`` of the two arms over seeds; ``n`` pairs. Everything but n and the mean is NaN below two pairs.
    """
    rows = {}
    for arm, others in pairs.items():
        for other in others:
            for dataset, found in differences(report.scores, arm, other).groupby("dataset", sort=False):
                rows[arm, other, dataset] = _effect(found)
    index = pd.MultiIndex.from_tuples(rows, names=["arm", "minus", "data set"]) if rows else None
    columns = ["difference", "low", "high", "p", "spread", "correlation", "n"]
    return pd.DataFrame(list(rows.values()), index=index, columns=columns)


def _effect(found: pd.DataFrame) -> dict[str, float]:
    values, n = found["difference"].to_numpy(), len(found)
    if n < 2:
        return {"difference": float(values.mean()), "n": n}
    test = stats.ttest_1samp(values, 0.0)
    interval = test.confidence_interval(CONFIDENCE)
    return {
        "difference": float(values.mean()),
        "low": float(interval.low),
        "high": float(interval.high),
        "p": float(test.pvalue),
        "spread": float(values.std(ddof=1)),
        "correlation": float(np.corrcoef(found["score"], found["other"])[0, 1]),
        "n": n,
    }


def as_text(effects: pd.DataFrame) -> pd.DataFrame:
    """:func:`paired_effects` to be displayed: ``difference [low, high]``, p, spread, correlation and n."""
    texts = [
        f"{row.difference:+.1f}" + (f" [{row.low:+.1f}, {row.high:+.1f}]" if row.n > 1 else "")
        for row in effects.itertuples()
    ]
    rest = {"p": 3, "spread": 1, "correlation": 2}
    shown = {name: [_rounded(value, digits) for value in effects[name]] for name, digits in rest.items()}
    return pd.DataFrame({"difference, 95 %": texts, **shown, "pairs": effects["n"]}, index=effects.index)


def _rounded(value: float, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def draw_pairs(report: Report, arm: str, other: str) -> Drawing:
    """One line per seed from ``other`` to ``arm``, and the mean of the seeds; one panel per data set."""
    found = differences(report.scores, arm, other)
    datasets = list(dict.fromkeys(found["dataset"]))
    figure, axes = plt.subplots(
        1, max(len(datasets), 1), figsize=(4 * max(len(datasets), 1), 4), layout="constrained", squeeze=False
    )
    for axis, dataset in zip(axes.flat, datasets, strict=False):
        pairs = found.loc[found["dataset"] == dataset, ["other", "score"]].to_numpy()
        axis.plot([0, 1], pairs.T, color="0.6", marker="o", markersize=4, linewidth=0.9)
        axis.plot([0, 1], pairs.mean(axis=0), color="black", marker="o", linewidth=2.2)
        axis.set_xticks([0, 1], [other, arm])
        axis.set_xlim(-0.25, 1.25)
        axis.set_title(f"{dataset}, {len(pairs)} seeds", fontsize=10)
    axes.flat[0].set_ylabel("score")
    sns.despine(figure)
    rising = int((found["difference"] > 0).sum())
    counted = f"{arm} is higher with {rising} of {len(found)} seeds"
    return figure, f"Scores of {other} and of {arm}, joined by seed; {counted}."
