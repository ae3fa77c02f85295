import json

import nbformat
import pandas as pd
import pytest

from synthlib import __main__ as commands
from synthlib.paper import paper_claims
from synthlib.report import scoreboard as module
from synthlib.report.evidence import CELL, OWN, Evidence, finished, of_authors, printed, with_controls
from synthlib.report.judgements import REASONS
from synthlib.report.scoreboard import (
    board_columns,
    other_presets_with_runs,
    save_scoreboard,
    saved_scoreboard,
    scoreboard,
)
from synthlib.report.sources import open_runs
from synthlib.report.verdicts import ANSWERS
from tests.common import AUTHORS_LOGS

CLAIMS = [claim["id"] for claim in paper_claims()]


@pytest.fixture(scope="module")
def board():
    nothing = Evidence(OWN, pd.DataFrame(columns=CELL))
    return scoreboard({"as printed": printed(), "mine": nothing, "mine, matched": with_controls(nothing)})


def test_no_place_on_the_board_is_empty(board):
    assert list(board.words.index) == CLAIMS
    assert set(board.words.to_numpy().ravel()) <= {*ANSWERS, *REASONS}
    for reason in set(board.words.to_numpy().ravel()) & set(REASONS):
        assert any(line.startswith(f"{reason}: ") for line in board.legend())
    assert board.counts().sum().to_list() == [len(CLAIMS)] * 3


def test_the_board_is_saved_with_its_numbers_and_read_again(board, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path))
    folder = save_scoreboard(board, "smoke")
    assert folder == tmp_path / "smoke" / "scoreboard"
    assert {path.suffix for path in folder.iterdir()} >= {".txt", ".csv", ".html", ".json", ".png", ".svg"}
    again = saved_scoreboard(folder)
    assert again.judgements == board.judgements and again.text() == board.text()
    table = pd.read_csv(folder / "scoreboard.csv", index_col="id", keep_default_na=False)
    assert table.loc["dt-synthetic-over-dt", "as printed"] == "holds"
    assert "+5.9 [+4.7, +7.1]" in table.loc["dt-synthetic-over-dt", "as printed: numbers"]
    page = (folder / "scoreboard.html").read_text()
    assert "+5.9 [+4.7, +7.1]" in page and "Margin: 2.5 points" in page


@pytest.mark.slow
def test_the_command_makes_the_board_once_and_the_page_shows_it(board, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(module, "make_scoreboard", lambda *options: board)
    assert commands.main(["scoreboard", "--preset", "smoke"]) == 0  # the kernel of the page would make another board
    assert board.text() in capsys.readouterr().out
    page = nbformat.read(tmp_path / "smoke" / "scoreboard" / "99_scoreboard.ipynb", as_version=4)
    (given,) = [cell.source for cell in page.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    assert f'saved = "{tmp_path}/smoke/scoreboard"' in given
    shown = (tmp_path / "smoke" / "scoreboard" / "99_scoreboard.html").read_text()
    assert "mine, matched" in shown  # a column of this board only


def test_our_runs_of_nothing_are_no_runs(outputs, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(outputs))
    ours = finished(open_runs("own", "smoke"))
    assert ours.cells.empty and not ours.comparable
    without = of_authors(str(outputs / "nothing.csv"))
    assert without.cells.empty
    columns = board_columns(ours, without, "smoke, replica")
    assert list(columns)[3] == "our runs (smoke, replica)"
    assert [one.matched for one in columns.values()] == [False, False, True, False, True]


def test_presets_whose_runs_are_published_are_named(outputs, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(outputs))
    said = other_presets_with_runs("quick", "replica")
    assert said.startswith("Other presets with finished runs of Tables 1 and 6: evening ")
    assert " early 36" in said and "quick" not in said and said.endswith("(make scoreboard PRESET=evening).")
    assert "evening" not in other_presets_with_runs("evening", "replica")


@pytest.mark.slow
def test_the_authors_logs_fill_their_columns():
    authors = of_authors(str(AUTHORS_LOGS))
    words = scoreboard({"theirs": authors, "control": with_controls(authors)}).words
    decision_transformer = [one for one in CLAIMS if one.startswith(("dt-", "wiki-", "weights-", "scores-", "final-"))]
    reasons = words.loc[decision_transformer, "theirs"]
    assert set(reasons[~reasons.isin(ANSWERS)].items()) == {
        ("dt-fine-tuning-time", "other machine"),
        ("dt-fine-tuning-as-fast-as-dt", "other machine"),
        ("dt-pretraining-time", "not logged"),
        ("dt-pretraining-87-percent", "not logged"),
        ("dt-pretraining-87-percent-by-vocabulary", "not logged"),
        ("weights-turn-more", "not logged"),
    }
    rest = words.drop(index=[*decision_transformer, "more-change-better-score"])["theirs"]
    assert set(rest) == {"no CQL logs", "not logged"}  # the features of Figure 12 that the authors did not keep
    control = words["control"]
    assert control["dt-synthetic-over-dt"] == "fails"  # the size: half of it is left
    assert control["wiki-over-dt"] == control["dt-iid-over-both"] == "fails"
    assert control["dt-steps-all-over-dt"] == control["dt-temperatures-all-over-dt"] == "holds"
    json.dumps(authors.seconds.to_dict())
