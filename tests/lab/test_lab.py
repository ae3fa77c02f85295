"""`make lab` as a reader meets it: a real JupyterLab in a real browser, on a checkout of its own.

What needs a browser is skipped where there is no Chromium, or where the book's environment, which has what drives it,
cannot be installed.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator

import nbformat
import pytest

from tests.book.test_browser import PYTHON, browser_path, make
from tests.common import ROOT

PAGE = "98_glossary.ipynb"
pytestmark = pytest.mark.slow


@pytest.fixture
def checkout(tmp_path):
    """A clean clone of what git tracks here, with today's changes."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if names.returncode:
        pytest.skip("no git here, or no checkout")
    folder = tmp_path / "checkout"
    for name in filter(None, names.stdout.split("\0")):
        if (ROOT / name).exists() and not name.startswith("outputs/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "all")
    return folder


def git(folder, *words):
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def lab(checkout, tmp_path) -> Iterator[str]:
    """The address of a JupyterLab that `make lab` has started, of a user with an empty home."""
    options = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "SYNTHLIB_"))}
    options |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(checkout)}
    command = ["make", f"VENV={sys.prefix}", "-o", f"{sys.prefix}/installed", "lab", "LAB=--ip=0.0.0.0 --port=0"]
    running = subprocess.Popen(
        command, cwd=checkout, env=options, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        for line in running.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\S+", line):
                wait_until_it_listens(found[0])
                yield found[0]
                break
        else:
            pytest.fail("JupyterLab has not started")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        running.stderr.close()


def wait_until_it_listens(url, seconds=60):
    """JupyterLab prints its address a moment before it listens there."""
    place = urllib.parse.urlsplit(url)
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((place.hostname, place.port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def test_it_starts_for_every_user_and_for_a_browser_elsewhere(checkout, tmp_path):
    """As root too, who is the usual user of a container."""
    with lab(checkout, tmp_path) as url:
        with urllib.request.urlopen(url, timeout=60) as page:
            assert "<title>JupyterLab</title>" in page.read().decode()
        assert url.partition("?")[0].endswith("/lab/tree/lab/00_start_here.ipynb")
    assert git(checkout, "status", "--porcelain") == ""


@pytest.mark.skipif(browser_path() is None, reason="no Chromium here")
def test_a_reader_runs_and_saves_a_page_opens_params_and_git_stays_clean(checkout, tmp_path):
    if (installed := make("build/venv-book/installed")).returncode:
        pytest.skip(f"the book's environment cannot be installed here: {installed.stderr.strip()[-200:]}")
    with lab(checkout, tmp_path) as url:
        command = [PYTHON, ROOT / "tests" / "lab" / "drive.py", url, PAGE]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["first"].startswith("Start here")
    assert seen["toasts"] == [] and seen["dialogs"] == [], "no question about news"
    assert seen["elsewhere"] == [], "no request to another host"
    saved = nbformat.read(checkout / "lab" / PAGE, as_version=4)
    assert any(cell.get("outputs") for cell in saved.cells)
    assert git(checkout, "status", "--porcelain") == ""
