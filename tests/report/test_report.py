from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from synthlib.paper import normalisation_slip, paper_table
from synthlib.report.authors_logs import log_labels
from synthlib.report.countings import BOTH, both_countings
from synthlib.report.report import Report
from synthlib.report.runs import Runs
from synthlib.report.sources import runs_of_authors
from synthlib.report.verdicts import AVERAGE
from synthlib.study.params import load_artefact
from synthlib.tasks import DATASETS, environment_of
from tests.common import small_logs
from tests.report import curves


def made_up_runs(name="table6", data="d4rl", seeds=5, datasets=DATASETS, metric_level=0.0, folder=None):
    """Runs whose five evaluations rise by 1 and whose level is the paper's cell; nothing is trained."""
    artefact = load_artefact(name)
    printed = paper_table(artefact.paper_table).set_index(["arm", "dataset"])["mean"]
    generator = np.random.default_rng(0)
    rows, records = [], []
    for arm in artefact.arms:
        for dataset in datasets:
            for seed in range(seeds):
                level = printed.get((arm, dataset), 70.0) + metric_level + generator.normal()
                which = {"arm": arm, "dataset": dataset, "seed": seed}
                for step in range(5):
                    score = level + step - 2.5
                    rows.append({**which, "updates": 10 * (step + 1), "score": score, "return": score})
                found = {"environment": environment_of(dataset), "physics": "p", "pretraining_updates": 0}
                records.append({**which, "run": f"{arm}-{dataset}-{seed}", **found})
    return Runs(artefact, pd.DataFrame(rows), pd.DataFrame(records), data, "made up", folder, (), {"preset": "none"})


def those(runs, chosen):
    """The runs for which ``chosen`` says so."""
    return replace(
        runs, evaluations=runs.evaluations[chosen(runs.evaluations)], records=runs.records[chosen(runs.records)]
    )


def test_cells_stand_in_printed_order_with_the_papers_beside_ours():
    report = Report(made_up_runs())
    cells = report.cells
    assert list(cells["arm"].unique()) == list(report.artefact.arms)
    assert list(cells["dataset"].unique()) == [*DATASETS, "Average over 12 data sets"]
    cell = cells.set_index(["arm", "dataset"]).loc[("S=10", "ant-medium")]
    assert cell["difference"] == pytest.approx(cell["mean"] - cell["paper_mean"])
    assert cell["difference_low"] < cell["difference"] < cell["difference_high"]
    assert cells[cells["arm"] == "CQL, matched"]["paper_mean"].isna().all()


def test_an_average_over_one_data_set_says_so():
    text = Report(made_up_runs(datasets=["ant-medium"])).text()
    assert "Average over 1 data set " in text and "paper, 12 data sets" in text


def test_corl_stands_beside_the_baseline_only_and_in_the_tables_own_metric():
    final, best = (Report(made_up_runs(name)).cells.set_index(["arm", "dataset"]) for name in ("table6", "table23"))
    assert final.loc[("CQL", "halfcheetah-medium-expert"), "corl_mean"] == 95.63
    assert best.loc[("CQL", "halfcheetah-medium-expert"), "corl_mean"] > 95.63
    assert final.drop(index="CQL", level="arm")["corl_mean"].isna().all()
    assert final["corl_mean"].count() == 9  # CORL has no ant
    assert "CORL: an independent implementation" in Report(made_up_runs()).caption()


def test_best_scores_of_cql_are_compared_at_the_corrected_level():
    report = Report(made_up_runs("table23"))
    cell = report.cells.set_index(["arm", "dataset"]).loc[("CQL", "ant-medium")]
    printed = paper_table(23).set_index(["arm", "dataset"]).loc[("CQL", "ant-medium"), "mean"]
    assert cell["paper_printed"] == printed
    assert cell["paper_mean"] == pytest.approx(printed + 7.665, abs=0.001)
    assert cell["difference"] == pytest.approx(cell["mean"] - cell["paper_mean"])
    average = report.cells.set_index(["arm", "dataset"]).loc[("CQL", "Average over 12 data sets")]
    assert average["paper_mean"] == pytest.approx(88.0 + 2.62, abs=0.005)
    assert "paper (printed)" in report.text() and "slip of normalisation" in report.caption()


