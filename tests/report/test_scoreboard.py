import pandas as pd
import pytest

from synthlib.paper import paper_claims
from synthlib.report.scoreboard import NO_RUNS, judge, printed_cells, save_scoreboard, scoreboard, with_matched_baseline
from synthlib.tasks import DATASETS

CLAIMS = {claim["id"]: claim for claim in paper_claims()}


def cells(**means):
    """Cells of Table 1 with 20 seeds and a spread of 1."""
    rows = [
        {"table": 1, "arm": arm, "dataset": dataset, "mean": mean, "std": 1.0, "n": 20}
        for arm, mean in means.items()
        for dataset in DATASETS
    ]
    return pd.DataFrame(rows)


def table_1(dt=60.0, matched=66.0, wiki=65.0, synthetic=70.0):
    return cells(**{"DT": dt, "DT, matched": matched, "DT+Wiki": wiki, "DT+Synthetic": synthetic})


def test_the_control_takes_the_baselines_place():
    replaced = with_matched_baseline(table_1())
    assert set(replaced["arm"]) == {"DT", "DT+Wiki", "DT+Synthetic"}
    assert set(replaced.loc[replaced["arm"] == "DT", "mean"]) == {66.0}
    assert with_matched_baseline(cells(DT=60.0)).empty


def test_a_gain_that_the_flags_explain_holds_against_the_baseline_and_fails_against_the_control():
    wiki, synthetic = CLAIMS["wiki-over-dt"], CLAIMS["dt-synthetic-over-dt"]
    assert judge(wiki, table_1()) == judge(synthetic, table_1()) == "holds"
    assert judge(wiki, with_matched_baseline(table_1()), matched=True) == "fails"
    assert judge(synthetic, with_matched_baseline(table_1()), matched=True) == "holds"


def test_the_control_has_nothing_to_say_where_the_baseline_is_not_asked():
    replaced = with_matched_baseline(table_1())
    assert judge(CLAIMS["dt-synthetic-over-wiki"], table_1()) == "holds"
    assert judge(CLAIMS["dt-synthetic-over-wiki"], replaced, matched=True) == ""
    # More fine-tuning of DT has DT's own flags.
    assert judge(CLAIMS["dt-longer-training"], printed_cells(), matched=True) == ""


def test_what_is_not_there_is_said():
    assert judge(CLAIMS["cql-states-all-over-cql"], table_1()) == NO_RUNS
    assert judge(CLAIMS["weights-turn-more"], table_1()) == ""
    assert judge(CLAIMS["dt-27-percent-faster"], table_1()) == NO_RUNS


def test_costs_are_a_ratio():
    assert judge(CLAIMS["dt-27-percent-faster"], printed_cells()) == "0.73 of it (paper: 0.73)"


def test_a_board_has_a_row_per_claim_and_is_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path))
    board = scoreboard({"as printed": (printed_cells(), False), "mine": (table_1(), False)})
    assert list(board.index) == list(CLAIMS)
    assert board.loc["dt-synthetic-over-dt", "as printed"] == "holds"
    assert board.loc["cql-1k-updates-over-cql", "mine"] == NO_RUNS
    folder = save_scoreboard(board, "smoke")
    assert {path.suffix for path in folder.iterdir()} >= {".txt", ".csv", ".html", ".png", ".svg"}
    assert pd.read_csv(folder / "scoreboard.csv", index_col="id")["claim"].to_dict() == board["claim"].to_dict()


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_every_claim_can_be_judged_from_the_print(claim):
    word = judge(claim, printed_cells())
    assert word in ("holds", "fails", "undecided", "") or " of it (paper: " in word
