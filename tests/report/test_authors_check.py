"""The paper out of the authors' runs, through the report, to the digit; and that a made-up run is noticed."""

import pytest

from synthlib.paper import paper_seeds
from synthlib.report.authors_check import authors_artefacts, check, summary
from synthlib.report.authors_logs import log_labels, read_logs
from synthlib.report.report import Report
from synthlib.report.sources import runs_of_authors
from synthlib.report.verdicts import EQUAL
from synthlib.study.params import load_artefact
from tests.common import AUTHORS_LOGS, small_logs


@pytest.fixture(scope="module")
def authors_logs():
    return read_logs(AUTHORS_LOGS)


def test_the_tables_are_those_of_faithfulness_and_table_11():
    assert [artefact.paper_table for artefact in authors_artefacts()] == [1, 2, 3, 4, 5, 11, 18, 19, 20, 21, 22, 26, 27]


def test_made_up_runs_are_told_from_the_authors():
    labels = {label for artefact in authors_artefacts() for label in log_labels(artefact).values()}
    checked = check(small_logs(sorted(labels)))
    assert checked["equal"].mean() < 0.02
    assert " of 708 cells equal; 0 of 59 average rows equal; " in summary(checked)


@pytest.mark.slow
def test_every_cell_of_the_paper_comes_out_of_the_authors_runs(authors_logs):
    checked = check(authors_logs)
    assert checked[~checked["equal"]].empty
    expected = "708 of 708 cells equal; 59 of 59 average rows equal; 36 of 36 cells of Table 11 equal"
    assert summary(checked) == expected
    assert checked["reprint"].sum() == (2 + 3) * 13


def test_a_run_less_is_seen_in_its_cell(authors_logs):
    without = authors_logs[~((authors_logs["arm"] == "wiki") & (authors_logs["seed"] == 42))]
    cells = Report(runs_of_authors(load_artefact("table1"), without)).cells
    different = cells[cells["paper_mean"].notna() & (cells["verdict"] != EQUAL)]
    assert set(different["arm"]) == {"DT+Wiki"} and len(different) > 6


@pytest.mark.slow
def test_runs_behind_a_column_are_as_many_as_the_paper_package_says(authors_logs):
    for artefact in authors_artefacts():
        if artefact.metric != "updates":
            cells = Report(runs_of_authors(artefact, authors_logs)).cells
            for arm, counts in cells[cells["paper_mean"].notna()].groupby("arm")["n"]:
                assert set(counts) == {paper_seeds(artefact.paper_table, arm)}, (artefact.name, arm)


def test_table_11_follows_up_to_one_evaluation_in_one_run(authors_logs):
    cells = Report(runs_of_authors(load_artefact("table11"), authors_logs)).cells.set_index(["dataset", "arm"])
    # The run that decides whether the target is rounded to 0.1; the authors' stored value for it is 30,000 updates.
    run = authors_logs.query("arm == 'wiki' and dataset == 'hopper-medium-replay' and seed == 6049")
    assert run.loc[run["updates"] == 30_000, "return"].item() == 1443.60
    assert cells.loc[("hopper-medium-replay", "DT+Wiki"), "mean"] == 28.25
