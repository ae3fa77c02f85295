import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from synthlib.report.paper_figures import (
    described_figure,
    learning_curves,
    scores_at_shares,
    scores_by_data,
    similarity_bars,
)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def evaluations():
    """Two arms, two data sets, two seeds, ten evaluations; score = updates / 10 + data set + 0 or 2 by seed."""
    rows = [
        {"arm": arm, "dataset": dataset, "seed": seed, "updates": u, "score": u / 10 + 10 * d + 2 * seed, "loss": 1 / u}
        for arm in ("A", "B")
        for d, dataset in enumerate(("hopper-medium", "ant-medium"))
        for seed in (0, 1)
        for u in range(10, 101, 10)
    ]
    return pd.DataFrame(rows)


def lines(axis):
    return {line.get_label(): line.get_xydata() for line in axis.get_lines()}


def test_curves_are_moving_averages_of_five_averaged_over_data_sets_and_shifted():
    figure, alt = learning_curves(evaluations(), ["A", "B"], values=["score"], over="average", shift={"B": 200})
    (axis,) = figure.axes
    a, b = lines(axis)["A"], lines(axis)["B"]
    # At 100 updates: evaluations 60-100 average 8; data sets add 5, seeds 1. At 10 there is one evaluation.
    assert tuple(a[-1]) == (100, 14) and tuple(a[0]) == (10, 7)
    np.testing.assert_allclose(b - a, [[200, 0]] * 10)
    note = figure._supxlabel.get_text()
    assert "scores are moving averages of 5 evaluations" in note and "B by 200" in " ".join(note.split())
    assert "normalised score A 14" in alt


def test_the_alt_text_names_the_axis_that_is_drawn():
    for shift in ({}, {"B": 200}):
        figure, alt = learning_curves(evaluations(), ["A", "B"], over="average", shift=shift)
        assert alt.startswith(f"Curves against {figure.axes[0].get_xlabel()}. ")
    assert figure.axes[0].get_xlabel() == "updates, pre-training of shifted arms included"


def test_a_loss_is_not_smoothed_so_that_it_has_no_kink_of_our_making():
    figure, alt = learning_curves(evaluations(), ["A"], values=["score", "loss"], over="average")
    score, loss = (lines(axis)["A"] for axis in figure.axes)
    np.testing.assert_allclose(loss[:, 1], 1 / loss[:, 0])
    assert score[-1][1] == 14 and "losses are not smoothed" in alt


def test_curves_by_data_set_have_the_papers_panels():
    figure, _ = learning_curves(evaluations(), ["A", "B"])
    assert [axis.get_title() for axis in figure.axes] == ["hopper-medium", "ant-medium"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A", "B"]


def test_scores_at_shares_are_single_evaluations_under_the_panels_names():
    figure, _ = scores_at_shares(evaluations(), [0.05, 0.2, 1.0], {"one": {"first": "A"}, "two": {"again": "A"}})
    assert [axis.get_title() for axis in figure.axes] == ["one", "two"]
    drawn = lines(figure.axes[1])["again"]
    assert drawn.tolist() == [[10, 7], [20, 8], [100, 16]]
    assert figure.axes[0].get_lines()[0].get_color() == figure.axes[1].get_lines()[0].get_color()


def test_scores_by_data_are_sorted_by_share_and_count_their_seeds():
    averages = pd.DataFrame({"arm": ["A", "A"], "data_ratio": [1.0, 0.1], "mean": [9.0, 3.0], "n": [20, 5]})
    figure, alt = scores_by_data(averages, {"one": {"A": "A"}})
    assert lines(figure.axes[0])["A"].tolist() == [[0.1, 3.0], [1.0, 9.0]]
    assert "5 seeds on parts of the data; 20 seeds on all of the data" in alt


def test_an_unknown_kind_of_figure_is_refused():
    with pytest.raises(ValueError, match="unknown kind of figure 'pie'; known: curves, shares, data, similarity"):
        described_figure({"kind": "pie"}, None)


def test_similarity_bars_show_what_there_is():
    rows = [("A", "weights", "RI vs FT", 0.7, 0.6, 0.8), ("B", "weights", "PT vs FT", 0.9, np.nan, np.nan)]
    rows += [("B", "weights", "RI vs FT", 0.2, 0.1, 0.3), ("B", "features", "PT vs FT", 0.5, 0.4, 0.6)]
    averages = pd.DataFrame(rows, columns=["arm", "of", "between", "mean", "low", "high"])
    figure, alt = similarity_bars(averages, ["A", "B"])
    heights = [[bar.get_height() for bar in axis.patches if np.isfinite(bar.get_height())] for axis in figure.axes]
    assert heights == [[0.7, 0.2, 0.9], [0.5]]
    (alone, beside, *_) = [bar.get_x() + bar.get_width() / 2 for bar in figure.axes[0].patches]
    assert alone == pytest.approx(0) and beside != pytest.approx(1)
    assert "weights RI vs FT A 0.700" in alt and "features" in alt and "nan" not in alt
