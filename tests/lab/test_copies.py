"""A reader's copies of the pages: kept while the page stays, replaced when it changes, and never lost."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from synthlib.lab.__main__ import command
from synthlib.lab.copies import update


@pytest.fixture
def pages(tmp_path):
    (tmp_path / "pages" / "notes").mkdir(parents=True)
    (tmp_path / "pages" / "notes" / "a.md").write_text("a text")
    write(tmp_path / "pages" / "01_page.ipynb", "guess = None")
    return tmp_path / "pages"


def write(path, source, output=None):
    cell = new_code_cell(source, outputs=[new_output("stream", text=output)] if output else [])
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A page"), cell]), path)


def source(path):
    return nbformat.read(path, as_version=4).cells[1].source


def test_pages_are_copied_once_and_what_was_made_there_stays(pages, tmp_path):
    lab = tmp_path / "lab"
    assert update(pages, lab) == []
    assert (lab / "notes" / "a.md").read_text() == "a text"
    write(lab / "01_page.ipynb", "guess = 3", output="an output")
    before = (lab / "01_page.ipynb").read_bytes()
    assert update(pages, lab) == [] and (lab / "01_page.ipynb").read_bytes() == before


def test_a_changed_page_replaces_a_copy_that_was_only_run(pages, tmp_path):
    lab = tmp_path / "lab"
    update(pages, lab)
    write(lab / "01_page.ipynb", "guess = None", output="an output")
    write(pages / "01_page.ipynb", "guess = {}")
    assert update(pages, lab) == [] and source(lab / "01_page.ipynb") == "guess = {}"
    assert [path.name for path in lab.glob("*.ipynb")] == ["01_page.ipynb"]


def test_a_changed_page_leaves_what_a_reader_wrote_beside_it(pages, tmp_path):
    lab = tmp_path / "lab"
    update(pages, lab)
    for number, name in enumerate(["01_page-yours.ipynb", "01_page-yours-2.ipynb"]):
        write(lab / "01_page.ipynb", f"guess = {number}")
        write(pages / "01_page.ipynb", f"a new page, {number}")
        (line,) = update(pages, lab)
        assert line == f"01_page.ipynb has changed; the copy in which you wrote is now {name}"
        assert source(lab / name) == f"guess = {number}"
        assert source(lab / "01_page.ipynb") == f"a new page, {number}"
    (lab / "notes" / "a.md").write_text("my own words")
    (pages / "notes" / "a.md").write_text("another text")
    assert len(update(pages, lab)) == 1 and (lab / "notes" / "a-yours.md").read_text() == "my own words"


def test_nothing_is_lost_without_the_list_of_copies_or_with_a_broken_copy(pages, tmp_path):
    lab = tmp_path / "lab"
    update(pages, lab)
    (lab / ".copied.json").write_text("{broken")
    write(lab / "01_page.ipynb", "guess = 3")
    assert len(update(pages, lab)) == 1 and source(lab / "01_page-yours.ipynb") == "guess = 3"
    (lab / "01_page.ipynb").write_text("{half a notebook")
    write(pages / "01_page.ipynb", "a new page")
    assert len(update(pages, lab)) == 1 and (lab / "01_page-yours-2.ipynb").read_text() == "{half a notebook"


def test_root_is_let_in_and_a_browser_elsewhere_is_not_started_here():
    plain = command([], is_root=False)
    assert "--allow-root" not in plain and "--no-browser" not in plain
    words = command(["--ip=0.0.0.0", "--port=0"], is_root=True)
    assert {"--allow-root", "--no-browser"} <= set(words) and words[-2:] == ["--ip=0.0.0.0", "--port=0"]