@pytest.mark.parametrize(
    ("number", "averages"),
    [
        (23, [90.7, 93.8, 94.4, 94.8, 94.8, 94.7]),
        (24, [90.7, 92.5, 93.3, 94.4, 94.2, 94.3, 94.3]),
        (25, [90.7, 92.1, 93.0, 94.0, 94.4, 94.6, 94.2]),
    ],
)
def test_corrected_averages_are_those_of_faithfulness(number, averages):
    cells, final = (table[table["dataset"].isin(DATASETS)] for table in (paper_table(number), paper_table(number - 17)))
    best, final = (table.set_index(["arm", "dataset"])["mean"] for table in (cells, final))
    slip = pd.Series({key: normalisation_slip(number, key[1]) for key in best.index})
    assert list((best + slip).groupby("arm", sort=False).mean().round(1)) == averages
    # The sign that something is wrong as printed: a best evaluation below the mean of the last four.
    assert (best < final).sum() > 10 and not (best + slip < final - 0.051).any()


def test_replica_data_are_shown_beside_the_paper_and_not_compared():
    report = Report(made_up_runs(data="replica"))
    assert report.cells["difference"].isna().all()
    assert report.paper_verdict() == "Against the paper: replica data, not comparable (78 cells)."
    assert "difference" not in set(report.wide().index.get_level_values(1))


def test_comparisons_have_both_baselines_and_the_seeds_that_a_comparison_needs():
    report = Report(made_up_runs(datasets=DATASETS[:3]))
    average = report.comparisons[report.comparisons["dataset"] == AVERAGE].set_index(["arm", "baseline"])
    assert set(report.comparisons["baseline"]) == {"CQL", "CQL, matched"}
    assert len(average) == 2 * (len(report.artefact.arms) - 1)
    row = average.loc["S=1000", "CQL"]
    assert row["improvement_low"] <= row["improvement"] <= row["improvement_high"] and row["seeds"] >= 2
    backwards = average.loc["CQL", "CQL, matched"]["improvement"]
    assert backwards == pytest.approx(1 - average.loc["CQL, matched", "CQL"]["improvement"])


def test_pairs_that_a_description_declares_are_compared_by_the_same_rule():
    report = Report(made_up_runs(datasets=DATASETS[:3]))
    table = report.compared({"S=1000": ["S=100", "CQL", "nowhere"], "nobody": ["CQL"]})
    assert list(table.index) == [("S=1000", "against S=100"), ("S=1000", "against CQL")]
    known = report.comparison_table().loc[("S=1000", "against CQL")]
    assert table.loc[("S=1000", "against CQL")].equals(known)
    assert report.compared({"nobody": ["CQL"]}).empty


def test_a_lower_loss_is_an_improvement():
    artefact = replace(load_artefact("matched_control"), metric="loss")
    logs = small_logs(sorted(set(log_labels(artefact).values())))
    logs["train_loss"] = np.where(logs["seed"] == 42, 0.9, 1.1)
    logs.loc[logs["arm"] == log_labels(artefact)["DT+Synthetic"], "train_loss"] /= 2
    report = Report(runs_of_authors(artefact, logs))
    average = report.comparisons[report.comparisons["dataset"] == AVERAGE].set_index(["arm", "baseline"])
    row = average.loc["DT+Synthetic", "DT, matched"]
    assert (row["difference"], row["improvement"]) == (pytest.approx(-50), 1.0)
    assert "in per cent of the mean of DT (less is a better fit)" in report.caption()


def test_two_seeds_get_no_interval_in_words():
    report = Report(made_up_runs(seeds=2, datasets=DATASETS[:2]))
    table = report.comparison_table()
    assert not table["difference"].str.contains(r"\[").any() and set(table["verdict"]) == {"not enough runs"}
    assert report.overall["iqm_low"].isna().all()


@pytest.mark.parametrize("undone", [["CQL, matched"], ["CQL", "CQL, matched"]])
def test_a_table_that_is_not_finished_compares_what_is_there(undone):
    report = Report(those(made_up_runs(datasets=DATASETS[:2]), lambda runs: ~runs["arm"].isin(undone)))
    assert undone[-1] in report.wide().columns and "S=100 " in report.text()
    if undone == ["CQL, matched"]:
        assert set(report.comparisons["baseline"]) == {"CQL"}
    else:
        assert " against " not in report.text()


