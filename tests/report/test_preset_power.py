import numpy as np
import pytest

from synthlib.dt.algorithm import SEEDS
from synthlib.paper import logged_scores
from synthlib.report.preset_power import power_of_presets
from synthlib.report.verdicts import AVERAGE, power_of_cells, seeds_needed
from synthlib.study.plan import make_plan

HALVES = ("evening", "overnight")


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


def test_evening_is_the_first_half_of_overnight():
    evening, overnight = ({cell.job.key for cell in make_plan("table1", name, None).cells} for name in HALVES)
    assert evening < overnight


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
