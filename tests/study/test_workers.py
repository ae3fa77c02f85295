"""Workers that are killed, stopped or hang: the command goes on, and ends."""

import os
import re
import signal
import threading
import time
from dataclasses import replace

import pytest

from synthlib.runs.store import Store
from synthlib.study import engine, workers
from synthlib.study.engine import JobsFailed, run_jobs
from synthlib.study.workers import IDLE, Workers
from tests.attacks.toys import plan, pretraining_job, run_job
from tests.common import train


def send_and_die(message, connection):
    connection.send(message)
    os.kill(os.getpid(), signal.SIGKILL)


def send_half_and_die(connection):
    connection.send(("whole", 0.5))
    os.write(connection.fileno(), b"\x00\x00\x01")  # the begin of a message's length
    os.kill(os.getpid(), signal.SIGKILL)


def send_nothing(connection):
    connection.send(IDLE)
    time.sleep(600)


def heard(team):
    messages, deadline = [], time.monotonic() + 60
    while team.go_on():
        messages += team.messages(0.1)
        assert time.monotonic() < deadline, "it waits for ever"
    return messages


def test_what_a_killed_worker_has_sent_is_read_and_the_others_go_on():
    with Workers(send_and_die, [("done", 1.0)], 2) as team:
        assert heard(team) == [("done", 1.0)] * 2
    assert team.exit_codes == [-signal.SIGKILL] * 2


def test_a_worker_that_is_killed_in_the_middle_of_a_message_keeps_nobody_waiting():
    with Workers(send_half_and_die, [], 2) as team:
        assert heard(team) == [("whole", 0.5)] * 2


def test_a_worker_that_does_not_advance_is_told_and_ended(monkeypatch):
    with Workers(send_nothing, [], 1) as team:
        deadline = time.monotonic() + 30
        said = []
        began = team._all[0].heard
        while team._all[0].heard == began and time.monotonic() < deadline:  # until it has started
            list(team.messages(0.1))
        monkeypatch.setattr(workers, "HANGING_SECONDS", 3)
        while team.go_on():
            assert list(team.messages(0.1)) == []
            said.append(team.look(str))
            assert time.monotonic() < deadline, "it waits for ever"
        (pid,) = team.pids
        told = [line for line in said if line]
        assert re.fullmatch(rf"worker process {pid} has not advanced for 0:00:0\d; it is ended after 0:00:03", told[0])
        assert re.fullmatch(rf"worker process {pid} has not advanced for .* and was ended; its training .*", told[1])
        assert len(told) == 2 and len(team.hanging) == 1 and team.exit_codes == []


@pytest.mark.slow
def test_a_worker_that_beats_and_hangs_is_ended_and_its_training_can_go_on(outputs, monkeypatch):
    monkeypatch.setattr(workers, "HANGING_SECONDS", 15)
    store, (job,) = Store(outputs / "store"), [run_job(1, 400, pause=0.01)]

    def stop_it():
        while store.updates_done(job) < 20:
            time.sleep(0.05)
        os.kill(store.holder(job).pid, signal.SIGSTOP)

    thread = threading.Thread(target=stop_it)
    thread.start()
    with pytest.raises(JobsFailed, match=r"1 worker\(s\) did not advance .*\nRun the same command again"):
        run_jobs([job], store, workers=1)
    thread.join()
    monkeypatch.undo()
    assert store.status(job) == "started" and store.updates_done(job) >= 20
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(outputs))
    run_jobs([job], store, workers=1)
    assert store.is_done(job)


def when(condition, act):
    """A thread that calls ``act()`` as soon as ``condition()`` holds."""

    def wait():
        while not condition():
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def holders(store, jobs):
    return [holder.pid for job in jobs if (holder := store.holder(job))]


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_itself(outputs, capfd):
    jobs = plan(range(3), pause=0.005)
    store, alone = Store(outputs / "store"), Store(outputs / "alone")
    for number in range(2):  # the second one is a worker that has taken another's place, or the other one

        def has_advanced(number=number):
            return any(store.updates_done(job) for job in jobs[number:]) and holders(store, jobs)

        when(has_advanced, lambda: os.kill(holders(store, jobs)[0], signal.SIGKILL))
    run_jobs(jobs, store, workers=2)
    assert all(map(store.is_done, jobs))
    said = capfd.readouterr().err
    assert "was killed (signal 9)" in said and "goes on from its last checkpoint" in said
    assert rows(store, jobs) == rows(alone, jobs)


def rows(store, jobs):
    """The CSV files of all jobs, byte for byte; what is not there is trained in this process, undisturbed."""
    for one in jobs:
        if not store.is_done(one):
            train(replace(one, context={"pause": 0.0}), store)
    return [path.read_bytes() for job in jobs for path in sorted(store.finished(job).glob("*.csv"))]


@pytest.mark.slow
def test_a_training_that_always_kills_its_worker_ends_as_failed_and_the_others_finish(outputs, capfd):
    deadly, needs_no_death = run_job(1, deadly=23), run_job(2)
    store = Store(outputs / "store")
    with pytest.raises(JobsFailed) as failed:
        run_jobs([deadly, needs_no_death], store, workers=1)
    assert store.is_done(needs_no_death) and store.updates_done(deadly) == 20
    assert "1 of 2 trainings did not finish" in str(failed.value)
    sentence = (
        "its worker was killed 3 times in a row (signal 9), each time after 20 saved updates; if memory was short"
    )
    assert sentence in str(failed.value) and sentence in store.failure(deadly)["error"]
    assert capfd.readouterr().err.count("was killed (signal 9)") == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_command_that_is_told_to_end_saves_and_the_next_one_goes_on_bit_for_bit(number, outputs):
    jobs = [pretraining_job(1, 600, pause=0.01), run_job(2, 600, pause=0.01)]
    store, alone = Store(outputs / "store"), Store(outputs / "alone")
    when(lambda: len(holders(store, jobs)) == 2, lambda: os.kill(os.getpid(), number))
    with pytest.raises(JobsFailed, match=rf"told to end \({number.name}\): 0 of 2 trainings are done, the others are"):
        run_jobs(jobs, store, workers=2)
    assert signal.getsignal(number) is signal.SIG_DFL
    assert all(0 < store.updates_done(job) < 300 for job in jobs), "the pre-training saves by itself after 300 updates"
    assert not holders(store, jobs) and not any(map(store.failure, jobs))
    run_jobs(jobs, store, workers=2)
    assert rows(store, jobs) == rows(alone, jobs)


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_saves_and_is_not_replaced(outputs):
    job = pretraining_job(1, 600, pause=0.01)
    store = Store(outputs / "store")
    when(lambda: holders(store, [job]), lambda: os.kill(holders(store, [job])[0], signal.SIGUSR2))
    with pytest.raises(JobsFailed, match=r"1 of 1 trainings did not finish:\nRun the same command again"):
        run_jobs([job], store, workers=1)
    assert 0 < store.updates_done(job) < 300


def test_who_may_not_write_is_told_so_before_anything_is_started(tmp_path, monkeypatch):
    monkeypatch.setattr(engine.os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=r"may not be written by this user; train where you may"):
        run_jobs([run_job(1)], Store(tmp_path / "store"), workers=1)
