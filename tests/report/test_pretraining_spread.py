"""Spreads between pre-trainings and between fine-tuning seeds, and the effect of pre-training over pre-trainings."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from synthlib.report.pretraining_spread import (
    analysis_of_variance,
    effect,
    families,
    grid,
    runs_by_pretraining,
    spread,
    spreads,
)
from synthlib.study.params import load_artefact

FIRST = {"DT, matched": 5, "DT+Synthetic": 5}


def test_arms_that_differ_in_their_pretraining_seed_are_one_family():
    assert {first: len(arms) for first, arms in families(load_artefact("dt_pretraining_seeds")).items()} == FIRST
    found = families(load_artefact("cql_pretraining_seeds"))
    assert list(found) == ["CQL, matched", "S=100"] and found["S=100"][1] == "S=100, seed 43"
    assert families(load_artefact("table6")) == {}


def report_of(artefact, score, seeds=(666, 1024, 2048, 4069, 0)):
    """What a report would be whose run of ``arm`` with ``seed`` has the score ``score(place of the arm, seed)``."""
    artefact = load_artefact(artefact)
    rows = [
        {"arm": arm, "dataset": "halfcheetah-medium", "seed": seed, "score": score(arms.index(arm), seed)}
        for arms in families(artefact).values()
        for arm in arms
        for seed in artefact.seeds_of_arm(arm, seeds)
    ]
    return SimpleNamespace(artefact=artefact, scores=pd.DataFrame(rows))


def test_the_interval_of_a_standard_deviation_holds_it_as_often_as_it_says():
    generator = np.random.default_rng(0)
    found = [spread(generator.normal(0, 2, 5)) for _ in range(4000)]
    assert np.mean([one.low < 2 < one.high for one in found]) == pytest.approx(0.95, abs=0.012)
    assert found[0].n == 5 and np.isnan(spread([1.0]).deviation)
    # Five values: the declaration's 0.6 to 2.9 times the deviation.
    assert [found[0].low / found[0].deviation, found[0].high / found[0].deviation] == pytest.approx(
        [0.6, 2.87], abs=0.01
    )


def test_the_analysis_of_variance_finds_the_three_deviations_it_was_given():
    generator = np.random.default_rng(3)
    table = generator.normal(0, 3, (400, 1)) + generator.normal(0, 2, (1, 400)) + generator.normal(0, 1, (400, 400))
    found = analysis_of_variance(table)
    for name, deviation in (("rows", 3), ("columns", 2), ("rest", 1)):
        assert found[name].deviation == pytest.approx(deviation, rel=0.1)
        assert found[name].low < deviation < found[name].high


@pytest.mark.parametrize("deviation", [0.0, 2.0])
def test_its_interval_holds_the_spread_between_rows_as_often_as_it_says(deviation):
    generator = np.random.default_rng(2)
    held = []
    for _ in range(150):
        rows, columns = generator.normal(0, deviation, (5, 1)), generator.normal(0, 1, (1, 5))
        found = analysis_of_variance(rows + columns + generator.normal(0, 1, (5, 5)))["rows"]
        held.append(found.low <= deviation <= found.high)
    assert np.mean(held) > 0.9


def test_a_table_with_a_hole_is_no_table_to_analyse():
    with pytest.raises(ValueError, match="complete table"):
        analysis_of_variance(np.array([[1.0, np.nan], [2.0, 3.0]]))


def test_a_complete_family_is_analysed_and_a_cross_gives_its_two_arms():
    complete = spreads(report_of("dt_pretraining_seeds", lambda place, seed: 10 * place + seed % 7))
    assert complete.loc[("DT+Synthetic", "pre-trainings"), "deviation"] == pytest.approx(10 * np.std(range(5), ddof=1))
    assert complete.loc[("DT+Synthetic", "what is left"), "deviation"] == pytest.approx(0, abs=1e-6)
    cross = spreads(report_of("cql_pretraining_seeds", lambda place, seed: 10 * place + seed % 7))
    assert cross.loc[("S=100", "pre-trainings, at fine-tuning seed 666"), "n"] == 5
    between = cross.loc[("S=100", "fine-tuning seeds, of S=100"), "deviation"]
    assert between == pytest.approx(np.std([seed % 7 for seed in (666, 1024, 2048, 4069, 0)], ddof=1))


def test_the_effect_is_paired_by_pretraining():
    report = report_of("cql_pretraining_seeds", lambda place, seed: 10 * place + seed % 7)
    pretrained = report.scores["arm"].str.startswith("S=100")
    report.scores.loc[pretrained, "score"] += 3
    found = effect(report, "S=100", "CQL, matched")
    assert found["n"] == 5 and found[["mean", "low", "high"]].tolist() == pytest.approx([3, 3, 3])
    report.scores = report.scores[~report.scores["arm"].isin(["S=100, seed 43", "CQL, matched, seed 44"])]
    assert effect(report, "S=100", "CQL, matched")["n"] == 3


def test_spreads_of_two_data_sets_are_refused():
    report = report_of("dt_pretraining_seeds", lambda place, seed: 1.0)
    report.scores.loc[0, "dataset"] = "hopper-medium"
    with pytest.raises(ValueError, match="of one data set"):
        grid(report.scores, families(report.artefact)["DT, matched"])


def test_the_drawing_says_every_mean():
    _, alt = runs_by_pretraining(report_of("cql_pretraining_seeds", lambda place, seed: place), "score")
    assert "S=100, seed 46 4.0 (1)" in alt and "CQL, matched 0.0 (5)" in alt
