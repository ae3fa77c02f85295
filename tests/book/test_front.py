"""The front page says what the runs say: its numbers are looked for in the tables that they come from."""

import re
from html import unescape

import pytest

from synthlib.book.contents import FOLDER
from synthlib.book.front import finding, paper_map
from synthlib.paper import paper_table
from synthlib.report.ladder import RUNGS, ladder, published_cells, rungs
from synthlib.report.sources import open_runs
from synthlib.study.contents import sections


@pytest.fixture(scope="module")
def authors():
    return open_runs("authors").report("matched_control")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Of an empty store: only outputs/records is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path_factory.mktemp("empty")))
        runs = open_runs("own", "evening")
        yield (
            runs.report("cql_start"),
            open_runs("own", "early").report("dt_start"),
            runs.report("dt_pretraining_seeds"),
            runs.report("cql_pretraining_seeds"),
        )


@pytest.mark.slow
def test_the_finding_has_five_sentences_with_n_and_interval(authors, published):
    sentences = finding(authors, *published)
    assert len(sentences) == 5 and all(sentence.endswith(".") for sentence in sentences)
    text = " ".join(sentences)
    assert len(re.findall(r"[+-]\d+\.\d \[[+-]\d+\.\d, [+-]\d+\.\d\]", text)) == 10
    assert text.count("n = ") == 3 and "Over 5 pre-trainings of CQL's critics the difference is +21.8 [+17.4, " in text
    assert "from 67.7 to 73.6: +5.9 [+4.7, +7.1] points" in text
    assert "+3.2 [+2.0, +4.3] with the chain" in text and "leaves out zero for the chain." in text
    assert "of DT by +5.3 [+3.5, +7.0] points over its first 1,000 of 100,000 updates" in text
    printed = paper_table(1).query("is_average").set_index("arm")["mean"]
    assert (printed["DT"], printed["DT+Synthetic"]) == (67.7, 73.6)


def test_the_ladder_is_drawn_from_the_runs_and_committed_as_drawn():
    figure, words = ladder(rungs(published_cells()))
    (axis,) = figure.axes
    assert [text.get_text()[:4] for text in axis.texts] == ["67.7", "70.4", "69.9", "71.3", "73.6"]
    assert all(says in words for says in RUNGS.values())
    assert (FOLDER / "ladder.alt.txt").read_text() == words + "\n", "python -m synthlib.book.front draws it again"
    assert (FOLDER / "ladder.png").stat().st_size < 100_000


def test_the_map_has_every_section_and_links_to_pages_of_the_book():
    table = paper_map()
    assert [unescape(heading) for heading in table["section"] if heading] == [
        f"{s.number} {s.title}" for s in sections()
    ]
    linked = set(re.findall(r'href="(\w+)\.html"', " ".join(table["page"])))
    assert {"03_table1_dt_wiki_synthetic", "99_scoreboard"} <= linked
