import errno

import pytest

from synthlib.machine.files import make_folder, may_not_write, read_json, write_atomically, write_json, write_text
from tests.common import umask


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


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_what_is_made_has_the_modes_that_the_user_wants(tmp_path, mask):
    with umask(mask):
        make_folder(tmp_path / "deep" / "folder", lambda folder: write_json(folder / "file.json", {}))
    made = tmp_path / "deep" / "folder"
    assert [path.stat().st_mode & 0o777 for path in (made.parent, made)] == [0o777 & ~mask] * 2
    assert (made / "file.json").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_folder_is_complete_or_absent(tmp_path):
    def break_off(folder):
        write_json(folder / "half.json", {})
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        make_folder(tmp_path / "folder", break_off)
    assert not list(tmp_path.iterdir())


def test_a_quicker_process_keeps_its_folder(tmp_path):
    def be_slow(folder):
        write_json(folder / "slow.json", {})
        make_folder(tmp_path / "folder", lambda quick: write_json(quick / "quick.json", {}))

    make_folder(tmp_path / "folder", be_slow)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "quick.json"]


def test_an_error_of_the_disk_itself_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        make_folder(tmp_path / "folder", lambda folder: (folder / "no" / "file").touch())
    with pytest.raises(OSError) as caught:
        make_folder("/sys/synthlib/folder", write_json)
    assert may_not_write(caught.value) and not may_not_write(OSError(errno.ENOSPC, "full"))
