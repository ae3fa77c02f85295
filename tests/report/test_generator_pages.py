"""The pages of sections 3.2, 4.1 and 4.3: their numbers, their sentences and their drawings."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from synthlib.generators.mdp import MDPConfig
from synthlib.report import centroid_page, chain_page, mdp_page
from synthlib.report.guesses import compared
from synthlib.report.printed import as_text
from synthlib.study import critic_study


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data():
    return critic_study.kinds()


@pytest.fixture(scope="module")
def measured(data):
    return {name: critic_study.measure(data[name]) for name in ("tau=0.01", "tau=1", "CQL+IID")}


@pytest.fixture(scope="module")
def spreads(data, measured):
    return centroid_page.spreads({name: data[name] for name in measured}, measured)


@pytest.fixture
def learning():
    """Made up: critics after 10 and 100 updates."""
    rows = [
        {"data": name, "updates": updates, "critic": critic, "structure": share, "noise": share / 2}
        | {"variance": 1e-4, "error_to_exact": 1e-4, "error_to_empirical": 1e-3}
        for name, share in (("tau=0.01", 0.5), ("tau=1", 0.1), ("CQL+IID", np.nan))
        for updates in (10, 100)
        for critic in ("q1", "q2")
    ]
    return pd.DataFrame(rows).fillna({"noise": 0.05})


def test_the_numbers_of_the_chains():
    table = chain_page.by_temperature()
    assert table.loc["tau=0.01", "to learn in all"] == pytest.approx(3.586, abs=1e-3)
    assert table["paper, Table 4"].tolist() == [71.7, 73.1, 73.6, 72.4, 71.9]
    few = chain_page.by_states((10, 10_000))
    assert few.loc["S10000", "to learn in all"] == pytest.approx(few.loc["S10000", "limit of many states"], abs=5e-4)
    assert as_text(few).loc["S10000", "mutual information"] == "-"
    assert as_text(few).loc["S10"].tolist()[-1] == "71.9"


def test_the_finding_of_the_chains():
    assert chain_page.finding().startswith(
        "A model that knows the paper's default chain perfectly saves 0.040 of 4.605 nat per token (0.9%); at "
        "temperature 0.01 it saves 3.586, at 10 0.0004, and with 1,000 states"
    )
    figure_7 = chain_page.figure7_finding()
    assert "tau = 0.001  largest probability 1.000; 90 % of the steps go to 1 state\n" in figure_7
    assert "tau = 10     largest probability 0.010; 90 % of the steps go to 90 states" in figure_7


@pytest.mark.parametrize(
    ("drawing", "says"),
    [
        (lambda: chain_page.transitions((0.01, 1.0)), "tau 0.01: 3.5858; tau 1: 0.0403"),
        (chain_page.figure7, "tau 0.001: 1.000; tau 0.01: 0.721; tau 0.1: 0.088; tau 1: 0.015; tau 10: 0.010"),
        (lambda: chain_page.first_tokens((0.01,)), "tau 0.01: 0.802 first"),  # faithfulness 1.3
        (chain_page.entropy_curves, "tau 0.01: 1.019; tau 0.1: 3.311; tau 1: 4.565"),
        (mdp_page.vector_tables, "100 random state vectors (17 dimensions) and 100 action vectors (6)"),
        (lambda: mdp_page.first_steps((0.01, 1.0)), "tau 0.01: 1, 7, 42, 87; tau 1: 1, 100, 100, 100"),
        (mdp_page.shared_rows, "up to 13 pairs share a row"),
        (lambda: mdp_page.visits((0.01,)), "tau 0.01: 1,021 of 10,000 pairs"),
        (lambda: centroid_page.spread_curves((10,), (10, 20)), "10 states and actions: 0.0023 and 2.7e-05"),
    ],
)
def test_a_drawing_says_in_words_what_it_shows(drawing, says):
    figure, alt = drawing()
    assert says in alt and len(alt) < 1200
    figure.draw_without_rendering()
    size = figure.get_window_extent()
    for axis in figure.axes:
        box = axis.get_tightbbox()
        assert size.x0 - 1 <= box.x0 and box.x1 <= size.x1 + 1 and size.y0 - 1 <= box.y0 and box.y1 <= size.y1 + 1


def test_the_finding_of_the_mdp():
    table = mdp_page.by_temperature((0.01, 1.0))
    assert mdp_page.finding(table) == (
        "The 1,000 trajectories of the paper's default MDP start in state 51, its 10,000 pairs of state and action "
        "share 1,444 transition rows, and knowing the pair saves 0.040 of 4.605 nat about the next state; at "
        "temperature 0.01 it saves 3.334, but a million transitions contain only 1,021 of the pairs."
    )


def test_the_occupation_starts_where_the_trajectories_start():
    one = mdp_page.occupation(MDPConfig(), 2)
    assert one[0].argmax() == 51 and one[0].max() == 1 and np.allclose(one.sum(axis=1), 1)
    assert mdp_page.occupation(MDPConfig(random_start=True), 0)[0].max() < 0.05


def test_the_finding_of_the_centroids(spreads, learning):
    assert centroid_page.finding(spreads, learning) == (
        "In the paper's default data the centroids of the MDP lie 4% further apart than those of IID data (0.0609 and "
        "0.0585 per dimension), because 92% of their variance is sampling noise; the 10,000 pairs have 1,444 different "
        "exact centroids, which explain 0.08% of the next state; and after 100 updates the critics have learnt 10.0% "
        "of this structure and 5.0% of the noise."
    )
    assert centroid_page.spread_table(spreads, ["tau=1"]).loc["tau=1", "empirical centroids"] == "0.00371"
    table = centroid_page.learning_table(learning)
    assert table["structure learnt"].tolist() == ["50.0%", "10.0%", "-"]


def test_the_paper_s_conclusion_stands_beside_its_own_gains(spreads):
    gains = centroid_page.printed_gains()
    assert gains.loc["tau=1", "difference"] == pytest.approx(84.9 - 78.0, abs=0.06)
    assert gains.loc["S=1000", "difference"] == pytest.approx(85.6 - 78.0, abs=0.06)
    said = centroid_page.conclusion(spreads, gains).splitlines()
    assert said[0].startswith("tau=1, CQL+IID: centroids as far apart as IID's")
    assert said[2:] == ["  tau=0.01   6.6 times  +1.4 [-0.1, +2.8]"]


def test_the_drawings_of_critics(spreads, learning, measured):
    names = list(measured)
    figure, alt = centroid_page.learning_curves(learning, names)
    assert "structure of tau=1 0.10" in alt and "structure of CQL+IID" not in alt and "noise of CQL+IID 0.05" in alt
    assert len(figure.axes[0].lines) == 3 and len(figure.axes[1].lines) == 4  # with the line at 1
    _, alt = centroid_page.gains_against_distance(spreads, learning, centroid_page.printed_gains())
    assert "tau=0.01 +1.4" in alt and "tau=0.01 0.389" in alt
    figure, alt = centroid_page.clouds(
        {"exact": {name: found.exact for name, found in measured.items()}},
        {name: np.zeros((100, 17)) for name in measured},
    )
    assert "exact, CQL+IID: 0.000" in alt and len(figure.axes) == 3


def test_guesses_are_compared_with_answers():
    table = compared({"a": None, "b": 4.0, "c": 1.04, "d": 0.5, "e": 0.0}, {"a": 3, "b": 2, "c": 1, "d": 1, "e": 0})
    assert table.iloc[:, 2].tolist() == ["", "2 times too large", "right, within 10 %", "2 times too small", "right"]
    assert table.loc["a"].tolist() == ["none", "3", ""]
    with pytest.raises(ValueError, match="change the guesses only"):
        compared({"a": 1}, {"b": 1})
