import errno

import pytest

from synthlib.machine.files import read_json, write_atomically, write_json, write_text


def test_a_write_that_breaks_off_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "record.txt"
    write_text(path, "old")

    def break_off(temporary):
        temporary.write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_atomically(path, break_off)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["record.txt"]


def test_a_full_disk_says_so_and_what_to_do(tmp_path):
    # /dev/full answers every write with "no space left": the real error, without filling a disk.
    def write(temporary):
        temporary.touch()
        with open("/dev/full", "w") as full:
            full.write("x" * 10_000)

    with pytest.raises(OSError, match=r"no space left for .*free some and start again") as caught:
        write_atomically(tmp_path / "checkpoint.pt", write)
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_broken_json_is_named(tmp_path):
    write_json(tmp_path / "good.json", {"updates": 3})
    assert read_json(tmp_path / "good.json") == {"updates": 3}
    (tmp_path / "bad.json").write_text('{"updates": ')
    with pytest.raises(ValueError, match=r"bad\.json is not valid JSON.*delete it"):
        read_json(tmp_path / "bad.json")
