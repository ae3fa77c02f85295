"""A full disk, for real: a small file system of its own is filled up. Needs root, who may mount one."""

import os
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from synthlib.machine.cached import kept_arrays, mapped_arrays
from synthlib.machine.files import make_folder, write_atomically, write_text
from synthlib.machine.locks import try_claim
from synthlib.offline.hdf5 import write_d4rl_file
from synthlib.report.figures import save_figure
from synthlib.runs.store import Store
from tests.attacks.toys import run_job
from tests.common import train

SENTENCE = r"no space left for {}: [\d.,]+ of \d+\.\d MB are free on its disk; free some and start again, finished work"


LARGE = np.random.default_rng(0).normal(size=100_000)  # 800 kB, of no pattern


def save_tensor(path):
    write_atomically(path, lambda temporary: torch.save({"a": torch.tensor(LARGE)}, temporary))


def save_many_tensors(path):
    write_atomically(path, lambda temporary: torch.save([torch.ones(2_000) * i for i in range(200)], temporary))


def save_text(path):
    write_text(path, "x" * 1_000_000)


def save_npz(path):
    kept_arrays(path, lambda: {"a": LARGE})


def save_folder(path):
    mapped_arrays(path, lambda: ({"a": LARGE}, []))


def save_hdf5(path):
    write_d4rl_file(path, {"a": LARGE}, {})


def save_in_folder(path):
    make_folder(path, lambda temporary: (temporary / "a").write_bytes(LARGE.tobytes()))


def save_drawing(path):
    figure, axis = plt.subplots()
    axis.imshow(LARGE.reshape(200, 500), interpolation="none")
    save_figure(figure, "many dots", path)


WRITERS = [save_tensor, save_many_tensors, save_text, save_npz, save_folder, save_hdf5, save_in_folder, save_drawing]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_every_writer_says_what_is_full_and_leaves_nothing(write, small_disk):
    with pytest.raises(OSError, match=SENTENCE.format(re.escape(str(small_disk / "made")) + r"(?:\.png)?")):
        write(small_disk / "made")
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_a_lock_that_has_no_room_is_no_lock(small_disk):
    folder = small_disk / "training"
    folder.mkdir()
    with open(small_disk / "more", "wb", buffering=0) as more, pytest.raises(OSError):
        while True:
            more.write(bytes(4096))
    with pytest.raises(OSError, match=SENTENCE.format(re.escape(str(folder / "claim.json")))):
        try_claim(folder)
    assert list(folder.iterdir()) == []
    (small_disk / "more").unlink()
    try_claim(folder).release()


def test_a_training_on_a_full_disk_says_so_and_goes_on_when_there_is_space(small_disk, tmp_path_factory):
    store, job = Store(small_disk / "store", small_disk / "records"), run_job(1)
    ballast = small_disk / "ballast"
    os.truncate(ballast, 0)
    train(run_job(1, 20), store)
    free = os.statvfs(small_disk)
    ballast.write_bytes(bytes(free.f_bavail * free.f_bsize - 12_000))
    with pytest.raises(OSError, match=SENTENCE.format(re.escape(str(store.folder(job) / "checkpoint.pt")))):
        train(job, store)
    assert store.is_done(run_job(1, 20)) and not store.is_done(job)  # what was there is whole
    ballast.unlink()
    train(job, store)
    undisturbed = Store(tmp_path_factory.mktemp("undisturbed"))
    train(job, undisturbed)
    assert store.evaluations(job).equals(undisturbed.evaluations(job)) and store.failure(job) is None
