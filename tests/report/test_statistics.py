"""Hand-worked cases, SciPy as a second opinion, and coverage on simulated runs."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from synthlib.report.statistics import (
    average_rows,
    by_task,
    improvement_interval,
    iqm,
    iqm_interval,
    performance_profile,
    probability_of_improvement,
    profile_interval,
    relative_losses,
    score_cells,
    seed_scores,
    stratified_bootstrap,
    updates_to_target,
)


def run(scores, arm="DT", dataset="hopper-medium", seed=0, **more):
    updates = 5000 * np.arange(1, len(scores) + 1)
    return pd.DataFrame({"arm": arm, "dataset": dataset, "seed": seed, "updates": updates, "score": scores, **more})


def runs_frame(scores, arms, datasets):
    """Long frame of scores (arms, runs, datasets)."""
    names = pd.MultiIndex.from_product([arms, range(scores.shape[1]), datasets], names=["arm", "seed", "dataset"])
    return pd.Series(scores.ravel(), index=names, name="score").reset_index()


# --- score of a seed


def test_a_seed_scores_the_mean_of_its_last_four_evaluations_or_its_best():
    evaluations = pd.concat([run([90.0, 10.0, 20.0, 30.0, 40.0]), run([1.0, 2.0, 3.0, 4.0], seed=1)])
    evaluations = evaluations.sample(frac=1, random_state=0)  # order in the file means nothing
    final = seed_scores(evaluations).set_index("seed")
    assert final["score"].to_dict() == {0: 25.0, 1: 2.5}
    assert final["updates"].to_dict() == {0: 25_000, 1: 20_000}
    assert seed_scores(evaluations, "best").set_index("seed")["score"].to_dict() == {0: 90.0, 1: 4.0}


def test_a_longer_run_can_serve_as_a_shorter_one():
    evaluations = run([10.0, 20.0, 30.0, 40.0, 1000.0])
    assert seed_scores(evaluations, until=20_000)["score"].item() == 25.0
    assert seed_scores(evaluations, "best", until=20_000)["score"].item() == 40.0


@pytest.mark.parametrize(
    ("evaluations", "options", "message"),
    [
        (run([1.0, 2.0, 3.0]), {}, "1 runs have fewer than 4 evaluations, the first: arm 'DT', hopper-medium, seed 0"),
        (run([1.0, 2.0, np.nan, 4.0]), {}, "no finite score"),
        (pd.concat([run([1.0] * 4)] * 2), {}, "there twice"),
        (run([1.0] * 4), {"until": 25_000}, "no evaluation at 25000"),
        (run([1.0] * 4), {"metric": "last"}, "unknown metric 'last'"),
    ],
)
def test_bad_evaluations_are_refused(evaluations, options, message):
    with pytest.raises(ValueError, match=message):
        seed_scores(evaluations, **options)


# --- cells and average row


def test_cell_is_mean_and_population_deviation_with_students_interval():
    scores = runs_frame(np.array([[[2.0], [4.0], [9.0]]]), ["DT"], ["hopper-medium"])
    cell = score_cells(scores).iloc[0]
    assert (cell["mean"], cell["n"]) == (5.0, 3)
    assert cell["std"] == pytest.approx(np.sqrt((9 + 1 + 16) / 3))
    expected = stats.t.interval(0.95, 2, loc=5.0, scale=stats.sem([2.0, 4.0, 9.0]))
    assert (cell["low"], cell["high"]) == pytest.approx(expected)


def test_one_seed_has_a_mean_and_nothing_else():
    cell = score_cells(runs_frame(np.array([[[7.0]]]), ["DT"], ["hopper-medium"])).iloc[0]
    assert (cell["mean"], cell["n"]) == (7.0, 1)
    assert cell[["std", "low", "high"]].isna().all()


def test_average_row_is_the_mean_of_means_and_of_deviations():
    scores = np.array([[[1.0, 10.0], [3.0, 14.0]]])
    cells = score_cells(runs_frame(scores, ["DT"], ["hopper-medium", "ant-medium"]))
    row = average_rows(cells).iloc[0]
    assert (row["mean"], row["std"], row["n"], row["datasets"]) == (7.0, 1.5, 2, 2)
    # Variances of the two cell means: 1 and 4, one degree of freedom each; of their mean (1 + 4) / 4.
    half_width = stats.t.ppf(0.975, 25 / 17) * np.sqrt(5 / 4)
    assert (row["low"], row["high"]) == pytest.approx((7 - half_width, 7 + half_width))


def test_a_failed_or_doubled_run_does_not_slip_into_a_cell():
    scores = runs_frame(np.ones((1, 2, 1)), ["DT"], ["hopper-medium"])
    with pytest.raises(ValueError, match="twice"):
        score_cells(pd.concat([scores, scores.iloc[:1]]))
    with pytest.raises(ValueError, match="not finite"):
        score_cells(scores.assign(score=[1.0, np.inf]))


def test_t_intervals_cover_what_they_promise():
    generator = np.random.default_rng(0)
    means, spreads = np.array([45.0, 80.0, 105.0]), np.array([3.0, 12.0, 0.5])
    scores = means + spreads * generator.standard_normal((2000, 4, 3))  # 2000 studies of 4 seeds on 3 data sets
    cells = score_cells(runs_frame(scores, range(2000), ["a", "b", "c"]))
    truth = cells["dataset"].map(dict(zip("abc", means, strict=True)))
    assert cells["mean"].sub(truth).abs().max() > 1  # the studies do differ
    assert ((cells["low"] <= truth) & (truth <= cells["high"])).mean() == pytest.approx(0.95, abs=0.01)
    average = average_rows(cells)
    covered = (average["low"] <= means.mean()) & (means.mean() <= average["high"])
    assert covered.mean() == pytest.approx(0.95, abs=0.015)


# --- updates to a target


def test_updates_to_target_counts_from_the_first_evaluation():
    baseline = [
        run([0.0] * 3, seed=s, **{"return": r}) for s, r in ((0, [90.0, 95.0, 100.0]), (1, [0.0, 180.0, 200.0]))
    ]
    other = run([0.0] * 3, arm="DT+Wiki", **{"return": [10.0, 20.0, 134.9]})
    reached = updates_to_target(pd.concat([*baseline, other]), "DT").set_index(["arm", "seed"])["updates"]
    # The target is 0.9 x (100 + 200) / 2 = 135: DT's first seed and DT+Wiki never reach it.
    assert reached["DT", 1] == 10_000
    assert reached[[("DT", 0), ("DT+Wiki", 0)]].isna().all()
    reached = updates_to_target(pd.concat([*baseline, other]), "DT", last=3).set_index(["arm", "seed"])["updates"]
    # Averaged over all three: 0.9 x (95 + 126.67) / 2 = 99.75, rounded to 99.8.
    assert reached.tolist() == [15_000, 10_000, 15_000]


def test_updates_to_target_can_count_as_table_13_does():
    """Evaluations from 0; the argmax of the authors' program is 0 for a run that never gets there."""
    baseline = [run([0.0] * 3, seed=s, **{"return": r}) for s, r in ((0, [0.0, 50.0, 100.0]), (1, [90.0, 95.0, 100.0]))]
    never = run([0.0] * 3, arm="DT+Wiki", **{"return": [10.0, 20.0, 30.0]})
    runs = pd.concat([*baseline, never])
    first, second = (updates_to_target(runs, "DT", as_table_13=rule)["updates"] for rule in (False, True))
    assert first.tolist()[:2] == [15_000, 5_000] and np.isnan(first.iloc[2])
    assert second.tolist() == [10_000, 0, 0]


