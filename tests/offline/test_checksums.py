import json
import os

import pytest

from synthlib.offline import checksums
from synthlib.offline.checksums import MEMORY, file_checksum
from synthlib.offline.hdf5 import sha256_of


@pytest.fixture
def measured(monkeypatch):
    """The files that were read, one entry per reading."""
    paths = []
    monkeypatch.setattr(checksums, "sha256_of", lambda path: paths.append(path) or sha256_of(path))
    return paths


@pytest.fixture
def file(tmp_path):
    (tmp_path / "data.hdf5").write_bytes(b"content")
    return tmp_path / "data.hdf5"


def test_without_a_cache_the_file_is_read_every_time(file, measured):
    assert file_checksum(file) == file_checksum(file) == sha256_of(file)
    assert measured == [file, file]


def test_with_a_cache_it_is_read_once(file, measured, tmp_path, monkeypatch):
    assert file_checksum(file, tmp_path / "cache") == sha256_of(file)
    monkeypatch.chdir(tmp_path)
    relative = file.relative_to(tmp_path)
    assert file_checksum(file, tmp_path / "cache") == file_checksum(relative, tmp_path / "cache") == sha256_of(file)
    assert len(measured) == 1


def rewrite_in_place(file):
    kept = file.stat()
    file.write_bytes(b"another")  # of the same size
    os.utime(file, ns=(kept.st_atime_ns, kept.st_mtime_ns + 1))


def replace_by_another(file):
    kept = file.stat()
    other = file.with_name("other")
    other.write_bytes(b"another")
    os.utime(other, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    os.replace(other, file)


def lengthen(file):
    kept = file.stat()
    file.write_bytes(b"longer content")
    os.utime(file, ns=(kept.st_atime_ns, kept.st_mtime_ns))


@pytest.mark.parametrize("change", [rewrite_in_place, replace_by_another, lengthen])
def test_a_file_with_another_time_inode_or_size_is_measured_again(file, measured, tmp_path, change):
    before = file_checksum(file, tmp_path)
    change(file)
    assert file_checksum(file, tmp_path) == sha256_of(file) != before
    assert file_checksum(file, tmp_path) == sha256_of(file)
    assert len(measured) == 2


def test_several_files_are_remembered(file, measured, tmp_path):
    other = tmp_path / "other.hdf5"
    other.write_bytes(b"other")
    for _ in range(2):
        assert [file_checksum(path, tmp_path) for path in (file, other)] == [sha256_of(file), sha256_of(other)]
    assert measured == [file, other]


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"PATH": 1}', '{"PATH": {"sha256": 1}}', "\udcff"])
def test_a_damaged_memory_costs_a_measurement_only(file, measured, tmp_path, content):
    memory = tmp_path / MEMORY
    memory.write_bytes(content.replace("PATH", str(file)).encode(errors="surrogateescape"))
    assert file_checksum(file, tmp_path) == file_checksum(file, tmp_path) == sha256_of(file)
    assert len(measured) == 1
    assert json.loads(memory.read_text())[str(file)]["sha256"] == sha256_of(file)


def test_a_damaged_digest_is_not_believed(file, measured, tmp_path):
    file_checksum(file, tmp_path)
    memory = tmp_path / MEMORY
    memory.write_text(memory.read_text().replace(sha256_of(file), "abc"))
    assert file_checksum(file, tmp_path) == sha256_of(file)


def test_a_memory_that_cannot_be_written_costs_a_measurement_only(file, measured, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert file_checksum(file, tmp_path / "cache") == file_checksum(file, tmp_path / "cache") == sha256_of(file)
    assert len(measured) == 2
