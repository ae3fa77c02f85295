"""Pages of the book: executed without training, cut where runs are missing, and never cut in silence."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from synthlib.book import pages
from synthlib.book.contents import BookPage
from synthlib.book.pages import BookFailed, execute, finished


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A function that makes a small page with these cells of code."""
    monkeypatch.setattr("synthlib.book.contents.NOTEBOOKS", tmp_path)
    monkeypatch.setattr(pages, "_fingerprint", lambda: "one")

    def make(*code, missing=""):
        parameters = new_code_cell('preset = "quick"')
        parameters.metadata["tags"] = ["parameters"]
        cells = [new_markdown_cell("# A page"), parameters, *map(new_code_cell, code), new_markdown_cell("The end.")]
        nbformat.write(new_notebook(cells=cells), tmp_path / "77_page.ipynb")
        return BookPage("77_page", {"preset": "evening"}, "make reproduce-table6", missing)

    return make


def executed_here(page, folder):
    """As :func:`execute`, in this process: the small page is in a folder that other processes do not know."""
    pages._execute(page, folder)
    return finished(page, folder)


def test_a_page_says_from_which_runs_it_is_made(page, tmp_path):
    small = page(
        "print(preset)",
        "from IPython.display import HTML\nHTML('<a href=\"30_matched_control.ipynb\">x</a><td>02_b</td>')",
    )
    cells = executed_here(small, tmp_path / "book").cells
    assert cells[0].source == "# A page"
    assert "made from published runs of this project, preset evening. Nothing was trained" in cells[1].source
    assert "`make reproduce-table6`" in cells[1].source
    assert pages._linked("[x](98_glossary.ipynb#words)") == "[x](98_glossary.html#words)"
    shown = [output for cell in cells for output in cell.get("outputs", [])]
    assert shown[0].text == "evening\n" and shown[1].data["text/html"] == (
        '<a href="30_matched_control.html">x</a><td><a href="02_b.html">02_b</a></td>'
    )


def test_a_page_without_all_runs_ends_with_a_sentence_and_no_error(page, tmp_path):
    small = page("print('before')", "print('at')\n1 / 0", "print('after')", missing="Two runs are not published.")
    notebook = executed_here(small, tmp_path / "book")
    text = nbformat.writes(notebook)
    assert "ZeroDivisionError" not in text and '"before\\n"' in text and '"at\\n"' not in text
    assert text.count("Two runs are not published.") == 2
    assert "The end." in notebook.cells[-1].source and notebook.cells[-2].outputs == []


def test_a_page_that_fails_or_is_whole_against_its_entry_stops_the_book(page, tmp_path):
    with pytest.raises(BookFailed, match=r"ZeroDivisionError(.|\n)*say in book.yaml what is missing"):
        executed_here(page("1 / 0"), tmp_path / "book")
    with pytest.raises(BookFailed, match="77_page is whole: take `missing` out"):
        executed_here(page("print(1)", missing="Some runs."), tmp_path / "book")


def test_nothing_is_executed_twice(page, tmp_path):
    small, folder = page("print(1)"), tmp_path / "book"
    pages._execute(small, folder)
    (folder / "executed" / "77_page.key").write_text(pages._key(small, "one"))
    assert list(execute([small], folder, workers=1)) == ["1 of 1 pages are as they were"]
    assert not pages._is_current(page("print(2)"), folder, "one")


def test_only_what_pages_are_made_of_makes_them_old(tmp_path, monkeypatch):
    for name, folder in (("ROOT", "."), ("PARAMS", "params"), ("RECORDS", "outputs/records")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(pages, name, tmp_path / folder)

    def changes(path):
        before, file = pages._fingerprint(), tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
        return pages._fingerprint() != before

    made_of = ("synthlib/report/a.py", "synthlib/paper/a.csv", "params/a.yaml", "outputs/records/cql/losses.csv")
    assert all(map(changes, made_of))
    assert not any(map(changes, ("synthlib/bench/a.py", "synthlib/commands/a.py", "synthlib/__main__.py", "README.md")))
