"""Opening a file: each cause of a failure is told, with what helps against it; what lies elsewhere is refused."""

import errno
import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from synthlib.offline.hdf5 import FINAL, DataFileError, open_hdf5, read_d4rl_file, read_metadata, sha256_of
from tests.common import toy_file

HOLD = """
import h5py, sys
file = h5py.File(sys.argv[1], "a")
print("open", flush=True)
sys.stdin.read()
"""
KILLED = """
import h5py, os, sys
file = h5py.File(sys.argv[1], "w", libver="latest")
file["rewards"] = [1.0]
file.flush()
os._exit(0)
"""


@pytest.fixture
def path(tmp_path):
    toy_file(tmp_path / "toy.hdf5", rows=5000)
    return tmp_path / "toy.hdf5"


def refusal(path):
    with pytest.raises(DataFileError) as refused:
        read_d4rl_file(path, "hopper")
    message = str(refused.value)
    assert message.startswith(str(path)) and "\n" not in message and "Delete" not in message
    return message


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda whole: whole[: len(whole) // 2], "its end is missing, as after an interrupted download"),
        (lambda whole: b"", "its end is missing"),
        (lambda whole: b"<html>404</html>", "it is a web page"),
        (lambda whole: b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "git lfs pull"),
        (lambda whole: b"PK\x03\x04" + whole[4:], "it holds something else"),
        (lambda whole: whole[: len(whole) // 2] + bytes(64) + whole[len(whole) // 2 + 64 :], "it is damaged"),
    ],
    ids=["cut", "empty", "web page", "pointer", "other", "chunk"],
)
def test_a_file_that_is_not_whole_is_told_by_its_cause(path, change, cause):
    path.write_bytes(change(path.read_bytes()))
    message = refusal(path)
    assert f"({path.stat().st_size:,} bytes) cannot be read as HDF5: " in message and cause in message


def test_a_locked_file_is_not_called_damaged(path):
    before = path.read_bytes()
    writer = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert writer.stdout.readline()
        assert "is locked, because another program has it open for writing; close that program" in refusal(path)
    finally:
        writer.communicate()
    assert path.read_bytes() == before and read_d4rl_file(path, "hopper")


def test_a_file_whose_writer_was_killed_is_told(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "toy.hdf5")], check=True)
    assert "is being written, or its writer was killed" in refusal(tmp_path / "toy.hdf5")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "may not be read by this user"),
        (OSError(errno.ENOLCK, "unable to lock file, errno = 37"), "set HDF5_USE_FILE_LOCKING=FALSE"),
        (OSError(errno.EIO, "file read failed"), "cannot be read now: Input/output error; when its disk or network"),
        (MemoryError("Unable to allocate 3.2 TiB"), "does not fit into the memory"),
        (OSError("Can't read data (required filter 'blosc' is not registered)"), "write it with gzip"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_faults_of_the_machine_are_told_as_such(path, monkeypatch, error, cause):
    """What this machine cannot show is raised by h5py's own function in h5py's place."""
    program = compile("def __init__(self, *arguments):\n    raise error", "h5py", "exec")
    of_h5py = {"__name__": "h5py._hl.files", "error": error}
    exec(program, of_h5py)
    monkeypatch.setattr(h5py.File, "__init__", of_h5py["__init__"])
    assert cause in refusal(path)


def test_an_error_of_our_own_is_not_renamed(path):
    with pytest.raises(TypeError, match="ours"), open_hdf5(path):
        raise TypeError("ours")


def test_what_is_no_file_is_told(tmp_path):
    (tmp_path / "toy.hdf5").mkdir()
    assert "is no file but a folder" in refusal(tmp_path / "toy.hdf5")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_metadata(tmp_path / "other.hdf5")


def test_a_file_that_may_not_be_read_is_told_by_its_checksum_too(path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataFileError, match=r"toy.hdf5 may not be read by this user; ask its owner"):
        sha256_of(path)


def elsewhere(file, name, other):
    """Replace an array of a file by something that fetches the same numbers from ``other``."""
    array = file[name][()]
    with h5py.File(other, "w") as source:
        source[name] = array
    del file[name]
    return array


def soft_link(file, name, other):
    file.move(name, "kept")
    file[name] = h5py.SoftLink("/kept")


def external_link(file, name, other):
    elsewhere(file, name, other)
    file[name] = h5py.ExternalLink(str(other), f"/{name}")


def link_to_a_device(file, name, other):
    del file[name]
    file[name] = h5py.ExternalLink("/dev/zero", f"/{name}")


def virtual_array(file, name, other):
    array = elsewhere(file, name, other)
    layout = h5py.VirtualLayout(array.shape, array.dtype)
    layout[...] = h5py.VirtualSource(str(other), name, array.shape)
    file.create_virtual_dataset(name, layout)


def external_storage(file, name, other):
    array = elsewhere(file, name, other)
    other.write_bytes(array.tobytes())
    file.create_dataset(name, array.shape, array.dtype, external=[(str(other), 0, array.nbytes)])


@pytest.mark.parametrize("name", ["rewards", "timeouts", "next_observations"])
@pytest.mark.parametrize("move", [soft_link, external_link, link_to_a_device, virtual_array, external_storage])
def test_an_array_that_lies_elsewhere_is_refused(path, tmp_path, name, move):
    with h5py.File(path, "a") as file:
        move(file, name, tmp_path / "other.hdf5")
    message = refusal(path)
    assert f"{name} is only a link" in message or f"{name} lies in other files" in message
    with pytest.raises(DataFileError, match="write a file that holds the array itself"):
        read_metadata(path)


def test_states_that_lie_elsewhere_are_refused_too(path, tmp_path):
    with h5py.File(path, "a") as file:
        file["infos"] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "/infos")
    assert "infos/final_next_observations is only a link" in refusal(path)


