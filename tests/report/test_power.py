"""Power against simulated studies and the textbook, and what the presets' seeds can find."""

import numpy as np
import pytest

from synthlib.dt.algorithm import SEEDS
from synthlib.paper import logged_scores
from synthlib.report.comparisons import compare_averages, compare_cells, holm
from synthlib.report.power import power, power_of_cells, power_of_presets, power_table, seeds_needed
from synthlib.report.verdicts import AVERAGE
from synthlib.study.plan import make_plan
from synthlib.tasks import DATASETS
from tests.report.simulated import MEANS, SPREADS, cells_of, side

HALVES = ("evening", "overnight")


@pytest.mark.parametrize(("n", "difference"), [(3, 6.0), (20, 2.0)])
def test_power_is_what_simulated_studies_show(n, difference):
    generator = np.random.default_rng(0)
    first, second = MEANS + SPREADS * generator.standard_normal((2, 4000, n, 12))
    found = compare_averages(side(first + difference), side(second)).p_different < 0.05
    expected = power(difference, SPREADS, SPREADS, n)
    assert 0.3 < expected < 0.97
    assert found.mean() == pytest.approx(expected, abs=0.03)


def test_power_of_cells_is_how_often_the_verdicts_of_simulated_studies_are_right():
    generator, n = np.random.default_rng(1), np.array([5, 8, 20])
    difference, std, other_std = np.array([[9.0, 8.0, 2.0], [4.0, 8.0, 3.0], [5.0, 6.0, 3.0]])
    sides = []
    for mean, spread in ((difference, std), (0.0, other_std)):
        runs = [generator.normal(0, spread[i], (4000, n[i])) for i in range(3)]
        moments = ([function(of_one) for of_one in runs] for function in (lambda x: x.mean(1), lambda x: x.std(1)))
        means, spreads = (np.stack(of_all, axis=1) for of_all in moments)
        sides.append((mean + means, spreads, np.broadcast_to(n, means.shape)))
    found = np.apply_along_axis(holm, 1, compare_cells(*sides).p_different) < 0.05
    expected = power_of_cells(difference, std, other_std, n)
    assert ((expected > 0.2) & (expected < 0.95)).all()
    np.testing.assert_allclose(found.mean(axis=0), expected, atol=0.03)
    assert power_of_cells(*(x[:1] for x in (difference, std, other_std, n)))[0] > expected[0]


def test_power_takes_another_number_of_seeds_for_each_data_set():
    assert power(2.0, [1.0, 1.0], [2.0, 2.0], [8, 8]) == power(2.0, [1.0, 1.0], [2.0, 2.0], 8)
    low, high = power(2.0, [1.0, 3.0], [2.0, 2.0], [4, 8]), power(2.0, [1.0, 3.0], [2.0, 2.0], [8, 8])
    assert low < high


def test_power_of_one_cell_agrees_with_the_textbook():
    # Two samples, difference of one standard deviation: 17 per arm for 80 % at level 0.05 (Cohen, 1988, table 2.4.1).
    assert seeds_needed(1.0, 1.0, 1.0) == 17
    assert power(1.0, 1.0, 1.0, 16) < 0.8 <= power(1.0, 1.0, 1.0, 17)
    assert power(0.0, 1.0, 1.0, 20) == pytest.approx(0.05)
    assert power(1000.0, 1.0, 1.0, 20) == 1.0
    assert seeds_needed(1000.0, 1.0, 1.0) == 2
    assert seeds_needed(1e-6, 1.0, 1.0) is None


def test_power_table_reads_the_spreads_from_the_cells():
    runs = np.random.default_rng(0).normal(50, 5, (2, 20, 12))
    cells = cells_of(runs, ["DT", "DT+Wiki"])
    table = power_table(cells, "DT+Wiki", "DT", difference=4.0).set_index("dataset")
    assert list(table.index) == [*DATASETS, AVERAGE]
    spreads = [runs[i, :, 0].std(ddof=1) for i in (0, 1)]
    assert table.loc[DATASETS[0], "power"] == pytest.approx(power(4.0, *spreads, 20))
    assert table.loc[AVERAGE, "seeds"] < table["seeds"].drop(AVERAGE).min()


# --- what the presets' seeds can find


@pytest.fixture(scope="module")
def table():
    return power_of_presets()


def test_overnight_finds_two_differences_with_the_fewest_seeds(table):
    found = table.loc["overnight"].drop(AVERAGE, level="dataset").query("power >= 0.8")
    assert list(found.index) == [
        ("DT+Synthetic - DT", "halfcheetah-medium-replay"),
        ("DT+Synthetic - DT", "walker2d-medium-expert"),
    ]
    columns = ["difference", "spread", "other spread"]
    difference, std, other_std = found[columns].to_numpy().T
    seeds = found["seeds"].to_numpy()
    for fewer in ([1, 0], [0, 1]):
        assert power_of_cells(difference, std, other_std, seeds - fewer).min() < 0.8


def test_evening_finds_one(table):
    evening = table.loc["evening"]
    assert list(evening.index[evening["power"] >= 0.8]) == [("DT+Synthetic - DT", "halfcheetah-medium-replay")]


def test_evening_is_the_first_half_of_overnight_but_for_the_arms_that_read_text():
    wanted = [{cell.job.key: cell.arm for cell in make_plan("table1", name, None).cells} for name in HALVES]
    evening, overnight = wanted
    assert {arm for key, arm in evening.items() if key not in overnight} == {"DT+Wiki", "DT+Wiki, matched"}
    assert {arm for key, arm in evening.items() if key in overnight} == set(overnight.values())


def test_the_paper_finds_what_its_table_shows_and_not_everything(table):
    paper = table.loc["paper"].xs(AVERAGE, level="dataset")["power"]
    assert paper["DT+Synthetic - DT"] > 0.95 > 0.8 > paper["DT+Wiki - DT"]


def test_rows_are_the_authors_scores_and_their_means_over_data_sets(table):
    row = table.loc[("overnight", "DT+Synthetic - DT", "halfcheetah-medium-replay")]
    scores = logged_scores().query("dataset == 'halfcheetah-medium-replay' and updates == 5000").set_index("arm")
    assert row["difference"] == pytest.approx(scores.loc["DT+Synthetic", "mean"] - scores.loc["DT", "mean"])
    assert row["spread"] == pytest.approx(scores.loc["DT+Synthetic", "std"] * np.sqrt(20 / 19))
    paper = logged_scores().query("updates == 100000").groupby("arm")["mean"].mean()
    assert table.loc[("paper", "DT+Wiki - DT", AVERAGE), "difference"] == pytest.approx(paper["DT+Wiki"] - paper["DT"])


def test_presets_that_end_where_nothing_is_logged_are_left_out(table):
    assert not {"smoke", "quick"} & set(table.index.get_level_values("preset"))
    assert {"evening", "overnight", "paper"} == set(table.index.get_level_values("preset"))


def test_the_authors_seeds_are_ours(table):
    assert (logged_scores()["n"] == len(SEEDS)).all()


def test_more_seeds_than_ten_thousand_are_no_number(table):
    assert seeds_needed(0.05, [3.6], [3.4]) is None
    assert table["seeds for 80 %"].isna().any()
