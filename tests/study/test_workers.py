"""Workers that are killed, stopped or hang: the command goes on, and ends."""

import os
import re
import signal
import threading
import time

import pytest

from synthlib.runs.store import Store
from synthlib.study import engine, workers
from synthlib.study.engine import JobsFailed, run_jobs
from synthlib.study.workers import IDLE, Workers
from tests.attacks.toys import plan, run_job


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


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_itself(outputs):
    jobs = plan(range(3), pause=0.005)
    store = Store(outputs / "store")

    def kill_one():
        while not any(store.updates_done(job) for job in jobs):
            time.sleep(0.02)
        holder = next(filter(None, (store.holder(job) for job in jobs)))
        os.kill(holder.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    run_jobs(jobs, store, workers=2)
    thread.join()
    assert all(map(store.is_done, jobs))


def test_who_may_not_write_is_told_so_before_anything_is_started(tmp_path, monkeypatch):
    monkeypatch.setattr(engine.os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=r"may not be written by this user; train where you may"):
        run_jobs([run_job(1)], Store(tmp_path / "store"), workers=1)