def test_updates_to_target_wants_the_baseline_on_every_dataset():
    evaluations = run([1.0] * 4, **{"return": [1.0] * 4})
    with pytest.raises(ValueError, match="no run of the baseline 'CQL'"):
        updates_to_target(evaluations, "CQL")
    elsewhere = run([1.0] * 4, arm="CQL", dataset="ant-medium", **{"return": [1.0] * 4})
    with pytest.raises(ValueError, match="has no run on hopper-medium"):
        updates_to_target(pd.concat([evaluations, elsewhere]), "CQL")


# --- training loss


def test_a_relative_loss_is_that_of_the_last_evaluation_against_the_baselines_mean():
    baseline = [run([0.0] * 2, seed=s, loss=[9.0, last]) for s, last in ((0, 0.3), (1, 0.5))]
    elsewhere = [run([0.0], arm=arm, dataset="ant-medium", loss=[last]) for arm, last in (("DT", 2.0), ("IID", 1.0))]
    losses = relative_losses(pd.concat([*baseline, run([0.0] * 2, arm="IID", loss=[9.0, 0.3]), *elsewhere]), "DT")
    scores = losses.set_index(["arm", "dataset", "seed"])["score"].sort_index()
    assert scores["DT", "hopper-medium"].to_list() == pytest.approx([75.0, 125.0])
    assert scores[[("IID", "hopper-medium", 0), ("IID", "ant-medium", 0)]].to_list() == pytest.approx([75.0, 50.0])


