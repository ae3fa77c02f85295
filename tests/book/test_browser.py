"""The book and the single pages in a real browser, at the width of a desk, of a phone, and of paper.

Two pages and all texts belong to the suite. The whole book takes minutes to make, though it trains nothing, so only
`make test-book`, which makes it first, asks for it. Skipped where there is no Chromium, or where the book's environment
cannot be installed.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from synthlib.book import reference
from synthlib.book.contents import pages, parts, place
from synthlib.book.site import write_source
from synthlib.notebooks import run_notebook
from synthlib.paths import ROOT
from tests.book.browser import BROWSERS, browser_path

SITE = ROOT / "build" / "book" / "html"
PYTHON = ROOT / "build" / "venv-book" / "bin" / "python"
SETTINGS = ROOT / "synthlib" / "book" / "settings"
pytestmark = [
    pytest.mark.slow,
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


@pytest.fixture(scope="module")
def environment():
    """The book's environment, installed."""
    installed = make("build/venv-book/installed")
    if installed.returncode:
        pytest.skip(f"the book's environment cannot be installed here: {installed.stderr.strip()[-200:]}")


def texts():
    return [place(text).with_suffix(".html").as_posix() for part in parts() for text in part.texts]


def test_a_check_that_finds_nothing_is_able_to_find_something(environment, tmp_path):
    (tmp_path / "bad.html").write_text(BAD)
    found = "\n".join(problems(tmp_path / "bad.html"))
    for said in ("no alt text", "another host", "link to nothing", "axe: color-contrast", "nowhere is not defined"):
        assert said in found
    assert "bad.html at 390: 9" in found and "bad.html on paper: " in found


def test_some_pages_of_the_book_and_all_its_texts(environment, tmp_path):
    """All pages of the book, of which two are executed: so every link has its page, and nothing takes long."""
    executed, names = tmp_path / "executed", ("02_section3_2_chains", "98_glossary")
    for page in pages():
        if page.name in names:
            run_notebook(page.notebook, executed, dict(page.parameters))
        else:
            executed.mkdir(exist_ok=True)
            shutil.copy(page.notebook, executed)
    source = write_source(parts(), tmp_path, front=lambda folder: "# A book\n\n")
    command = [PYTHON, "-m", "sphinx", "--quiet", "-c", SETTINGS, "-d", tmp_path / "trees", source, tmp_path / "html"]
    made = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    shown = [tmp_path / "html" / name for name in (*(f"{name}.html" for name in (*names, reference.NAME)), *texts())]
    found = problems(*shown, "--search", "matched control", "30_matched_control")
    found += problems(*(executed / f"{name}.html" for name in names))
    assert not found, "\n".join(found)


@pytest.mark.skipif(not os.environ.get("SYNTHLIB_BROWSER"), reason="make test-book makes the book and runs it")
def test_the_book_and_single_pages_in_a_browser(environment):
    assert SITE.is_dir(), "make test-book makes the book first"
    names = [f"{name}.html" for name in ("index", reference.NAME, *(page.name for page in pages()))] + texts()
    made = {path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts}
    assert made == {*names, "search.html", "genindex.html"}
    shown = [SITE / name for name in names]
    found = problems(*shown, "--search", "matched control", "30_matched_control")
    # As `reproduce` writes them: executing the book leaves one of every page that is whole.
    found += problems(*sorted((SITE.parent / "executed").glob("*.html")))
    assert not found, "\n".join(found)
