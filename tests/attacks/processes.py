"""Attacks by and on processes: writers that are stopped and displaced, kills at random moments, racing commands."""

import fcntl
import os
import random
import signal
import time
from multiprocessing import get_context

from synthlib.machine import locks, owners
from synthlib.runs.store import Store
from synthlib.study.work import Assignment, work
from tests.attacks import toys
from tests.attacks.judge import Result, age_lock, finish, is_equal, judge, said, truth
from tests.attacks.toys import plan

_FORK = get_context("fork")  # everything is imported already
_LONGEST = 120  # seconds for what takes a few


def stopped_writers(folder, tries, random_seed=1):
    """A process of "another machine" is stopped at a random moment, displaced, and woken after its successor ended."""
    result, chance = Result("stopped writer"), random.Random(random_seed)
    for number in range(tries):
        root = folder / f"stopped{number}"
        store, job = Store(root / "store", root / "records"), plan([0], pause=0.0005)[0]
        with result.attempt(), said():
            writer = _FORK.Process(target=_train_elsewhere, args=(store, job))
            writer.start()
            while not store.folder(job).exists():
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.15))
            os.kill(writer.pid, signal.SIGSTOP)
            had_ended = store.is_done(job)
            try:
                age_lock(store.folder(job))
                if is_inside_a_write(store.folder(job)):  # nobody may displace it there: it goes on
                    assert had_ended or store.open(job) is None, "it was displaced in the middle of a renaming"
                else:
                    finish(store, job)
                    assert store.is_done(job)
                os.kill(writer.pid, signal.SIGCONT)
                writer.join(_LONGEST)
                assert not writer.is_alive(), "the displaced process never ended"
                assert writer.exitcode in (0, 7), f"it ended with {writer.exitcode}"  # 7: it has lost its lock
            finally:  # else a stopped process would keep this one from ending
                writer.kill()
                writer.join()
            judge(result, store, job, truth(folder, 0), has_ended=True)
            assert had_ended <= store.is_done(job)
    return result


def is_inside_a_write(folder):
    """Whether a process is between the check of its lock and the end of a renaming."""
    try:
        handle = os.open(folder / locks.TAKEOVER, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


def _train_elsewhere(store, job):
    owners._host = lambda: "elsewhere 1"
    try:
        with said():
            finish(store, job)
    except locks.ClaimLost:
        os._exit(7)


def kills(folder, tries, random_seed=2):
    """Workers of the engine are killed at random moments, two at a time; others go on, until everything is done."""
    result, chance = Result("kill -9"), random.Random(random_seed)
    seeds, number = range(4), 0
    while result.tries < tries:
        root = folder / f"killed{number}"
        number += 1
        store, jobs = Store(root / "store", root / "records"), plan(seeds, pause=0.002)
        ended = set()
        while result.tries < tries and not all(map(store.is_done, jobs)):
            with result.attempt():
                ended |= {job.key for job in jobs if store.is_done(job)}
                workers = _start(store, jobs, 2)
                time.sleep(chance.uniform(0.01, 0.6))
                for worker in workers:
                    if worker.is_alive():
                        os.kill(worker.pid, signal.SIGKILL)
                    worker.join()
                lost = [job for job in jobs if job.key in ended and not store.is_done(job)]
                result.lost += len(lost)
        with result.attempt(), said():
            result.tries -= 1  # this is no kill, but the look after all of them
            for job in jobs:
                judge(result, store, job, truth(folder, job.config["seed"]), has_ended=job.key in ended)
    return result


def races(folder, tries, commands=8, random_seed=3):
    """Eight workers that nobody has told of each other train the same jobs; no update may be made twice."""
    result = Result(f"{commands} racing commands")
    for number in range(tries):
        root = folder / f"raced{number}"
        store, jobs = Store(root / "store", root / "records"), plan(range(5))
        counter = folder / "counted"
        with result.attempt():
            toys.COUNTED["file"] = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC)
            workers = _start(store, jobs, commands)
            for worker in workers:
                worker.join(_LONGEST)
                if worker.is_alive():
                    worker.kill()
                    raise AssertionError("a worker waits for ever")
            os.close(toys.COUNTED.pop("file"))
            made, wanted = counter.stat().st_size, sum(job.updates for job in jobs)
            if made != wanted:
                result.wrong += 1
                result.notes.append(f"{made} updates were made, {wanted} are wanted")
            for job in jobs:
                if not store.is_done(job):
                    result.lost += 1
                elif not is_equal(store, truth(folder, job.config["seed"]), job):
                    result.wrong += 1
    return result


def _start(store, jobs, count):
    workers = []
    for _ in range(count):
        receiver, sender = _FORK.Pipe(duplex=False)
        worker = _FORK.Process(target=_quiet_work, args=(jobs, store, sender))
        worker.receiver = receiver  # a pipe without a reader would stop the worker
        worker.start()
        workers.append(worker)
    return workers


def _quiet_work(jobs, store, sender):
    with said():
        work(Assignment(jobs, (), store, time.time()), _Nobody())


class _Nobody:
    """A pipe whose reader does not listen."""

    def send(self, message):
        pass
