import numpy as np
import pytest

from synthlib import dt_jobs
from synthlib.paper import logged_scores
from synthlib.preset_power import power_of_presets
from synthlib.study import load_preset


@pytest.fixture(scope="module")
def table():
    return power_of_presets()


def test_overnight_is_the_smallest_number_of_seeds_that_finds_two_differences(table):
    overnight = table.loc["overnight"]
    found = overnight.index[overnight["power"] >= 0.8]
    assert set(found) == {"DT, matched - DT", "DT+Synthetic - DT"}
    assert overnight.loc[found, "seeds for 80 %"].max() == load_preset("overnight", "dt")["seeds"]


def test_evening_finds_one(table):
    evening = table.loc["evening"]
    assert list(evening.index[evening["power"] >= 0.8]) == ["DT+Synthetic - DT"]


def test_the_paper_finds_what_its_table_shows_and_not_everything(table):
    paper = table.loc["paper"]["power"]
    assert paper["DT+Synthetic - DT"] > 0.95 > 0.8 > paper["DT+Wiki - DT"]


def test_rows_are_means_over_the_data_sets_of_the_preset(table):
    row = table.loc[("overnight", "DT+Synthetic - DT")]
    scores = logged_scores().query("dataset == 'halfcheetah-medium-replay' and updates == 10000").set_index("arm")
    assert row["difference"] == pytest.approx(scores.loc["DT+Synthetic", "mean"] - scores.loc["DT", "mean"])
    assert row["spread"] == pytest.approx(scores.loc["DT+Synthetic", "std"] * np.sqrt(20 / 19))
    paper = logged_scores().query("updates == 100000").groupby("arm")["mean"].mean()
    assert table.loc[("paper", "DT+Wiki - DT"), "difference"] == pytest.approx(paper["DT+Wiki"] - paper["DT"])


def test_presets_that_end_where_nothing_is_logged_are_left_out(table):
    assert not {"smoke", "quick"} & set(table.index.get_level_values("preset"))
    assert {"evening", "overnight", "paper"} == set(table.index.get_level_values("preset"))


def test_the_authors_seeds_are_ours(table):
    assert (logged_scores()["n"] == len(dt_jobs.SEEDS)).all()


def test_more_seeds_than_ten_thousand_are_no_number(table):
    assert np.isnan(table.loc[("overnight", "DT+Synthetic - DT, matched"), "seeds for 80 %"])
