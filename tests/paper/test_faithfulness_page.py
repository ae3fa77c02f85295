"""A comment that says "faithfulness" and a number sends its reader to a page: the page must have that number."""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from synthlib.paper import paper_contradictions, paper_hyperparameters
from synthlib.paths import NOTEBOOKS, PARAMS, ROOT
from tests.common import TESTS

PACKAGE = ROOT / "synthlib"
PAGE = PACKAGE / "paper" / "faithfulness.md"

ITEM = r"\d+\.\d+[a-c]?"
RANGE = rf"{ITEM}(?:-{ITEM})?"
# "section 3", "8, row 12", "8, last line", or items: "3.19, 6.8", "4.5 and 2.8", "8.13-8.15".
REFERENCE = re.compile(
    rf"\bfaithfulness (?:items? |sections? )?"
    rf"(?:(?P<items>{RANGE}(?:(?:, | and ){RANGE})*)|(?P<section>\d+)(?:, (?:item|row) (?P<row>\d+))?)",
    re.IGNORECASE,
)


def references(text):
    """What the text refers to: items as "6.3" or "0.4a", whole sections as "6"; a comment may break its lines."""
    found = set()
    for match in REFERENCE.finditer(re.sub(r"\s*\n\s*(?:# )?\s*", " ", text)):
        if match["section"]:
            found.add(f"{match['section']}.{match['row']}" if match["row"] else match["section"])
        for item in re.findall(RANGE, match["items"] or ""):
            first, _, last = item.partition("-")
            if last:
                section, number = first.split(".")
                found |= {f"{section}.{n}" for n in range(int(number), int(last.split(".")[1]) + 1)}
            else:
                found.add(first)
    return found


def text_of(path):
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    return "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])


def referring_files():
    yield from (path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".yaml"))
    yield from PARAMS.glob("*.yaml")
    yield from NOTEBOOKS.glob("*.ipynb")
    yield from (path for path in TESTS.rglob("*.py") if path != Path(__file__))
    yield ROOT / "README.md"


def items_of(page):
    return re.findall(rf"^- \*\*({ITEM})\*\* ", page, re.MULTILINE)


def known_numbers(page):
    """Items and sections of the page, "0.4" for 0.4a to 0.4c, and for section 8 the numbers of the contradictions."""
    items = set(items_of(page))
    sections = set(re.findall(r"^## (\d+)\. ", page, re.MULTILINE))
    contradictions = {f"8.{entry['number']}" for entry in paper_contradictions()}
    return items | {item.rstrip("abc") for item in items} | sections | contradictions


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(Faithfulness 3.4, 3.7, 3.8).", {"3.4", "3.7", "3.8"}),
        ("faithfulness 4.5 and 2.8", {"4.5", "2.8"}),
        ("faithfulness 3.16, 6.5, 8.13-8.15. Table 27", {"3.16", "6.5", "8.13", "8.14", "8.15"}),
        ("faithfulness item 7.9", {"7.9"}),
        ("faithfulness section 6: one stream", {"6"}),
        ("faithfulness 8, row 12; faithfulness 8, last line", {"8.12", "8"}),
        ("faithfulness 0.4a): the pre-trained 3 arms", {"0.4a"}),
        ("faithfulness 1.8: 256 sequences", {"1.8"}),
        ("faithfulness 2.7, 1872 updates", {"2.7"}),
        ("# counts from 0 (faithfulness\n# 6.8); not 3.3", {"6.8"}),
        ("the faithfulness of a copy, 2.5 times", set()),
    ],
)
def test_references_are_read_in_every_form_that_is_in_use(text, expected):
    assert references(text) == expected


def test_every_reference_leads_to_an_item_of_the_page(page):
    where = defaultdict(list)
    for path in referring_files():
        for reference in references(text_of(path)):
            where[reference].append(path.relative_to(ROOT).as_posix())
    assert len(where) > 50, "the references are no longer found"
    known = known_numbers(page)
    assert {reference: files for reference, files in where.items() if reference not in known} == {}


def test_the_data_of_the_paper_refer_to_items_of_the_page(page):
    evidence = " ".join(entry["evidence"] for entry in paper_contradictions())
    sources = " ".join(" ".join(paper_hyperparameters(number)["source"]) for number in (9, 10, 15, 16, 17))
    referred = set(re.findall(rf"\(({ITEM})\)", evidence)) | set(re.findall(ITEM, sources))
    assert {"3.7", "0.4b", "2.10"} <= referred
    assert referred - known_numbers(page) == set()


def test_a_number_that_the_page_lacks_is_noticed(page):
    without = page.replace("- **6.3** ", "- ")
    assert "6.3" in known_numbers(page) - known_numbers(without)
    assert "8.99" not in known_numbers(page)


def test_items_are_in_order_and_there_once(page):
    numbers = [re.fullmatch(r"(\d+)\.(\d+)([a-c]?)", item).groups() for item in items_of(page)]
    places = [(int(section), int(number), letter) for section, number, letter in numbers]
    assert places == sorted(set(places))


def test_the_places_in_our_code_exist(page):
    places = re.findall(r"`([\w/]+\.(?:py|csv))(?:: ([\w,\s]+))?`", page)
    assert len(places) > 60
    for file, names in places:
        text = (ROOT / file if file.startswith("tests/") else PACKAGE / file).read_text(encoding="utf-8")
        absent = [name for name in re.findall(r"\w+", names) if not re.search(rf"\b{name}\b", text)]
        assert not absent, f"{file} has no {', '.join(absent)}"