def test_relative_losses_want_equal_lengths_finite_losses_and_the_baseline():
    baseline = run([0.0] * 2, loss=[2.0, 1.0])
    with pytest.raises(ValueError, match="hopper-medium end after different numbers of updates"):
        relative_losses(pd.concat([baseline, run([0.0], arm="IID", loss=[2.0])]), "DT")
    with pytest.raises(ValueError, match="no finite loss"):
        relative_losses(run([0.0] * 2, loss=[2.0, np.nan]), "DT")
    with pytest.raises(ValueError, match="baseline 'DT' has no run on ant-medium"):
        relative_losses(pd.concat([baseline, run([0.0], arm="IID", dataset="ant-medium", loss=[2.0])]), "DT")


# --- interquartile mean, probability of improvement, profile


def test_iqm_is_the_mean_of_the_middle_half():
    assert iqm(np.array([[1.0, 1e9], [2.0, 3.0], [4.0, 5.0], [-1e9, 6.0]])) == (2 + 3 + 4 + 5) / 4
    ragged = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0, 8.0]]
    assert iqm(ragged) == (3 + 4 + 5 + 6) / 4


def test_probability_of_improvement_averages_the_tasks_and_halves_ties():
    first, second = [[1.0, 2.0, 3.0], [10.0, 20.0]], [[2.0], [0.0, 30.0]]
    # Task 1: loss, tie, win = 1/2. Task 2: two wins, two losses = 1/2 -> and with 5.0 for 30.0, one.
    assert probability_of_improvement(first, second) == 0.5
    assert probability_of_improvement(first, [[2.0], [0.0, 5.0]]) == 0.75
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 5, (6, 3)).astype(float), generator.integers(0, 5, (8, 3)).astype(float)
    mann_whitney = np.mean([stats.mannwhitneyu(x[:, t], y[:, t]).statistic / 48 for t in range(3)])
    assert probability_of_improvement(x, y) == pytest.approx(mann_whitney)
    assert probability_of_improvement(x, y) == pytest.approx(1 - probability_of_improvement(y, x))


def test_performance_profile_gives_every_task_the_same_weight():
    tasks = [[10.0, 20.0, 30.0, 40.0], [50.0]]
    assert performance_profile(tasks, [0, 20, 45, 50]).tolist() == [1.0, 0.75, 0.5, 0.0]


def test_a_task_list_comes_from_the_long_frame():
    scores = runs_frame(np.array([[[1.0, 2.0], [3.0, 4.0]]]), ["DT"], ["b", "a"]).iloc[:-1]
    assert [task.tolist() for task in by_task(scores, "DT", ["a", "b"])] == [[2.0], [1.0, 3.0]]
    with pytest.raises(ValueError, match="arm 'DT' has no run on c"):
        by_task(scores, "DT", ["a", "c"])


