"""Attacks by disks: flipped bits in every kind of file, and full disks."""

import os
import random
import re
import shutil
import subprocess

import numpy as np

from synthlib.machine.cached import kept_arrays, mapped_arrays
from synthlib.runs.store import Store
from tests.attacks.judge import Result, finish, is_equal, judge, said, truth
from tests.attacks.toys import plan, run_job

KINDS = (
    "weights_20.pt",
    "checkpoint.pt",
    "evaluations.csv",
    "losses.csv",
    "progress.json",
    "cached .npy",
    "cached .npz",
)
ARRAYS = {"rewards": np.random.default_rng(0).normal(size=2_000), "ends": np.arange(2_000) % 7 == 0}


def bit_flips(folder, tries, kind, random_seed=4):
    """One random bit of a random file of a kind is flipped; it is noticed, or it changes nothing."""
    result, chance = Result(f"bit flip, {kind}"), random.Random(f"{random_seed} {kind}")
    whole = truth(folder, 0)
    cached = folder / "cached"
    for _ in range(tries):
        if kind.startswith("cached"):
            shutil.rmtree(cached, ignore_errors=True)
            with result.attempt(), said():
                _flip_in_cache(cached, kind, chance, result)
            continue
        root = folder / "flipped"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(whole.root, root / "store")
        store, jobs = Store(root / "store", root / "records"), plan([0])
        job = jobs[1] if (store.folder(jobs[1]) / kind).exists() and kind != "losses.csv" else jobs[0]
        with result.attempt(), said() as text:
            path = store.folder(job) / kind
            _flip(path, chance)
            longer = run_job(0, 80, pretraining=jobs[0])
            if kind == "checkpoint.pt" and job is jobs[1]:  # it is read when more updates are wanted
                finish(store, longer)
                if not is_equal(store, truth(folder, 0, 80), longer):
                    result.wrong += 1
            done = store.is_done(job)
            judge(result, store, job, whole, has_ended=False)
            if not done and str(path) not in text.getvalue():
                result.unclear += 1
                result.notes.append(f"nothing was said of {path}")
    return result


def _flip(path, chance):
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _flip_in_cache(cached, kind, chance, result):
    def look():
        if kind == "cached .npz":
            return kept_arrays(cached / "a.npz", lambda: ARRAYS)
        return mapped_arrays(cached / "a", lambda: (ARRAYS, []))[0]

    look()
    files = [cached / "a.npz"] if kind == "cached .npz" else sorted((cached / "a").glob("*.npy"))
    _flip(chance.choice(files), chance)
    read = look()
    if read.keys() != ARRAYS.keys() or not all(np.array_equal(read[name], ARRAYS[name]) for name in ARRAYS):
        result.wrong += 1


def full_disks(folder, tries, random_seed=5):
    """Trainings on a small disk of which a random part is free; the error names file and space; later they go on."""
    result, chance = Result("full disk, tmpfs"), random.Random(random_seed)
    disk = folder / "small"
    disk.mkdir()
    for number in range(tries):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
        try:
            with result.attempt(), said():
                _fill_up(disk, folder, chance.randrange(4, 240) * 1024, number, result)
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return result


def _fill_up(disk, folder, free, number, result):
    seed = number % 5
    store, ended = Store(disk / "store", disk / "records"), set()
    (disk / "ballast").write_bytes(bytes((1 << 20) - free))
    for job in plan([seed]):
        try:
            finish(store, job)
            ended.add(job.key)
        except OSError as error:
            if not re.search(r"no space left for \S+: [\d.,]+ of [\d.]+ MB are free", str(error)):
                result.unclear += 1
                result.notes.append(repr(error))
            break
    (disk / "ballast").unlink()
    for job in plan([seed]):
        judge(result, store, job, truth(folder, seed), has_ended=job.key in ended)


def may_mount():
    """Whether this user may mount a small disk."""
    return os.geteuid() == 0
