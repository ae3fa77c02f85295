"""Each test against SciPy or by hand, and the error rates of the whole rule on simulated studies."""

import numpy as np
import pytest
from scipy import stats

from synthlib.paper import paper_arms, paper_seeds, paper_table
from synthlib.report.comparisons import against_baseline, against_paper, compare_averages, compare_cells, holm
from synthlib.report.verdicts import (
    AVERAGE,
    AVERAGE_MARGIN,
    CELL_MARGIN,
    EQUAL,
    HIGHER,
    LOWER,
    NOT_ENOUGH_RUNS,
    OWN_DATA,
    REDUCED,
    REPLICA,
    UNDECIDED,
    is_shown,
    verdict,
)
from synthlib.tasks import DATASETS
from tests.report.simulated import MEANS, SPREADS, cells_of, side

# --- the two tests


def test_cells_are_compared_by_welchs_test():
    generator = np.random.default_rng(0)
    x, y = generator.normal(10, 3, (7, 4)), generator.normal(12, 8, (20, 4))
    ours = compare_cells(side(x), side(y))
    scipys = stats.ttest_ind(x, y, equal_var=False)
    assert ours.p_different == pytest.approx(scipys.pvalue)
    interval = scipys.confidence_interval(0.95)
    assert ours.low == pytest.approx(interval.low) and ours.high == pytest.approx(interval.high)
    assert ours.difference == pytest.approx(x.mean(0) - y.mean(0))


def test_equivalence_is_the_worse_of_two_one_sided_tests():
    generator = np.random.default_rng(1)
    x, y = generator.normal(10, 3, (7, 4)), generator.normal(11, 4, (9, 4))
    above = stats.ttest_ind(x + 5, y, equal_var=False, alternative="greater").pvalue
    below = stats.ttest_ind(x - 5, y, equal_var=False, alternative="less").pvalue
    assert compare_cells(side(x), side(y), margin=5).p_equivalent == pytest.approx(np.maximum(above, below))


def test_average_of_one_dataset_is_the_cell_and_of_equals_is_their_mean():
    generator = np.random.default_rng(2)
    x, y = generator.normal(10, 3, (7, 1)), generator.normal(12, 8, (9, 1))
    one = compare_averages(side(x), side(y), margin=5)
    cell = compare_cells(side(x), side(y), margin=5)
    assert [float(value[0]) for value in cell] == pytest.approx([float(value) for value in one])
    # Four data sets alike: the same difference, half the standard error, four times the degrees of freedom.
    four = compare_averages(side(np.tile(x, 4)), side(np.tile(y, 4)), margin=5)
    result = stats.ttest_ind(x[:, 0], y[:, 0], equal_var=False)
    assert four.p_different == pytest.approx(2 * stats.t.sf(2 * abs(result.statistic), 4 * result.df))


def test_runs_without_any_spread_are_compared_too():
    same, apart = (compare_cells((5.0, 0.0, 3), (mean, 0.0, 3), margin=1.0) for mean in (5.0, 8.0))
    assert (same.p_different, same.p_equivalent) == (1.0, 0.0)
    assert (apart.p_different, apart.p_equivalent) == (0.0, 1.0)


def test_one_seed_decides_nothing():
    comparison = compare_cells((5.0, np.nan, 1), (6.0, 1.0, 20))
    assert comparison.difference == -1.0
    assert np.isnan(comparison[1:]).all()


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, np.nan, 0.6]) == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)
    assert holm([0.02]) == pytest.approx([0.02])


# --- error rates, through the whole rule