def test_tasks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        iqm([[1.0, np.nan]])
    with pytest.raises(ValueError, match="non-empty"):
        iqm([[1.0], []])
    with pytest.raises(ValueError, match="2 tasks cannot be compared with 1"):
        probability_of_improvement([[1.0], [2.0]], [[1.0]])


# --- stratified bootstrap


def test_bootstrap_resamples_within_tasks_and_repeats_with_its_generator():
    constant_within_task = np.array([[10.0, 90.0]] * 5)
    interval = iqm_interval(constant_within_task, np.random.default_rng(0))
    assert interval == (50.0, 50.0)  # resampling across tasks would mix 10s and 90s
    scores = np.random.default_rng(1).normal(50, 10, (20, 12))
    first, second = (iqm_interval(scores, np.random.default_rng(7)) for _ in range(2))
    assert first == second != iqm_interval(scores, np.random.default_rng(8))
    assert first.low < iqm(scores) < first.high


def test_bootstrap_of_a_mean_has_the_width_that_theory_gives():
    generator = np.random.default_rng(0)
    tasks = [generator.normal(0, spread, 15) for spread in (1.0, 5.0, 20.0)]

    def mean_of_means(tasks):
        return np.mean([task.mean(-1) for task in tasks], axis=0)

    low, high = stratified_bootstrap(mean_of_means, [tasks], generator, resamples=20_000)
    # The bootstrap's own variance of a mean is the population variance / n.
    error = np.sqrt(sum(task.var() / 15 for task in tasks)) / 3
    assert high - low == pytest.approx(2 * stats.norm.ppf(0.975) * error, rel=0.03)


def test_one_run_leaves_no_bootstrap_interval():
    assert np.isnan(iqm_interval([[1.0], [2.0, 3.0]], np.random.default_rng(0))).all()
    interval = profile_interval([[1.0]], [0.0, 2.0], np.random.default_rng(0))
    assert interval.low.shape == (2,) and np.isnan(interval.low).all()


def test_profile_bounds_enclose_the_profile():
    scores = np.random.default_rng(0).normal(50, 10, (8, 4))
    thresholds = np.arange(20, 80, 10)
    profile = performance_profile(scores, thresholds)
    interval = profile_interval(scores, thresholds, np.random.default_rng(0))
    assert profile.shape == interval.low.shape == interval.high.shape == (6,)
    assert (interval.low <= profile).all() and (profile <= interval.high).all()
    assert (np.diff(profile) <= 0).all()


@pytest.mark.slow
def test_bootstrap_intervals_cover_what_their_docstring_says():
    generator = np.random.default_rng(0)
    means = np.array([45, 81, 105, 107, 37.5, 46.7, 49.2, 80.9, 42.4, 58.2, 70.4, 89.0])
    spreads = np.array([3.4, 11.8, 3.5, 8.7, 1.3, 10.6, 10.1, 3.9, 0.5, 3.2, 2.9, 4.7])

    def study(runs):
        return means + spreads * generator.standard_normal((runs, 12))

    true_iqm = iqm(study(200_000))
    covered = {3: [0, 0], 10: [0, 0]}
    studies = 400
    for runs, count in covered.items():
        for _ in range(studies):
            low, high = iqm_interval(study(runs), generator, resamples=400)
            count[0] += low <= true_iqm <= high
            low, high = improvement_interval(study(runs), study(runs), generator, resamples=400)
            count[1] += low <= 0.5 <= high
    # Four standard errors of 400 studies either way.
    assert covered[3][0] / studies == pytest.approx(0.84, abs=0.075)
    assert covered[10][0] / studies == pytest.approx(0.92, abs=0.055)
    assert covered[3][1] / studies == pytest.approx(0.92, abs=0.055)
    assert covered[10][1] / studies == pytest.approx(0.94, abs=0.05)
