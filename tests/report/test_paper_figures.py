from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from synthlib.report.curves import Curves
from synthlib.report.paper_figures import SimilarityBars, described_chart, scores_at_shares, scores_by_data
from synthlib.report.report import Report
from synthlib.study.figures import find_artefact
from synthlib.tasks import DATASETS
from tests.report.curves import report

KINDS = ("medium", "medium-replay", "medium-expert")
PANELS_OF_FIGURE_3 = [f"{robot}-{kind}" for robot in ("hopper", "walker2d", "halfcheetah", "ant") for kind in KINDS]
PANELS_OF_FIGURE_5 = [
    f"{robot}-{kind}"
    for robot in ("halfcheetah", "hopper", "walker2d", "ant")
    for kind in ("medium-expert", "medium", "medium-replay")
]


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
    figure, alt = Curves(evaluations(), ["A", "B"], values=["score"], over="average", shift={"B": 200}).draw()
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
        figure, alt = Curves(evaluations(), ["A", "B"], over="average", shift=shift).draw()
        assert alt.startswith(f"Curves against {figure.axes[0].get_xlabel()}. ")
    assert figure.axes[0].get_xlabel() == "updates, pre-training of shifted arms included"


def test_a_loss_is_not_smoothed_so_that_it_has_no_kink_of_our_making():
    figure, alt = Curves(evaluations(), ["A"], values=["score", "loss"], over="average").draw()
    score, loss = (lines(axis)["A"] for axis in figure.axes)
    np.testing.assert_allclose(loss[:, 1], 1 / loss[:, 0])
    assert score[-1][1] == 14 and "losses are not smoothed" in alt


