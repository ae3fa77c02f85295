"""A command that can train nothing says whom it waits for, and how long already."""

import json
import os
import threading
import time

import pytest

from synthlib.machine.locks import STALE_SECONDS, try_claim
from synthlib.runs.store import Store
from synthlib.study import waiting
from synthlib.study.engine import run_jobs
from synthlib.study.plan import make_plan
from synthlib.study.waiting import Waiting
from tests.study.test_summary import record_as_done


@pytest.fixture
def clock(monkeypatch):
    """The time that Waiting measures; a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    return now


def hold(store, job, host="node7 1", pid=11):
    """Lock a job as another machine would; returns the lock file."""
    session = store.open(job)
    session.release()
    path = store.folder(job) / "claim.json"
    path.write_text(json.dumps({"host": host, "pid": pid, "token": "theirs"}))
    return path


@pytest.fixture
def three(outputs):
    """(store, three jobs): a pre-training, a run that starts from it, and a run that starts from nothing."""
    jobs = make_plan("table6", "smoke", "replica", ("CQL", "S=10")).jobs()
    chosen = [next(job for job in jobs if job.kind == "critic_pretraining")]
    chosen += [
        next(job for job in jobs if job.requires),
        next(job for job in jobs if job.kind == "cql" and not job.requires),
    ]
    return Store(outputs / "store"), chosen


def test_it_says_who_holds_what_how_long_and_when_that_ends(three, clock):
    store, jobs = three
    paths = [hold(store, jobs[0]), hold(store, jobs[2], pid=12)]
    watch = Waiting(jobs, store, own=[os.getpid()])
    assert watch.look() == "" and watch.short == ""  # nobody is suspected yet
    clock[0] += 11
    line = watch.look()
    assert line.startswith("waiting for critic pre-training (mdp, 10 states, 200 updates) and 1 more: ")
    assert "more: process 11 on node7 trains the first, last sign of life 0 s ago, waited 0:00:11 so far" in line
    assert "It is taken over 120 s after" in line
    assert line.endswith(f"lock: {paths[0]}")
    assert watch.short == ", waiting 0:00:11 for process 11 on node7"
    said = []
    for _ in range(600):  # an hour in looks of six seconds
        clock[0] += 6
        said.append(watch.look())
    assert watch.short == ", waiting 1:00:11 for process 11 on node7" and 5 <= len(list(filter(None, said))) <= 7
    watch.progress()
    assert watch.short == "" and watch.look() == ""


def test_a_process_of_this_machine_is_waited_for_as_long_as_it_lives_and_that_is_said(three, clock):
    store, jobs = three
    claims = []
    for job in jobs:
        store.open(job).release()
        claims.append(try_claim(store.folder(job)))
    watch = Waiting(jobs, store, own=[])
    clock[0] += 11
    line = watch.look()
    assert f"process {os.getpid()} on this machine trains the first" in line
    assert "waited for as long as that process lives, stopped or not: let it go on, or end it; lock:" in line
    for claim in claims:
        claim.release()


@pytest.mark.parametrize("case", ["one is free", "one is ours", "all are done"])
def test_it_says_nothing_while_there_is_something_to_train(case, three, clock):
    store, jobs = three
    hold(store, jobs[0])
    own = None
    if case == "one is ours":
        store.open(jobs[2]).release()
        own = try_claim(store.folder(jobs[2]))
    elif case == "all are done":
        (store.folder(jobs[0]) / "claim.json").unlink()
        record_as_done(jobs)
    watch = Waiting(jobs, store, own=[os.getpid()])
    clock[0] += 11
    assert watch.look() == "" and watch.short == ""
    if own:
        own.release()


def test_a_training_that_failed_now_is_nothing_to_train(three, clock):
    store, jobs = three
    hold(store, jobs[0])
    watch = Waiting(jobs, store, own=[])
    with pytest.raises(ValueError), store.open(jobs[2]).recording_failure():
        raise ValueError("no")
    clock[0] += 11
    assert watch.look().startswith("waiting for critic pre-training")


@pytest.mark.slow
def test_a_dead_lock_of_another_machine_is_taken_over_and_the_wait_is_told(
    random_hopper_data, outputs, monkeypatch, capfd
):
    """Its end cannot be seen from here: it has to be watched for some heartbeats."""
    monkeypatch.setattr(waiting, "QUIET_SECONDS", 1)
    (job,) = make_plan("cql_start", "smoke", random_hopper_data, ("CQL",)).jobs()[:1]
    store = Store(outputs / "store")
    path = hold(store, job)

    def two_minutes_pass():
        time.sleep(10)
        long_ago = path.stat().st_mtime - STALE_SECONDS - 1
        os.utime(path, (long_ago, long_ago))

    thread = threading.Thread(target=two_minutes_pass)
    thread.start()
    run_jobs([job], store, workers=1)
    thread.join()
    assert store.is_done(job)
    told = capfd.readouterr().err
    assert "waiting for cql on hopper-medium-expert, seed 42" in told and "process 11 on node7 trains it" in told
