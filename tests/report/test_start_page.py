"""The entrance: what it counts, what it links to, and what it says of runs that are there."""

import pytest

from synthlib.machine.files import write_text
from synthlib.report import start_page
from synthlib.report.data_page import page_folder
from synthlib.report.start_page import StartPage, what_a_preset_shows
from synthlib.study.contents import our_own, sections
from synthlib.study.params import presets


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


def test_data_that_a_preset_needs_and_that_are_not_there_leave_the_preset_out(page, two_tiers):
    progress = StartPage("smoke", two_tiers).progress_of("table6")
    assert list(progress.wanted) == ["smoke"]


def test_what_presets_show_is_what_their_file_says():
    frame = what_a_preset_shows()
    assert list(frame.index) == list(presets()) and frame.notna().all(axis=None)