@pytest.fixture(scope="module")
def simulated_words():
    """Share of studies (of 600) per true difference in which each word falls: any data set, and the average row."""
    generator = np.random.default_rng(0)
    words = {}
    for difference in (0.0, AVERAGE_MARGIN, CELL_MARGIN):
        first, second = MEANS + SPREADS * generator.standard_normal((2, 600, 20, 12))
        first += difference
        rows = compare_cells(side(first), side(second))
        rows = rows._replace(
            p_different=np.array([holm(p) for p in rows.p_different]),
            p_equivalent=np.array([holm(p) for p in rows.p_equivalent]),
        )
        per_cell = np.array(
            [
                [verdict(*cell, 20, CELL_MARGIN) for cell in zip(*study, strict=True)]
                for study in zip(rows.difference, rows.p_different, rows.p_equivalent, strict=True)
            ]
        )
        average = compare_averages(side(first), side(second))
        chosen = zip(average.difference, average.p_different, average.p_equivalent, strict=True)
        words[difference] = per_cell, np.array([verdict(*row, 20) for row in chosen])
    return words


told = np.vectorize(is_shown)
told_small = np.vectorize(lambda word: word.startswith("within") or "by less than" in word)
WITHIN, WITHIN_5 = "within 2.5", "within 5"


# 600 studies: an error rate of 0.05 is seen as at most this much, but for one time in a thousand.
AT_MOST = 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 600)


def test_equal_arms_are_rarely_called_different_anywhere(simulated_words):
    per_cell, average = simulated_words[0.0]
    assert (told(per_cell, HIGHER) | told(per_cell, LOWER)).any(1).mean() < AT_MOST
    assert (told(average, HIGHER) | told(average, LOWER)).mean() < AT_MOST
    assert (average == WITHIN).mean() > 0.9  # and the average row can tell that they are equal
    assert (per_cell == WITHIN_5).mean() > 0.4


def test_arms_that_differ_by_the_margin_are_rarely_said_to_differ_by_less(simulated_words):
    per_cell, _ = simulated_words[CELL_MARGIN]
    assert told_small(per_cell).any(1).mean() < AT_MOST
    assert told(per_cell, HIGHER).mean() > 0.4
    _, average = simulated_words[AVERAGE_MARGIN]
    assert told_small(average).mean() < AT_MOST
    assert told(average, HIGHER).mean() > 0.9
    assert not told(average, LOWER).any()


# --- our arms against each other


def test_against_baseline_finds_the_arm_that_is_better():
    generator = np.random.default_rng(3)
    runs = MEANS + SPREADS * generator.standard_normal((3, 20, 12))
    runs[1] += 15
    runs[2] = runs[0] - 0.1
    table = against_baseline(cells_of(runs, ["CQL", "CQL+MDP", "CQL, matched"]), "CQL")
    assert list(table["arm"].unique()) == ["CQL+MDP", "CQL, matched"]
    assert (table.groupby("arm")["dataset"].last() == AVERAGE).all()
    better = table[table["arm"] == "CQL+MDP"].set_index("dataset")
    assert (better["verdict"] == HIGHER).sum() >= 12 and better.loc[AVERAGE, "verdict"] == HIGHER
    matched = table[table["arm"] == "CQL, matched"].set_index("dataset")
    assert matched.loc[AVERAGE, "verdict"] == WITHIN
    assert matched["difference"].to_numpy() == pytest.approx(-0.1)
    assert better.loc[AVERAGE, "mean"] == pytest.approx(runs[1].mean())
    assert better.loc[AVERAGE, "std"] == pytest.approx(runs[1].std(0).mean())


def test_against_baseline_takes_the_datasets_that_both_have():
    cells = cells_of(np.random.default_rng(0).normal(50, 1, (2, 3, 12)), ["CQL", "CQL+MDP"])
    partial = cells[(cells["arm"] == "CQL") | (cells["dataset"] == "ant-medium")]
    assert list(against_baseline(partial, "CQL")["dataset"]) == ["ant-medium", AVERAGE]
    apart = cells[(cells["arm"] == "CQL") ^ (cells["dataset"] == "ant-medium")]
    nothing = against_baseline(apart, "CQL")
    assert nothing.empty and list(nothing) == list(against_baseline(cells, "CQL"))
    with pytest.raises(ValueError, match="no cell of 'DT'"):
        against_baseline(cells, "DT")


