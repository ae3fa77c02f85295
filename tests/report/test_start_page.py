"""The entrance: what it counts, what it links to, and what it says of runs that are there."""

import pytest

from synthlib.machine.files import write_text
from synthlib.report import start_page
from synthlib.report.data_page import page_folder
from synthlib.report.start_page import Progress, StartPage, what_a_preset_shows
from synthlib.study.contents import our_own, sections
from synthlib.study.presets import presets


@pytest.fixture
def page(outputs, monkeypatch):
    """The page of an empty store. It plans three small presets only, as the paper's own takes a minute to plan."""
    monkeypatch.setattr(start_page, "presets", lambda: ["smoke", "quick", "evening"])
    return StartPage("smoke", "replica")


@pytest.mark.slow
def test_every_table_figure_and_section_has_a_row_with_its_command_and_its_runs(page):
    rows = page.contents().fillna("")
    names = [name for section in sections() for name in section.shows or section.see]
    commands = rows.loc[rows["command"] != "", "command"]
    assert commands.tolist() == [
        "make scoreboard" if name == "scoreboard" else f"make reproduce-{name}" for name in names
    ]
    table6 = rows.set_index("command").loc["make reproduce-table6"]
    assert table6["shown"] == "Table 6" and table6["section"].startswith("4.2 Results for CQL")
    assert table6["runs, preset smoke"] == f"0 of {page.progress['table6'].wanted['smoke']}"
    own = page.own_questions().set_index("command")
    assert len(own) == len(our_own())
    # Published runs of the preset evening, whatever this machine has.
    assert own.loc["make reproduce-cql_start", "larger runs that are there"].startswith("evening ")
    assert page.costs().loc["Table 6", "quick"] != "-"


def test_a_page_that_is_made_is_linked_and_in_jupyter_every_notebook(page, monkeypatch):
    frame = start_page.pd.DataFrame(
        {"section": ["4.2"], "page": ["09_table6_cql_state_space.ipynb"], "command": ["make reproduce-table6"]}
    )
    assert "<a" not in page.table(frame)
    made = page_folder("table6", "smoke", "replica") / "09_table6_cql_state_space.html"
    made.parent.mkdir(parents=True)
    write_text(made, "a page")
    assert '<a href="../table6/09_table6_cql_state_space.html">' in page.table(frame)
    monkeypatch.setenv("JPY_SESSION_NAME", "00_start_here.ipynb")
    assert '<a href="09_table6_cql_state_space.ipynb">' in page.table(frame)


def test_larger_runs_have_more_updates_whatever_the_order_of_the_presets():
    """In the file `scouting` and `early` stand behind `evening`: one is as long, the other shorter."""
    page = StartPage("evening", "replica")
    of_dt = {"smoke": 2, "evening": 15, "early": 36, "overnight": 39}
    of_cql = {"smoke": 8, "evening": 20, "scouting": 16, "overnight": 20}
    page.progress = {"dt_start": Progress(of_dt, of_dt, {}), "cql_start": Progress(of_cql, of_cql, {})}
    larger = page.own_questions().set_index("command")["larger runs that are there"]
    assert larger["make reproduce-dt_start"] == "overnight 39"  # as long, and on one data set more
    assert larger["make reproduce-cql_start"] == "overnight 20"
    page.preset = "early"
    larger = page.own_questions().set_index("command")["larger runs that are there"]
    assert larger["make reproduce-dt_start"] == "evening 15, overnight 39"
    assert larger["make reproduce-cql_start"].startswith("smoke 8, ")  # no run of CQL has this size


def test_data_that_a_preset_needs_and_that_are_not_there_leave_the_preset_out(page, two_tiers):
    progress = StartPage("smoke", two_tiers).progress_of("table6")
    assert list(progress.wanted) == ["smoke"]


def test_what_presets_show_is_what_their_file_says():
    frame = what_a_preset_shows()
    assert list(frame.index) == list(presets()) and frame.notna().all(axis=None)
