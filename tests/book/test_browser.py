"""The book and two single pages in a real browser, at the width of a desk, of a phone, and of paper.

The book is made here (`make book`), which takes minutes and trains nothing. Skipped where there is no Chromium.
"""

import json
import os
import subprocess
import sys

import pytest

from synthlib.book.contents import pages
from synthlib.paths import ROOT
from tests.book.browser import BROWSERS, browser_path

SITE = ROOT / "build" / "book" / "html"
PYTHON = ROOT / "build" / "venv-book" / "bin" / "python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser_path() is None, reason=f"no browser here: none of {', '.join(BROWSERS)}"),
]


def make(target):
    """``make`` with the environment of this test, which counts as installed."""
    command = ["make", f"VENV={sys.prefix}", "-o", f"{sys.prefix}/installed", "-o", f"{sys.prefix}/developers", target]
    options = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "SYNTHLIB_"))}
    return subprocess.run(command, cwd=ROOT, env=options, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site():
    done = make("book")
    assert done.returncode == 0, done.stdout + done.stderr
    return SITE


def problems(*arguments):
    command = [PYTHON, ROOT / "tests" / "book" / "browser.py", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_page_of_the_book(site):
    names = ["index", *(page.name for page in pages())]
    assert {path.stem for path in site.glob("*.html")} == {*names, "search", "genindex"}
    found = problems(*(site / f"{name}.html" for name in names), "--search", "matched control", "30_matched_control")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", ["02_section3_2_chains", "30_matched_control"])
def test_a_single_page(site, name):
    """As `reproduce` writes it; the book's own execution has left one of every page."""
    found = problems(ROOT / "build" / "book" / "executed" / f"{name}.html")
    assert not found, "\n".join(found)


def test_the_check_sees_what_is_wrong(site, tmp_path):
    (tmp_path / "bad.html").write_text(
        "<html lang='en'><title>bad</title><main><h1>Bad</h1><img src='nothing.png' width='900'>"
        "<p style='color: #ccc'>pale</p><a href='gone.html'>gone</a><script src='https://example.org/x.js'></script>"
        "<div style='overflow: hidden; width: 9em'><pre>"
        + "wide " * 60
        + "</pre></div><script>nowhere()</script></main>"
    )
    found = "\n".join(problems(tmp_path / "bad.html"))
    for said in (
        "no alt text",
        "asks another host",
        "a link to nothing",
        "axe: color-contrast",
        "nowhere is not defined",
    ):
        assert said in found
    assert "bad.html at 390: 9" in found and "bad.html on paper: " in found