@pytest.mark.parametrize("done", ["CQL", "CQL, matched"])
def test_a_table_with_one_column_is_shown(done):
    report = Report(those(made_up_runs(datasets=DATASETS[:2]), lambda runs: runs["arm"] == done))
    assert " against " not in report.text() and report.comparison_table().empty


def test_arms_on_different_data_sets_are_not_compared():
    runs = those(
        made_up_runs(datasets=DATASETS[:2]), lambda runs: (runs["arm"] == "CQL") != (runs["dataset"] == DATASETS[0])
    )
    assert set(Report(runs).comparison_table().index.get_level_values(1)) == {"against CQL, matched"}


def test_runs_that_are_smaller_than_the_papers_are_not_held_against_it():
    report = Report(replace(made_up_runs(), reduced=True))
    assert report.paper_verdict() == "Against the paper: smaller runs, not comparable (78 cells)."
    assert report.cells["difference"].isna().all()
    assert "not comparable" not in Report(made_up_runs()).paper_verdict()


def test_mixed_physics_are_refused():
    runs = made_up_runs()
    runs.records.loc[runs.records["dataset"] == "hopper-medium", "physics"] = "other"
    with pytest.raises(RuntimeError, match=r"hopper runs with different physics cannot share a table: .*other"):
        Report(runs)


def test_updates_to_the_target_are_counted_from_one_and_runs_that_never_get_there_are_told():
    artefact = load_artefact("table11")
    logs = small_logs(sorted(set(log_labels(artefact).values())))
    logs["return"] = 100.0
    never = (logs["arm"] == "wiki") & (logs["seed"] == 42) & (logs["dataset"] == "ant-medium")
    logs.loc[never, "return"] = 1.0
    report = Report(runs_of_authors(artefact, logs))
    cells = report.cells.set_index(["arm", "dataset"])
    assert cells.loc[("DT", "ant-medium"), "mean"] == 5.0
    assert cells.loc[("DT+Wiki", "ant-medium"), "n"] == 1
    assert "1 of 96 runs never get there and are left out." in report.caption()


def test_table_13_is_counted_in_both_ways_side_by_side():
    """CQL gets there at its second evaluation; one run of CQL+MDP in five never does, which Table 13 counts as 0."""
    scores = {"CQL": [0.0, 10.0, 10.0, 10.0, 10.0], "CQL+MDP": [10.0] * 5}
    made = curves.report("table13", scores, {}, spread=0.0, datasets=DATASETS[:1])
    evaluations = made.runs.evaluations.rename(columns={"score": "return"}).assign(score=0.0)
    evaluations.loc[(evaluations["arm"] == "CQL+MDP") & (evaluations["seed"] == 0), "return"] = 0.0
    report = Report(replace(made.runs, evaluations=evaluations))
    table = both_countings(report)
    assert table["counted from 1"].dropna().to_dict() == {"CQL": 0.02, "CQL+MDP": 0.01}
    assert table["as in Table 13"].dropna().to_dict() == {"CQL": 0.01, "CQL+MDP": 0.0}
    assert table["runs that never get there"].dropna().to_dict() == {"CQL": 0, "CQL+MDP": 1}
    assert BOTH in report.text() and BOTH in report.html()


@pytest.mark.parametrize("name", ["table1", "table11"])
def test_a_spread_that_is_printed_is_explained(name):
    artefact = load_artefact(name)
    report = Report(runs_of_authors(artefact, small_logs(sorted(set(log_labels(artefact).values())))))
    assert " ± " in report.wide().iloc[0, 0]
    assert "± population standard deviation over these seeds" in report.caption()


def test_an_arm_is_held_against_its_own_control():
    compared = Report(made_up_runs("table29", datasets=DATASETS[:2])).comparisons
    against = {arm: set(rows["baseline"]) for arm, rows in compared.groupby("arm")}
    assert against["CQL+MDP"] == {"CQL", "CQL, matched"}
    assert against["CQL+Mapping"] == against["CQL+Identity"] == {"CQL", "CQL, matched (wider head)"}
    assert against["CQL, matched (wider head)"] == {"CQL", "CQL, matched"}
