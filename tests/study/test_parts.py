"""DATASETS, SEEDS and ARMS choose a part of a table; more_arms adds to one."""

import pytest

from synthlib.__main__ import main
from synthlib.report import evidence
from synthlib.report.authors_check import authors_artefacts
from synthlib.report.sources import open_runs
from synthlib.study.params import ANY_TABLE, ParameterError, load_artefact
from synthlib.study.plan import Selection, make_plan


def cells(selection, preset="smoke"):
    return {(c.arm, c.dataset, c.seed) for c in make_plan("table6", preset, None, selection=selection).cells}


def test_a_part_has_these_arms_data_sets_and_seeds():
    whole = cells(Selection())
    arms = {arm for arm, _, _ in whole}
    assert cells(Selection(seeds=1)) == {(arm, "hopper-medium-expert", 42) for arm in arms}
    chosen = Selection(("CQL", "S=10"), ("ant-medium", "hopper-random"), (666, 3))
    assert cells(chosen) == {
        (arm, data, seed) for arm in ("CQL", "S=10") for data in ("ant-medium", "hopper-random") for seed in (666, 3)
    }
    shared = {(c.arm, c.seed): c.job.key for c in make_plan("table6", "smoke", None).cells}
    part = make_plan("table6", "smoke", None, selection=Selection(arms=("S=10",), seeds=(666,))).cells
    assert [c.job.key for c in part] == [shared["S=10", 666]]  # the same run of the store


def test_a_number_of_seeds_counts_those_that_the_preset_lists_first():
    listed = (666, 1024, 2048, 4069, 0)
    for count, seeds in ((1, listed[:1]), (5, listed), (6, (*listed, 42))):
        assert {seed for *_, seed in cells(Selection(("CQL",), seeds=count), "evening")} == set(seeds)


def test_a_part_has_a_folder_of_its_own():
    folders = {
        open_runs("own", "smoke", selection=one).folder("table6").name
        for one in (Selection(), Selection(seeds=1), Selection(arms=("CQL",)))
    }
    assert len(folders) == 3 and "table6" in folders and all(name.startswith("table6") for name in folders)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--datasets", "hoper-medium"], "DATASETS: no data set called 'hoper-medium'; there are: "),
        (["--seeds", "21"], "SEEDS: 21 is not a number from 1 to 20"),
        (["--seeds", "42 43"], "SEEDS: 43 is not among the seeds of cql: 42, 666, 1024"),
        (["--seeds", "three"], "SEEDS must be a number of seeds, or seeds like 42;666; not 'three'"),
        (["--arms", "CQL;S=11"], "table6 has no arm ['S=11']; there are: CQL"),
        (["--seeds", "2", "--source", "authors"], "choose among runs of our own, not among the authors'"),
    ],
)
def test_what_is_not_there_is_refused(arguments, said, capsys):
    assert main(["plan", "table6", "--preset", "smoke", *arguments]) == 1
    assert said in capsys.readouterr().err


def test_a_whole_page_of_a_part_is_refused(capsys):
    assert main(["reproduce", "table6", "--preset", "smoke", "--seeds", "1"]) == 1
    assert "a page shows whole tables: ARMS, DATASETS and SEEDS are for make plan-" in capsys.readouterr().err


def test_the_command_line_plans_a_part(capsys):
    part = ["--arms", "CQL; S=10", "--datasets", "hopper-medium, ant-medium", "--seeds", "42;"]
    assert main(["plan", "table6", "--preset", "smoke", "--workers", "1", *part]) == 0
    assert "2 arms x 2 data sets x 1 seed" in capsys.readouterr().out


def test_more_arms_are_added_to_a_printed_table_and_the_authors_check_stays(own_params):
    before = [artefact.name for artefact in authors_artefacts()]
    (own_params / "mine.yaml").write_text("like: table1\nmore_arms:\n  Mine: {chain: {states: 50}}\n")
    mine, printed = load_artefact("mine"), load_artefact("table1")
    assert list(mine.arms) == [*printed.arms, "Mine"] and mine.paper_table == 1 and mine.notebook == ANY_TABLE
    assert load_artefact("table1").arms == printed.arms
    assert [artefact.name for artefact in authors_artefacts()] == before
    evidence._artefacts_by_table.cache_clear()
    assert evidence.artefact_of_table(1).name == "table1"  # claims are judged by the paper's own arms
    evidence._artefacts_by_table.cache_clear()
    for text, said in (
        (
            "like: table1\narms: {}\nmore_arms: {}\n",
            "arms replaces the arms of table1, more_arms adds to them; give one",
        ),
        ("like: table1\nmore_arms: 3\n", "more_arms must be a mapping of arms"),
    ):
        (own_params / "mine.yaml").write_text(text)
        with pytest.raises(ParameterError, match=said):
            load_artefact("mine")
