"""The digest of one's own code covers what the code imports, and nothing that is installed."""

import sys
from importlib import import_module

import pytest

from synthlib.own_code import code_digest


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """A function that writes files and returns the digest of the module ``lab.main``, imported anew."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(**files):
        for name in [name for name in sys.modules if name.split(".")[0] in ("lab", "loose")]:
            del sys.modules[name]
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return code_digest(import_module("lab.main"))

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] in ("lab", "loose")]:
        del sys.modules[name]


FILES = {
    "lab__main": "import numpy, synthlib.paths\nfrom .parts import WIDTH\n\ndef mine():\n    import loose\n",
    "lab__parts": "from lab import deep\nWIDTH = 3\n",
    "lab__deep": "VALUE = 1\n",
    "loose": "OTHER = 2\n",
    "lab__unused": "X = 1\n",
}


def test_it_changes_with_every_own_file_that_is_imported(digest):
    first = digest(**FILES)
    assert first == digest(**FILES)
    for name in ("lab__main", "lab__parts", "lab__deep", "loose"):
        assert digest(**FILES | {name: FILES[name] + "# edited\n"}) != first, name
    assert digest(**FILES | {"lab__unused": "X = 2\n"}) == first


def test_it_does_not_depend_on_the_folder(digest, tmp_path, monkeypatch):
    first = digest(**FILES)
    other = tmp_path / "elsewhere"
    other.mkdir()
    (tmp_path / "lab").rename(other / "lab")
    (tmp_path / "loose.py").rename(other / "loose.py")
    monkeypatch.syspath_prepend(other)
    assert digest() == first
