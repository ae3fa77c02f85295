"""The book and two single pages in a real browser, at the width of a desk, of a phone, and of paper.

The book is made here (`make book`), which takes minutes and trains nothing, so only `make test-book` asks for this
test. Skipped where there is no Chromium.
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
    pytest.mark.skipif(not os.environ.get("SYNTHLIB_BROWSER"), reason="make test-book runs it; it makes the book"),
    pytest.mark.skipif(browser_path() is None, reason=f"no browser here: none of {', '.join(BROWSERS)}"),
]

BAD = (
    "<html lang='en'><title>bad</title><main><h1>Bad</h1><img src='nothing.png' width='900'>"
    "<p style='color: #ccc'>pale</p><a href='gone.html'>gone</a><script src='https://example.org/x.js'></script>"
    f"<div style='overflow: hidden; width: 9em'><pre>{'wide ' * 60}</pre></div><script>nowhere()</script></main>"
)


def make(target):
    """``make`` with the environment of this test, which counts as installed."""
    command = ["make", f"VENV={sys.prefix}", "-o", f"{sys.prefix}/installed", "-o", f"{sys.prefix}/developers", target]
    options = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "SYNTHLIB_"))}
    return subprocess.run(command, cwd=ROOT, env=options, capture_output=True, text=True)


def problems(*arguments):
    command = [PYTHON, ROOT / "tests" / "book" / "browser.py", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_book_and_single_pages_in_a_browser(tmp_path):
    """One test, because two that make one book at a time would be in each other's way."""
    installed = make("build/venv-book/installed")
    if installed.returncode:
        pytest.skip(f"the book's environment cannot be installed here: {installed.stderr.strip()[-200:]}")
    (tmp_path / "bad.html").write_text(BAD)
    found = "\n".join(problems(tmp_path / "bad.html"))  # a check that finds nothing must be able to find something
    for said in ("no alt text", "another host", "link to nothing", "axe: color-contrast", "nowhere is not defined"):
        assert said in found
    assert "bad.html at 390: 9" in found and "bad.html on paper: " in found

    done = make("book")
    assert done.returncode == 0, done.stdout + done.stderr
    names = ["index", *(page.name for page in pages())]
    assert {path.stem for path in SITE.glob("*.html")} == {*names, "search", "genindex"}
    found = problems(*(SITE / f"{name}.html" for name in names), "--search", "matched control", "30_matched_control")
    assert not found, "\n".join(found)

    # As `reproduce` writes them: executing the book leaves one of every page.
    single = [SITE.parent / "executed" / f"{name}.html" for name in ("02_section3_2_chains", "30_matched_control")]
    found = problems(*single)
    assert not found, "\n".join(found)
