"""What a store says after an attack, held against undisturbed trainings."""

import contextlib
import io
import os
import traceback
from dataclasses import dataclass, field
from functools import cache

import torch

from synthlib.machine import locks
from synthlib.runs import loop
from synthlib.runs.progress import weights_name
from synthlib.runs.store import Store
from synthlib.study.algorithms import training
from tests.attacks.toys import plan


@dataclass
class Result:
    """What an attack did to the store. All but the first should be 0."""

    name: str
    tries: int = 0
    lost: int = 0
    """What had ended is not done any more, or cannot be made again."""
    wrong: int = 0
    """Other numbers than those of an undisturbed training, without a word."""
    unclear: int = 0
    """An error that does not say which file, or a process that never ends."""
    notes: list[str] = field(default_factory=list)

    def line(self) -> str:
        return f"| {self.name} | {self.tries} | {self.lost} | {self.wrong} | {self.unclear} |"

    @property
    def is_clean(self) -> bool:
        return self.tries > 0 and (self.lost, self.wrong, self.unclear) == (0, 0, 0)

    @contextlib.contextmanager
    def attempt(self):
        """One try: an error that comes out of it is unclear."""
        self.tries += 1
        try:
            yield
        except Exception:
            self.unclear += 1
            self.notes.append(traceback.format_exc())


@contextlib.contextmanager
def said():
    """Everything that is printed inside goes into the text that this gives."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        yield text


@cache
def truth(folder, seed, updates=60):
    """A store with the undisturbed trainings of ``plan([seed])``."""
    root = folder / f"truth{updates}"
    store = Store(root / "store", root / "records")
    for job in plan([seed], updates=updates):
        finish(store, job)
    return store


def finish(store, job):
    """Train a job in this process, unless it is done."""
    if store.is_done(job):
        return
    session = store.open(job)
    assert session is not None, f"{store.folder(job)} is locked"
    with session.recording_failure():
        loop.train(training(job), [session], store, lambda updates: None)


def is_equal(store, other, job):
    """Whether two stores that have a job say the same of it, and give the same weights."""
    for rows in (Store.evaluations, Store.losses):
        if not rows(store, job).equals(rows(other, job)):
            return False
    names = [weights_name(kept) for kept in job.keep]
    pairs = [[torch.load(one.folder(job) / name, weights_only=True) for one in (store, other)] for name in names]
    return all(torch.equal(one["values"], two["values"]) for one, two in pairs)


def judge(result, store, job, other, has_ended):
    """Hold a job against the undisturbed one, now and after it has been finished. ``has_ended``: it was done before."""
    done = store.is_done(job)
    if done and not is_equal(store, other, job):
        result.wrong += 1
        result.notes.append(f"{store.folder(job)} is done and wrong")
    if has_ended and not done:
        result.lost += 1
        result.notes.append(f"{store.folder(job)} had ended, and is {store.status(job)}")
    for required in job.requires:
        finish(store, required)
    finish(store, job)
    if not is_equal(store, other, job):
        result.wrong += 1
        result.notes.append(f"{store.folder(job)} is wrong after it was finished")


def age_lock(folder):
    """Let the heartbeats of a lock have stopped long ago, and this process have watched that."""
    path = folder / locks.NAME
    if path.exists():
        os.utime(path, (1, 1))
        stat, claim = path.stat(), locks._read(path)
        locks._watched[path] = (stat.st_mtime_ns, stat.st_ino, claim and claim["token"]), -1e6
