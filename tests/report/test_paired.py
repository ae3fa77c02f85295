"""Arms compared seed by seed: pairs, Student's interval, and what pairing saves."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from synthlib.report.paired import as_text, differences, draw_pairs, paired_effects


def report_of(**arms):
    """A report whose arm ``name`` has the scores ``{seed: score}`` on one data set."""
    rows = [
        {"arm": arm, "dataset": "halfcheetah-medium-replay", "seed": seed, "score": score, "updates": 1000}
        for arm, scores in arms.items()
        for seed, score in scores.items()
    ]
    return SimpleNamespace(scores=pd.DataFrame(rows))


def test_only_seeds_that_both_arms_have_make_pairs():
    report = report_of(A={1: 10.0, 2: 20.0, 3: 99.0}, B={2: 15.0, 1: 9.0, 4: -99.0})
    assert differences(report.scores, "A", "B")[["seed", "difference"]].to_numpy().tolist() == [[1, 1.0], [2, 5.0]]


def test_the_effect_is_students_over_the_pairs():
    generator = np.random.default_rng(0)
    shared, first, second = generator.normal(0, 6, 12), generator.normal(4, 2, 12), generator.normal(0, 2, 12)
    report = report_of(A=dict(enumerate(shared + first)), B=dict(enumerate(shared + second)))
    effect = paired_effects(report, {"A": ["B"]}).loc[("A", "B", "halfcheetah-medium-replay")]
    test = stats.ttest_rel(shared + first, shared + second)
    assert (effect["p"], effect["n"]) == (pytest.approx(test.pvalue), 12)
    assert (effect["low"], effect["high"]) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert effect["correlation"] == pytest.approx(np.corrcoef(shared + first, shared + second)[0, 1])
    # What pairing is for: the seeds' common part does not widen the interval.
    unpaired = stats.ttest_ind(shared + first, shared + second, equal_var=False).confidence_interval(0.95)
    assert effect["high"] - effect["low"] < 0.6 * (unpaired.high - unpaired.low)


def test_one_pair_has_a_difference_and_no_interval():
    effects = paired_effects(report_of(A={1: 5.0}, B={1: 3.0}), {"A": ["B"]})
    assert effects["difference"].tolist() == [2.0] and np.isnan(effects.get("low", np.nan)).all()
    assert as_text(effects).iloc[0].tolist() == ["+2.0", "-", "-", "-", 1]


def test_an_arm_without_runs_is_left_out():
    assert paired_effects(report_of(A={1: 5.0}), {"A": ["B"]}).empty
    assert as_text(paired_effects(report_of(A={1: 5.0}), {"A": ["B"]})).empty


def test_the_figure_joins_the_runs_of_a_seed():
    figure, words = draw_pairs(report_of(A={1: 5.0, 2: 2.0}, B={1: 3.0, 2: 4.0}), "A", "B")
    grey = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert grey == [[3.0, 5.0], [4.0, 2.0], [3.5, 3.5]]
    assert "A is higher with 1 of 2 seeds" in words
    plt.close(figure)
