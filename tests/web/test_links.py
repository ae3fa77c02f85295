"""Links between single pages: to what is made, or in words how to make it."""

import pytest

from synthlib.web import links
from synthlib.web.links import working_links


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function that makes an empty page; the page that links is in outputs/quick/table6."""
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(links, "_BOOK", tmp_path / "book")

    def make(path):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")

    make("outputs/quick/table6/09_x.html")
    return make


def linked(tmp_path, html):
    return working_links(html, tmp_path / "outputs/quick/table6")


def test_a_link_leads_to_the_page_beside_it_or_elsewhere_or_in_the_book(made, tmp_path):
    link = 'see <a href="98_glossary.ipynb#words">the <b>words</b></a>'
    made("book/98_glossary.html")
    assert linked(tmp_path, link) == 'see <a href="../../../book/98_glossary.html#words">the <b>words</b></a>'
    made("outputs/evening/98_glossary/98_glossary.html")
    assert 'href="../../evening/98_glossary/98_glossary.html#words"' in linked(tmp_path, link)
    made("outputs/quick/table6/98_glossary.html")
    assert 'href="98_glossary.html#words"' in linked(tmp_path, link)


def test_where_nothing_is_made_the_first_place_says_how(made, tmp_path):
    link = '<a class="x" href="other.html">x</a> <a href="02_a.ipynb">02</a>, <a href="02_a.ipynb">again</a>'
    shown = linked(tmp_path, link)
    assert shown == '<a class="x" href="other.html">x</a> 02 (<code>make notebook-02_a</code>), again'
    text = linked(tmp_path, '<a href="teaching/notes.md">notes</a>')
    assert text == "notes (<code>notebooks/teaching/notes.md</code>)"
    made("book/teaching/notes.html")
    assert 'href="../../../book/teaching/notes.html"' in linked(tmp_path, '<a href="teaching/notes.md">notes</a>')
