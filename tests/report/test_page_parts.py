"""What the pages have in common: what they take, predictions, the finding, and pictures beside the paper's numbers."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from synthlib.report.beside_corl import corl_table, why_corl
from synthlib.report.beside_paper import beside_paper
from synthlib.report.findings import in_one_sentence
from synthlib.report.guesses import compared, compared_with_runs, first_and_last_gain
from synthlib.report.opening import in_words, what_it_takes
from synthlib.report.pipeline import pipeline
from synthlib.report.plain_table import plain_table
from synthlib.study.figures import find_artefact
from synthlib.study.plan import make_plan
from synthlib.tasks import DATASETS
from tests.report.curves import report

ARMS = {"CQL": [10.0] * 4, "CQL, matched": [10.0] * 4, "S=100": [30.0] * 4, "S=1000": [10.0] * 4}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def table6():
    return report("table6", ARMS, {"S=100": 10, "S=1000": 10})


@pytest.mark.slow  # the first plan of a fresh folder measures how fast the machine is
def test_what_a_page_takes_comes_from_its_plan(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path))
    table = what_it_takes("table6", "table23")
    assert table.loc["quick", "trainings"] == str(len(make_plan("table6", "quick", "replica").jobs()))
    assert "paper" not in table.index and table.loc["smoke", "processor time"] != "none"
    assert "scouting" not in what_it_takes("table1").index, "a preset of CQL alone"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "none"), (3, "10 seconds"), (44, "40 seconds"), (700, "12 minutes"), (12_240, "3.4 hours")],
)
def test_times_are_said_as_a_reader_says_them(seconds, words):
    assert in_words(seconds) == words


def test_a_prediction_is_right_inside_the_interval_of_the_runs(table6):
    asked = {
        "S=100 over its control": ("S=100", "CQL, matched"),
        "S=1000 over its control": ("S=1000", "CQL, matched"),
        "the control over CQL": ("CQL, matched", "CQL"),
        "S=10 over CQL": ("S=10", "CQL"),
    }
    guesses = dict(zip(asked, (20.0, 5.0, None, 5.0), strict=True))
    table = compared_with_runs(guesses, table6, asked)
    assert table[""].tolist() == ["in the interval", "too high", "", ""]
    assert table["answer"].iloc[0].startswith("+20.") or table["answer"].iloc[0].startswith("+19.")
    assert "higher" in table["answer"].iloc[0] and "within 2.5" in table["answer"].iloc[1]
    assert table["answer"].iloc[3] == "these runs cannot say"
    with pytest.raises(ValueError, match="change the guesses only"):
        compared_with_runs({"another": 1.0}, table6, asked)


def test_a_prediction_may_be_a_word_and_an_answer_may_be_unknown(table6):
    answers = {"share": 40.0, "loss": -2.0, "best arm": "S=10", "open": float("nan"), "open too": "", "left": 1.0}
    guesses = {"share": 20.0, "loss": 1.0, "best arm": " s=10", "open": 3.0, "open too": "S=10", "left": None}
    table = compared(guesses, answers)
    assert table[""].tolist() == ["2 times too small", "off by 3", "right", "", "", ""]
    assert table["answer"].tolist()[2:5] == ["S=10", "these runs cannot say", "these runs cannot say"]
    assert compared({"share": "many"}, {"share": 40.0})[""].item() == "a number is asked for"
    assert compared({"best arm": "S=100"}, {"best arm": "S=10"})[""].item() == "another"
    asked = {"number": 2.0, "pair": ("S=100", "CQL, matched")}
    assert compared_with_runs({"number": 2.0, "pair": "x"}, table6, asked)[""].tolist() == [
        "right, within 10 %",
        "a number is asked for",
    ]


def test_gains_are_those_of_the_ends_of_a_curve():
    means = pd.DataFrame({10: {"a": 3.0, "b": 1.0}, 20: {"a": 4.0, "b": 1.5}, 5: {"a": 0.0, "b": 1.0}})
    assert first_and_last_gain(means, ("a", "b")) == (-1.0, 2.5)
    assert all(map(math.isnan, first_and_last_gain(means, ("a", "c"))))
    first, last = first_and_last_gain(means[[20]], ("a", "b"))
    assert math.isnan(first) and last == 2.5


def test_a_guess_is_held_against_the_interval_of_an_answer():
    answers = {"spread": (1.2, 0.5, 4.0), "few runs": (math.nan, math.nan, math.nan)}
    table = compared({"spread": 5.0, "few runs": 1.0}, answers)
    assert table.loc["spread"].tolist() == ["5.0", "1.2 [0.5, 4.0]", "too high"]
    assert table.loc["few runs"].tolist() == ["1", "these runs cannot say", ""]


def test_the_finding_names_every_arm_and_the_size_of_the_runs(table6):
    sentence = in_one_sentence(table6)
    assert sentence.startswith("In these runs (40 updates, hopper-medium, ant-medium, 5 seeds)")
    against = dict(part.split(": ", 1) for part in sentence.split("against ")[1:])
    assert against["CQL, matched"].startswith("higher: S=100 (+") and "within 2.5: S=1000 (" in against["CQL, matched"]
    assert "CQL (" not in against["CQL, matched"], "the two baselines are compared once"
    assert "against CQL, matched: not enough runs of 2 arms." in in_one_sentence(report("table6", ARMS, {}, seeds=2))
    alone = report("table6", {"CQL": [1.0] * 4}, {})
    assert in_one_sentence(alone).endswith("compare no arms with each other yet.")


def test_many_data_sets_are_counted_and_not_named():
    many = report("table6", ARMS, {}, datasets=DATASETS[:4])
    assert in_one_sentence(many).startswith("In these runs (40 updates, 4 data sets, 5 seeds)")


def test_the_plain_table_has_an_arm_per_row_with_two_differences_in_words(table6):
    table = plain_table(table6)
    assert list(table.columns) == ["mean over data sets", "paper", "over CQL", "over its control"]
    assert table.loc["S=100", "over its control"].endswith(", higher") and table.loc["CQL", "over CQL"] == "-"
    assert table.loc["S=1000", "paper"] == "85.6" and table.loc["CQL, matched", "over CQL"].endswith("within 2.5")
    assert "paper" not in plain_table(report("cql_start", ARMS | {"CQL+IID": [1.0] * 4}, {}))


def test_our_means_stand_beside_the_printed_ones_with_an_arm_on_one_place(table6):
    figure, alt = beside_paper(table6)
    assert "paper: CQL 78.0" in alt and "S=1000 85.6" in alt and "An arm without a point left" in alt
    labels = [[text.get_text() for text in axis.get_xticklabels()] for axis in figure.axes]
    assert labels[0] == labels[1] == list(find_artefact("table6").arms)
    with pytest.raises(ValueError, match="no printed scores"):
        beside_paper(report("cql_start", ARMS | {"CQL+IID": [1.0] * 4}, {}))


def test_corl_is_far_above_on_the_expert_mixtures_only():
    table = corl_table("CQL")
    assert table.loc["halfcheetah-medium-expert", ["paper", "CORL"]].round(1).tolist() == [35.9, 95.6]
    assert np.sum(table["difference"] > 5) == 2
    assert "95.6 beside 35.9" in why_corl("CQL") and "2 of them (halfcheetah-medium-expert, hopper" in why_corl("CQL")
    assert "beside 44.9" in why_corl("DT")


@pytest.mark.parametrize("algorithm", ["dt", "cql"])
def test_the_pipeline_says_what_is_copied_and_fits_its_figure(algorithm):
    figure, alt = pipeline(algorithm)
    assert "copied: " in alt and ", matched: initial weights" in alt
    figure.draw_without_rendering()
    size = figure.get_window_extent()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert size.x0 <= box.x0 and box.x1 <= size.x1, text.get_text()
