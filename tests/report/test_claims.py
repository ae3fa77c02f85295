"""The paper's claims, judged by its own print and by made-up cells."""

import pandas as pd
import pytest

from synthlib.paper import paper_claims, paper_seeds, paper_table, score_table_numbers
from synthlib.report.claims import judge_claim
from synthlib.report.verdicts import FAILS, HOLDS, NOT_ENOUGH_RUNS, UNDECIDED
from synthlib.tasks import DATASETS


def printed_cells():
    cells = pd.concat([paper_table(number) for number in score_table_numbers()])
    cells = cells[cells["dataset"].isin(DATASETS)]
    return cells.assign(n=[paper_seeds(*column) for column in zip(cells["table"], cells["arm"], strict=True)])


def claim(identity):
    return next(claim for claim in paper_claims() if claim["id"] == identity)


def test_the_printed_cells_bear_the_papers_claims_out():
    cells = printed_cells()
    words = {one["id"]: judge_claim(one, cells)[0] for one in paper_claims() if "compare" in one}
    assert len(words) >= 30
    # Five seeds per arm are too few for the two side studies; everything else the tables do say.
    undecided = {"dt-identity-and-mapping", "cql-identity-and-mapping"}
    assert words == {identity: UNDECIDED if identity in undecided else HOLDS for identity in words}


@pytest.mark.parametrize(("shift", "word"), [(-20.0, FAILS), (0.0, FAILS), (1.0, HOLDS), (20.0, HOLDS)])
def test_a_claim_of_higher_fails_on_equal_arms_too(shift, word):
    cells = printed_cells().query("table == 6")
    baseline = cells[cells["arm"] == "CQL"].assign(std=1.0)
    cells = pd.concat([baseline, baseline.assign(arm="S=1000", mean=baseline["mean"] + shift)])
    answer, tests = judge_claim(claim("cql-1000-states-10-percent"), cells)
    assert answer == word
    assert tests["difference"].item() == pytest.approx(shift)


@pytest.mark.parametrize(("shift", "word"), [(-20.0, FAILS), (-0.5, HOLDS), (20.0, HOLDS)])
def test_a_claim_of_not_lower_leaves_room_for_the_margin(shift, word):
    dt = printed_cells().query("table == 1 and arm == 'DT'").assign(std=1.0)
    cells = pd.concat([dt, dt.assign(arm="DT+Synthetic", mean=dt["mean"] + shift)])
    answer, tests = judge_claim(claim("dt-synthetic-each-dataset"), cells)
    assert answer == word and list(tests["dataset"]) == list(DATASETS)


def test_a_claim_of_not_higher_is_its_mirror():
    one = claim("cql-longer-training")
    one = {**one, "compare": one["compare"][:1]}
    cql = printed_cells().query("table == 28 and arm == 'CQL'").assign(std=1.0)
    for shift, word in ((-20.0, HOLDS), (0.5, HOLDS), (20.0, FAILS)):
        cells = pd.concat([cql, cql.assign(arm="CQL+100K more", mean=cql["mean"] + shift)])
        assert judge_claim(one, cells)[0] == word


def test_a_claim_without_all_its_runs_is_not_judged():
    cells = printed_cells().query("table == 1")
    incomplete = cells[~((cells["arm"] == "DT") & (cells["dataset"] == "ant-medium"))]
    assert judge_claim(claim("dt-synthetic-over-dt"), incomplete)[0] == NOT_ENOUGH_RUNS
    assert judge_claim(claim("dt-iid-matches-wiki"), cells)[0] == NOT_ENOUGH_RUNS
    with pytest.raises(ValueError, match="'cql-overtakes-at-400k' is not about scores"):
        judge_claim(claim("cql-overtakes-at-400k"), cells)