def test_curves_have_a_panel_per_data_set():
    figure, _ = Curves(evaluations(), ["A", "B"]).draw()
    assert [axis.get_title() for axis in figure.axes] == ["hopper-medium", "ant-medium"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A", "B"]


TWELVE = [f"{robot}-{kind}" for robot in ("ant", "hopper", "walker2d", "halfcheetah") for kind in KINDS]
# The captions of the panels as printed, (a) to (l).
PRINTED = {
    **dict.fromkeys(("figure3", "figure4", "figure9", "figure14"), PANELS_OF_FIGURE_3),
    **dict.fromkeys(("figure5", "figure6"), PANELS_OF_FIGURE_5),
}


@pytest.mark.parametrize("name", PRINTED)
def test_panels_stand_in_the_order_of_the_tables_and_name_the_papers_panels(name):
    made = report(name, dict.fromkeys(find_artefact(name).arms, range(1, 5)), {}, datasets=TWELVE)
    figure, _ = made.figure(name)
    letters = dict(zip(PRINTED[name], "abcdefghijkl", strict=True))
    assert [axis.get_title() for axis in figure.axes] == [f"{dataset} ({letters[dataset]})" for dataset in DATASETS]
    rows = [axis.get_subplotspec().rowspan.start for axis in figure.axes]
    assert rows == sorted(rows) and len(set(rows)) == 3  # one kind of data each


def test_the_means_that_a_moving_average_smooths_stay_visible():
    """A score that jumps once is drawn as a slope of five evaluations; its points jump."""
    jump = evaluations().assign(score=lambda rows: 10.0 * (rows["updates"] > 50))
    chart = Curves(jump, ["A"], over="average")
    figure, alt = chart.draw()
    smooth, raw = figure.axes[0].get_lines()
    assert set(raw.get_ydata()) == {0, 10} and 0 < smooth.get_ydata()[5] < 10
    assert "points the means before smoothing" in alt
    figure, _ = Curves(jump, ["A"], values=["loss"], over="average").draw()
    assert len(figure.axes[0].get_lines()) == 1


def test_figure_13_moves_the_pre_trained_arms_to_the_end_of_the_longer_baseline():
    """In the paper's proportions: 100 updates of fine-tuning, and 10 more or 10 before."""
    lengths = {"CQL+100K more": 11, "CQL, matched": 10, "CQL+MDP": 10, "CQL+IID": 10}
    curves = {arm: [1.0] * length for arm, length in lengths.items()}
    chart = report("figure13", curves, {"CQL+MDP": 10, "CQL+IID": 10}).chart("figure13")
    ends = {"CQL+100K more": "110", "CQL, matched": "100", "CQL+MDP": "110", "CQL+IID": "110"}
    assert chart.numbers().loc["after updates"].to_dict() == ends
    assert chart.numbers().loc["training loss", "CQL+IID"] == "1.000 ± 0 (5)"
    assert "Shifted right by pre-training updates: CQL+MDP by 10, CQL+IID by 10." in chart.caption
    assert "Not in the paper: CQL, matched." in chart.caption


def figure_15(pretraining=10, updates=10):
    rising = {arm: [10.0 * step for step in range(1, updates + 1)] for arm in find_artefact("figure15").arms}
    before = dict.fromkeys(("CQL+MDP", "CQL+Identity", "CQL+Mapping"), pretraining)
    made = report("figure15", rising, before, spread=0.0)
    return Report(replace(made.runs, paper_updates=1_000_000)).chart("figure15")


def test_figure_15_ends_where_cql_ends_pre_training_included():
    """The paper's proportions: 100 updates in all, of which the pre-trained arms have 10 of pre-training."""
    chart = figure_15()
    ends = chart.points.groupby("arm").last()
    assert set(ends["updates"]) == {100} and chart.points["updates"].max() == 100
    # Moving averages of five evaluations: up to 100 updates of fine-tuning, and up to 90.
    not_shifted, shifted = find_artefact("table29").control, "CQL+MDP"
    assert ends.loc[["CQL", not_shifted, "CQL, matched (wider head)"], "mean"].tolist() == pytest.approx([80] * 3)
    assert ends.loc[[shifted, "CQL+Identity", "CQL+Mapping"], "mean"].tolist() == pytest.approx([70] * 3)
    assert "Cut at equal totals: no curve goes beyond 100 updates, pre-training included." in chart.caption
    assert "Not the paper's" not in chart.caption
    assert "Not in the paper: CQL, matched; CQL, matched (wider head)." in chart.caption


def test_figure_15_refuses_other_proportions_and_totals_that_nothing_reaches():
    chart = figure_15(pretraining=50)
    said = "Not the paper's comparison, for pre-training is another share of the fine-tuning updates: CQL+MDP 50% ("
    assert f"{said}there 10%); CQL+Identity 50%" in chart.caption and set(
        chart.points.groupby("arm")["updates"].last()
    ) == {100}
    apart = figure_15(pretraining=100)
    assert "Not shifted by the updates of pre-training" in apart.caption and "Cut at" not in apart.caption
    assert (apart.points["updates"].min(), apart.points["updates"].max()) == (10, 100)


@pytest.mark.parametrize(("pretraining", "refused"), [(40, False), (49, False), (80, True)])
def test_every_shifted_figure_refuses_other_proportions(pretraining, refused):
    """In the paper DT+Synthetic has 20,000 updates before 100,000; here 200 come after, and an evaluation every 10."""
    made = report("figure1", dict.fromkeys(("DT", "DT+Synthetic"), range(20)), {"DT+Synthetic": pretraining})
    caption = Report(replace(made.runs, paper_updates=100_000)).chart("figure1").caption
    assert f"Shifted right by pre-training updates: DT+Synthetic by {pretraining}." in caption
    assert (f"updates: DT+Synthetic {pretraining / 200:.0%} (there 20%)." in caption) == refused


def test_an_arm_without_a_run_is_not_said_to_be_shifted():
    made = report("figure8", {"DT": range(20), "DT+Synthetic": range(20)}, {"DT+Synthetic": 40})
    caption = Report(replace(made.runs, paper_updates=100_000)).chart("figure8").caption
    assert "Shifted right by pre-training updates: DT+Synthetic by 40." in caption


def test_scores_at_shares_are_single_evaluations_under_the_panels_names():
    figure, _ = scores_at_shares(evaluations(), [0.05, 0.2, 1.0], {"one": {"first": "A"}, "two": {"again": "A"}}).draw()
    assert [axis.get_title() for axis in figure.axes] == ["one", "two"]
    drawn = lines(figure.axes[1])["again"]
    assert drawn.tolist() == [[10, 7], [20, 8], [100, 16]]
    assert figure.axes[0].get_lines()[0].get_color() == figure.axes[1].get_lines()[0].get_color()


def test_scores_by_data_are_sorted_by_share_and_count_their_seeds():
    averages = pd.DataFrame({"arm": ["A", "A"], "data_ratio": [1.0, 0.1], "mean": [9.0, 3.0], "n": [20, 5]})
    chart = scores_by_data(averages.assign(std=[1.0, 2.0]), {"one": {"A": "A"}})
    figure, alt = chart.draw()
    assert lines(figure.axes[0])["A"].tolist() == [[0.1, 3.0], [1.0, 9.0]]
    assert "5 seeds on parts of the data; 20 seeds on all of the data" in alt


def test_an_unknown_kind_of_figure_is_refused():
    with pytest.raises(ValueError, match="unknown kind of figure 'pie'; known: curves, shares, data, similarity"):
        described_chart({"kind": "pie"}, None)


def test_similarity_bars_show_what_there_is():
    rows = [("A", "weights", "RI vs FT", 0.7, 0.6, 0.8), ("B", "weights", "PT vs FT", 0.9, np.nan, np.nan)]
    rows += [("B", "weights", "RI vs FT", 0.2, 0.1, 0.3), ("B", "features", "PT vs FT", 0.5, 0.4, 0.6)]
    averages = pd.DataFrame(rows, columns=["arm", "of", "between", "mean", "low", "high"])
    figure, alt = SimilarityBars(averages, ["A", "B"]).draw()
    heights = [[bar.get_height() for bar in axis.patches if np.isfinite(bar.get_height())] for axis in figure.axes]
    assert heights == [[0.9, 0.7, 0.2], [0.5]]
    (_, _, alone, beside) = [bar.get_x() + bar.get_width() / 2 for bar in figure.axes[0].patches]
    assert alone == pytest.approx(0) and beside != pytest.approx(1)
    assert "weights RI vs FT A 0.700" in alt and "features" in alt and "nan" not in alt
    assert "Lines: 95 %." in alt
    means_alone = SimilarityBars(averages.assign(low=np.nan, high=np.nan), ["A", "B"])
    assert "Lines" not in means_alone.caption  # of the authors' runs only the means are public


def cosines(features):
    """Cosines of four arms: the weights all 0.5, the features as given."""
    rows = [(arm, "weights", "RI vs FT", 0.5, 0.4, 0.6) for arm in "ABCD"]
    rows += [
        (arm, "features", "RI vs FT", mean, mean - 0.0001, mean + 0.0001)
        for arm, mean in zip("ABCD", features, strict=True)
    ]
    return SimilarityBars(pd.DataFrame(rows, columns=["arm", "of", "between", "mean", "low", "high"]), list("ABCD"))


def test_three_orders_of_magnitude_between_features_can_be_read_beside_zero_and_negative_cosines():
    figure, alt = cosines([0.64, 0.00064, 0.0, -0.002]).draw()
    weights, features = figure.axes
    assert weights.get_yscale() == "linear" and features.get_yscale() == "symlog"

    def height(cosine):
        return features.transData.transform((0, cosine))[1]

    decade = height(0.1) - height(0.01)
    assert height(0.64) - height(0.00064) == pytest.approx(3 * decade)
    assert height(-0.002) < height(0.0) < height(1e-4) < height(0.00064)
    low, high = features.get_ylim()
    assert low < -0.002 and high == 1
    assert "features RI vs FT A 0.640; features RI vs FT B 0.00064; features RI vs FT C 0.0; " in alt
    assert "features RI vs FT D -0.0020" in alt and "logarithmic, and linear between -0.0001 and 0.0001" in alt


def test_features_that_lie_together_keep_a_linear_scale():
    figure, alt = cosines([0.64, 0.6, 0.5, 0.33]).draw()
    assert figure.axes[1].get_yscale() == "linear" and "logarithmic" not in alt