@pytest.mark.parametrize("chunks", [None, (100,)])
def test_an_array_that_was_never_written_is_refused(path, chunks):
    with h5py.File(path, "a") as file:
        del file["rewards"]
        rewards = file.create_dataset("rewards", (5000,), "f4", chunks=chunks)
        if chunks:
            rewards[:2500] = 1
    assert "rewards was not written to its end; make the file again" in refusal(path)


def test_a_group_and_an_empty_array_are_no_arrays(path):
    with h5py.File(path, "a") as file:
        del file["rewards"]
        file.create_group("rewards")
    assert "rewards is no array" in refusal(path)
    with h5py.File(path, "a") as file:
        del file["rewards"]
        file["rewards"] = h5py.Empty("f4")
    assert "rewards is empty" in refusal(path)


@pytest.mark.parametrize("rows", [2, 4])
def test_a_compact_file_whose_final_observations_do_not_fit_is_refused(path, rows):
    ends = np.array([False, True, False, False, True])
    toy_file(path, rows=5, terminals=ends, timeouts=None, next_observations=None, **{FINAL: np.ones((rows, 11))})
    if rows == 2:
        arrays, _ = read_d4rl_file(path, "hopper")
        assert (arrays["next_observations"][ends] == 1).all()
        np.testing.assert_array_equal(arrays["next_observations"][~ends], arrays["observations"][[1, 3, 4]])
    else:
        assert "holds 4 final next observations, but 2 rows end an episode" in refusal(path)


@pytest.mark.parametrize("place", ["attribute", "scalar"])
def test_a_block_of_zeros_among_the_texts_is_refused_and_not_read_for_ever(path, place):
    with h5py.File(path, "a") as file:
        if place == "attribute":
            file.attrs["body_masses"] = "d4rl"
        else:
            file["metadata/body_masses"] = "d4rl"
    assert read_metadata(path)["body_masses"] == "d4rl"
    whole = path.read_bytes()
    heap = whole.index(b"GCOL")
    path.write_bytes(whole[: heap + 64] + bytes(512) + whole[heap + 576 :])  # in the free space, which nobody reads
    assert read_metadata(path)["body_masses"] == "d4rl"
    path.write_bytes(whole[: heap + 32] + bytes(512) + whole[heap + 544 :])
    assert f"it holds an impossible heap at byte {heap:,}" in refusal(path)
    size = b"\xf0" + 7 * b"\xff"
    path.write_bytes(whole[: heap + 24] + size + whole[heap + 32 :])
    assert f"it holds an impossible heap at byte {heap:,}" in refusal(path)


def test_what_only_describes_the_data_never_decides(path, tmp_path):
    with h5py.File(path, "a") as file:
        file.attrs["names"] = np.array([b"Hopper-v2", b"Hopper-v3"])
        file.attrs["empty"] = h5py.Empty("S10")
        file.attrs["rate"] = np.nan
        file.attrs["reference"] = file["rewards"].ref
        file.attrs["texts"] = ["a", "b"]
        file.attrs["pair"] = np.array((1, 2.0), dtype=[("x", "i4"), ("y", "f8")])
        file.attrs["seed"] = np.int64(3)
        file.attrs["long"] = np.longdouble(2)
        file.attrs["note"] = np.bytes_(b"\xff\xfe")
        scalar = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5a.create(file.id, b"time", h5py.h5t.UNIX_D32LE, scalar)  # a type that NumPy does not have
        file["metadata/linked"] = h5py.ExternalLink("/dev/zero", "/x")
        file["metadata/score"] = np.float32(1.5)
        file["metadata/weights"] = np.ones((3, 3))
    metadata = read_metadata(path)
    assert json.loads(json.dumps(metadata, allow_nan=False)) == metadata
    assert metadata["names"] == ["Hopper-v2", "Hopper-v3"] and metadata["empty"] is None
    assert metadata["seed"] == 3 and metadata["rate"] == "nan" and metadata["pair"] == [1, 2.0]
    assert metadata["algorithm"] == "toy" and metadata["score"] == 1.5
    assert not {"time", "linked", "weights"} & set(metadata)