# --- ours against the paper


def our_cells(number, n=20, shift=0.0):
    """Cells that equal those of a table of the paper, moved by ``shift``."""
    printed = paper_table(number)
    cells = printed[printed["dataset"].isin(DATASETS)].drop(columns="table")
    return cells.assign(mean=cells["mean"] + shift, n=n)


@pytest.mark.parametrize("number", [1, 6, 27, 29])
def test_the_papers_own_cells_never_come_out_higher_or_lower(number):
    table = against_paper(our_cells(number), number, "d4rl")
    assert len(table) == len(paper_table(number))
    assert set(table["verdict"]) <= {WITHIN, WITHIN_5, UNDECIDED}
    assert (table.groupby("arm", sort=False)["dataset"].last() == paper_table(number)["dataset"].iloc[-1]).all()
    average = table.groupby("arm", sort=False).last()
    printed = paper_table(number).groupby("arm", sort=False).last()
    assert list(average["paper_mean"]) == list(printed["mean"]) and list(average["paper_std"]) == list(printed["std"])
    assert average["difference"].abs().max() < 1e-9
    assert (average["verdict"] == WITHIN)[[paper_seeds(number, arm) == 20 for arm in average.index]].all()


def test_cells_far_from_the_papers_are_told_and_few_seeds_are_not():
    assert set(against_paper(our_cells(6, shift=60.0), 6, "d4rl")["verdict"]) == {HIGHER}
    assert set(against_paper(our_cells(6, shift=-60.0), 6, "d4rl")["verdict"]) == {LOWER}
    assert set(against_paper(our_cells(6, n=2, shift=60.0), 6, "d4rl")["verdict"]) == {NOT_ENOUGH_RUNS}


def test_a_table_in_progress_shows_every_printed_cell():
    cells = our_cells(6).query("arm == 'CQL' and dataset == 'ant-medium'")
    table = against_paper(cells, 6, "d4rl")
    assert len(table) == 6 * 13
    there = table[table["n"] > 0]
    assert list(there["dataset"]) == ["ant-medium"] and list(there["verdict"]) == [WITHIN_5]
    assert set(table[table["n"] == 0]["verdict"]) == {NOT_ENOUGH_RUNS}
    assert table[table["dataset"] == AVERAGE]["mean"].isna().all()


@pytest.mark.parametrize(("source", "word"), [("replica", REPLICA), ("path", OWN_DATA), ("reduced", REDUCED)])
def test_other_data_is_never_compared_with_the_paper(source, word):
    table = against_paper(our_cells(6), 6, source)
    assert set(table["verdict"]) == {word}
    assert table[["difference", "low", "high", "p_different", "p_equivalent"]].isna().all(axis=None)
    assert table["mean"].notna().all() and table["paper_mean"].notna().all()


def test_the_authors_runs_are_compared_digit_by_digit():
    assert set(against_paper(our_cells(1, shift=0.04), 1, "authors")["verdict"]) == {EQUAL}
    cells = our_cells(1)
    cells.loc[cells.index[0], "std"] += 0.1
    wrong = against_paper(cells, 1, "authors").query("verdict != @EQUAL")
    assert list(zip(wrong["arm"], wrong["dataset"], strict=True)) == [("DT", "halfcheetah-medium-expert")]
    with pytest.raises(ValueError, match="unknown source of data 'D4RL'"):
        against_paper(cells, 1, "D4RL")


def test_seeds_behind_the_papers_columns():
    assert {paper_seeds(6, arm) for arm in paper_arms(6)} == {20}
    assert [paper_seeds(26, arm) for arm in paper_arms(26)] == [3, 20, 20, 20, 20]
    assert [paper_seeds(27, arm) for arm in paper_arms(27)] == [20, 20, 20, 5, 5]
    assert {paper_seeds(number, arm) for number in (28, 29) for arm in paper_arms(number)} == {5}
    with pytest.raises(KeyError, match="no arm 'DT'"):
        paper_seeds(6, "DT")
