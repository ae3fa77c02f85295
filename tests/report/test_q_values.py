"""Q beside the cap of safe Q: read from real runs, and made up where a real run would take too long to diverge."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from synthlib.offline.datasets import cql_data
from synthlib.offline.identity import planned_data
from synthlib.paper import paper_claims
from synthlib.report.claims import judge
from synthlib.report.evidence import AUTHORS, CELL, OWN, PRINT, Evidence
from synthlib.report.finished_runs import runs_of_plan
from synthlib.report.q_values import by_run, finding, logged_q_values, q_figure, q_table
from synthlib.report.report import Report
from synthlib.report.runs import Runs
from synthlib.report.verdicts import FAILS, HOLDS, NO_RUNS, UNDECIDED
from synthlib.runs.store import Store
from synthlib.study.engine import run_jobs
from synthlib.study.params import load_artefact
from synthlib.study.plan import make_plan

(CLAIM,) = (claim for claim in paper_claims() if "divergence" in claim)
WITHOUT = CLAIM["divergence"][0]["without"]


def made_up(highest=50.0, above_cap=0.0, arms=("CQL", *WITHOUT), datasets=("hopper-medium",), seeds=3):
    """Three rows a run; Qmax is 200, and the mean rises to ``highest`` in the arms without the cap, to 20 with it."""
    rows = [
        {"arm": arm, "dataset": dataset, "seed": seed, "updates": 10 * (step + 1), "q_max": 200.0}
        | {"mean": top * step / 2, "largest": 1.5 * top * step / 2, "above_cap": above_cap}
        for arm in arms
        for top in [highest if "no cap" in arm else 20.0]
        for dataset in datasets
        for seed in range(seeds)
        for step in range(3)
    ]
    return pd.DataFrame(rows)


def report(values, reduced=True):
    evaluations = values[["arm", "dataset", "seed", "updates"]].assign(score=1.0)
    records = evaluations.drop_duplicates(["arm", "dataset", "seed"]).assign(run="r", physics="p", environment="hopper")
    runs = Runs(load_artefact("safe_q"), evaluations, records, "replica", "made up", None, (), {}, reduced)
    return Report(Runs(**{**vars(runs), "q_values": values, "paper_updates": 1_000_000}))


def judged(values, source=OWN, **options):
    return judge(CLAIM, Evidence(source, pd.DataFrame(columns=CELL), {"safe_q": report(values, **options)}.get))


@pytest.mark.slow
def test_real_runs_say_what_they_logged_and_a_cap_that_never_acts_changes_nothing(random_hopper_data, outputs):
    plan = make_plan("safe_q", "smoke", random_hopper_data, ("CQL", "CQL, no cap", "CQL, target capped"))
    store = Store(outputs / "store")
    run_jobs(plan.jobs(), store, workers=1)
    runs = runs_of_plan(plan)
    values = runs.q_values
    assert len({cell.job.key for cell in plan.cells}) == 6
    assert list(values["updates"].unique()) == [10, 20, 30, 40] and len(values) == 6 * 4
    config = plan.cells[0].job.config
    data = planned_data(**config["dataset"], source=random_hopper_data)
    assert (values["q_max"] == cql_data(data).q_max).all() and values["q_max"].iloc[0] > 100
    assert (values["mean"] < values["largest"]).all() and (values["above_cap"] == 0).all()
    scores = runs.evaluations.pivot(index=["seed", "updates"], columns="arm", values="return")
    assert scores.nunique(axis=1).eq(1).all()  # one run, to the bit
    said = finding(Report(runs))
    assert said.startswith("0 of 6 runs have a mean Q above Qmax") and "are one run, to the bit" in said
    assert "These runs have 40 of the paper's 1,000,000 updates." in said
    assert (
        "Values of next states beside Qmax" in Report(runs).text() and "runs whose mean passed" in Report(runs).html()
    )


def test_a_run_published_before_the_largest_value_was_logged_has_its_mean_alone():
    plan = make_plan("safe_q", "evening", "replica", ("CQL",))
    values = logged_q_values(plan, Store("nowhere"))
    assert values.query("seed == 0")["largest"].notna().all(), "the last declared run, published after"
    values = values.query("seed != 0")
    assert len(values) >= 10 and values["mean"].notna().all()
    assert values[["largest", "above_cap"]].isna().all(axis=None)
    assert q_table(values).loc["CQL", "largest Q, % of Qmax"] == "not logged"
    assert "was not logged in these runs" in finding(report(values))


def test_a_run_passes_qmax_when_its_mean_does():
    runs = by_run(made_up(highest=500.0, above_cap=0.2)).set_index(["arm", "seed"])
    one = runs.loc[(WITHOUT[0], 1)]
    assert one["passed"] == 20 and one["mean"] == 2.5 and one["largest"] == 3.75 and one["updates"] == 30
    assert one["above_cap"] == pytest.approx(0.2)
    assert np.isnan(runs.loc[("CQL", 0), "passed"])
    table = q_table(made_up(highest=500.0, above_cap=0.2))
    assert table.loc[WITHOUT[0]].tolist() == ["3", "250", "375", "20", "3"]
    said = finding(report(made_up(highest=500.0, above_cap=0.2)))
    assert said.startswith("9 of 12 runs have a mean Q above Qmax at some time; the highest mean is 250 % of Qmax")
    assert f"{WITHOUT[0]}: 3 runs, the first after 20 updates." in said and "one run, to the bit" not in said


def test_the_figure_has_the_cap_and_a_row_of_panels_per_data_set():
    figure, alt = q_figure(made_up(datasets=("hopper-medium", "ant-medium")), ["CQL", *WITHOUT])
    assert [axis.get_title() for axis in figure.axes] == ["hopper-medium"] * 3 + ["ant-medium"] * 3
    mean = {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines()}
    assert mean[WITHOUT[0]].tolist() == [0, 12.5, 25] and list(mean["Qmax"]) == [100, 100]
    assert "ant-medium, mean Q, % of Qmax: CQL 10" in alt
    plt.close("all")


def test_one_diverged_run_is_enough_and_none_in_short_runs_leaves_it_open():
    diverged = judged(made_up(highest=500.0, above_cap=0.2))
    assert diverged.word == HOLDS
    assert "9 of 9 runs without the cap, up to 30 updates" in diverged.detail and "with it 0 of 3" in diverged.detail
    short = judged(made_up())
    assert short.word == UNDECIDED and "0 of 9 runs" in short.detail and "highest 25.0 %" in short.detail
    assert short.detail.endswith("over 1 of 12 data sets")
    assert judged(made_up(), reduced=False).word == FAILS
    assert judged(made_up(seeds=2), reduced=False).word == UNDECIDED
    assert judged(made_up(arms=("CQL", *WITHOUT[:2])), reduced=False).word == UNDECIDED
    assert judged(made_up(arms=("CQL",))).word == NO_RUNS
    assert judge(CLAIM, Evidence(OWN, pd.DataFrame(columns=CELL))).word == NO_RUNS


def test_one_pair_of_runs_is_judged_and_told():
    """All that there may be of runs without the cap: one seed of one arm, beside more seeds with it."""
    with_cap = made_up(arms=("CQL", "CQL, matched", "CQL+MDP"), seeds=5)
    never, passes = (
        pd.concat([with_cap, made_up(highest, arms=("CQL, no cap",), seeds=1)]) for highest in (18.0, 500.0)
    )
    found = judged(never, reduced=False)
    assert found.word == UNDECIDED and found.detail.startswith("0 of 1 runs without the cap")
    assert "with it 0 of 15" in found.detail and "0 of 16 runs" in finding(report(never))
    assert judged(passes).word == HOLDS and "CQL, no cap: 1 run, after 20 updates." in finding(report(passes))


def test_neither_the_print_nor_the_authors_logs_show_it():
    assert judged(made_up(), PRINT).word == "not printed" and judged(made_up(), AUTHORS).word == "no CQL logs"
