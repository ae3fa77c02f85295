import contextlib
import json
import os

import numpy as np
import pytest

from synthlib.machine.cached import SUMS, damage_in_folder, damage_in_npz, kept_arrays, mapped_arrays
from tests.common import needs_root, succeeds_for_another_user
from tests.runs.test_integrity import HOWS, spoil

ARRAYS = {"rewards": np.arange(500, dtype=np.float32), "ends": np.arange(500) % 7 == 0}


def make():
    return ARRAYS


def make_mapped():
    return ARRAYS, [{"name": "toy"}]


def equal(arrays):
    return arrays.keys() == ARRAYS.keys() and all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS)


def never():
    raise AssertionError("it is there")


def test_they_are_made_once(tmp_path):
    file, folder = tmp_path / "deep" / "a.npz", tmp_path / "deep" / "a"
    assert equal(kept_arrays(file, make)) and equal(kept_arrays(file, never))
    for arrays, metadata in (mapped_arrays(folder, make_mapped), mapped_arrays(folder, never)):
        assert equal(arrays) and metadata == [{"name": "toy"}]
    assert isinstance(mapped_arrays(folder, never)[0]["rewards"], np.memmap)
    assert damage_in_npz(file) == damage_in_folder(folder) == ""


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_file_is_named_set_aside_and_made_again(how, tmp_path, capsys):
    path = tmp_path / "a.npz"
    kept_arrays(path, make)
    spoil(path, how)
    assert damage_in_npz(path)
    assert equal(kept_arrays(path, make)) and equal(kept_arrays(path, never))
    assert f"{path} cannot be used" in capsys.readouterr().err and (tmp_path / "a.npz.damaged").exists()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", ["rewards.npy", "ends.npy", "metadata.json", SUMS])
def test_a_damaged_folder_is_named_set_aside_and_made_again(name, how, tmp_path, capsys):
    folder = tmp_path / "a"
    mapped_arrays(folder, make_mapped)
    spoil(folder / name, how)
    assert damage_in_folder(folder)
    arrays, metadata = mapped_arrays(folder, make_mapped)
    assert equal(arrays) and metadata == [{"name": "toy"}]
    assert f"{folder} cannot be used" in capsys.readouterr().err and (tmp_path / "a.damaged").is_dir()


def test_a_folder_from_before_checksums_is_made_again(tmp_path):
    folder = tmp_path / "a"
    mapped_arrays(folder, make_mapped)
    (folder / SUMS).unlink()
    assert equal(mapped_arrays(folder, make_mapped)[0])
    assert json.loads((folder / SUMS).read_text()).keys() == {"ends.npy", "metadata.json", "rewards.npy"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@needs_root
@pytest.mark.parametrize("state", ["whole", "before checksums", "missing", "damaged"])
def test_another_user_reads_what_is_there_and_makes_the_rest_in_memory(state, public_folder):
    file, folder = public_folder / "a.npz", public_folder / "a"
    if state != "missing":
        kept_arrays(file, make)
        mapped_arrays(folder, make_mapped)
    if state == "before checksums":
        (folder / SUMS).unlink()
    if state == "damaged":
        spoil(file, "cut")
        spoil(folder / "rewards.npy", "a bit")
    is_there = state in ("whole", "before checksums")

    def look():
        with contextlib.redirect_stderr(open(os.devnull, "w")):
            return equal(kept_arrays(file, never if is_there else make)) and equal(
                mapped_arrays(folder, never if is_there else make_mapped)[0]
            )

    assert succeeds_for_another_user(look)
