"""The paper's table of contents: nothing is left out, and everything is found by its number."""

import re

import pytest

from synthlib.__main__ import main
from synthlib.paths import NOTEBOOKS
from synthlib.study.contents import made_of, our_own, sections, title_and_notebook
from synthlib.study.pages import load_page, page_names
from synthlib.study.plan import make_plan
from tests.common import SHARED

PAPER = SHARED / "paper/2310.00771.txt"
SHOWN = [name for section in sections() for name in section.shows]


def test_every_table_and_figure_stands_in_one_section():
    printed = [f"table{number}" for number in range(1, 30)] + [f"figure{number}" for number in range(1, 18)]
    assert sorted(name for name in SHOWN if re.fullmatch(r"(table|figure)\d+", name)) == sorted(printed)
    assert len(SHOWN) == len(set(SHOWN)) and not set(SHOWN) & set(our_own())


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.number)
def test_every_section_has_a_page_and_a_command(section):
    names = made_of(section.name)
    assert names
    for name in names:
        title, notebook = title_and_notebook(name)
        assert title and (NOTEBOOKS / notebook).exists()


@pytest.mark.parametrize("name", [*SHOWN, *our_own()])
def test_every_name_can_be_planned(name):
    preset = "scouting" if name == "cql_start_scouts" else "smoke"
    title, notebook = title_and_notebook(name)
    if name in page_names():
        assert f"{name}: {title}" in load_page(name).plan(preset) and notebook in load_page(name).plan(preset)
    else:
        plan = make_plan(name, preset, "replica")
        assert plan.cells and plan.artefact.title == title and plan.artefact.notebook == notebook


def test_pages_are_numbered_in_the_papers_order():
    """Best scores, curves and costs (appendices A to C) stand on the pages of the tables whose runs they show."""
    runs_of_other_tables = ("A.1", "A.2", "A.3", "B.1", "B.2", "C.1", "C.2", "D")
    pages = [
        title_and_notebook(name)[1]
        for one in sections()
        if one.number not in runs_of_other_tables
        for name in one.shows
    ]
    first = list(dict.fromkeys(pages))
    assert first == sorted(first)


def test_a_section_stands_for_its_tables_and_figures():
    assert made_of("section3_4") == ["table2", "table3", "table4", "table5"]
    assert made_of("section4_1") == ["section4_1"] and made_of("table6") == ["table6"]
    assert made_of("section5") == ["scoreboard"]
    assert {"table9", "table17", "safe_q"} <= set(made_of("sectionA"))


def test_a_section_is_planned_part_by_part(capsys):
    assert main(["plan", "section4_2", "--preset", "smoke", "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert [name for name in ("table6: ", "table7: ", "table8: ", "figure2: ") if f"\n{name}" in f"\n{printed}"]


@pytest.mark.skipif(not PAPER.exists(), reason="the paper's text is not beside this checkout")
@pytest.mark.parametrize("section", sections(), ids=lambda section: section.number)
def test_the_paper_has_this_section(section):
    """Letters only: the text has spaces inside its small capitals, and breaks long titles."""
    letters = re.sub(r"[^a-z0-9]", "", f"{section.number}{section.title}".lower())
    assert letters in re.sub(r"[^a-z0-9]", "", PAPER.read_text().lower())
