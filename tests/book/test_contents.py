"""book.yaml names every notebook once, and says from which runs each page is made."""

import pytest

from synthlib.book.contents import pages, parts
from synthlib.notebooks import check_parameters
from synthlib.study.params import ParameterError
from synthlib.study.presets import presets

GOOD = """
- part: One
  pages:
    00_start_here: {runs: none, command: make start}
"""


def test_every_page_can_be_made_as_the_book_says():
    assert len(pages()) == len({page.name for page in pages()})
    for page in pages():
        check_parameters(page.notebook, page.parameters)
        assert page.parameters.get("preset", "quick") in presets()
        assert page.command.startswith("make ")
        assert not page.missing or page.missing.endswith(".")
    words = {page.name: page.runs for page in pages()}
    assert words["30_matched_control"] == "the authors' own runs"
    assert words["33_cql_why"] == "published runs of this project, preset evening"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", "must name every notebook once; look at: 01_datasets, 02_"),
        ("command", "comand", "00_start_here: unknown comand; known:"),
        (", command: make start", "", "00_start_here: command is missing"),
        ("none", "[authors]", "runs is `none`, or gives a source or a preset"),
    ],
)
def test_a_wrong_entry_is_told_in_a_sentence(tmp_path, old, new, said):
    file = tmp_path / "book.yaml"
    file.write_text(GOOD.replace(old, new) if old else GOOD)
    with pytest.raises(ParameterError, match=said):
        parts(file)
