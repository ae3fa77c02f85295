import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from synthlib.cql.jobs import finetuning_job
from synthlib.machine import devices
from synthlib.machine.download import DownloadError
from synthlib.machine.processors import usable_processors
from synthlib.machine.signals import ToldToEnd
from synthlib.offline.hdf5 import DataFileError
from synthlib.offline.identity import DataChangedError
from synthlib.report.sources import open_runs
from synthlib.runs.store import Store
from synthlib.study import engine
from synthlib.study.engine import (
    JobsFailed,
    RunOptions,
    raise_if_unfinished,
    run_jobs,
    shard_of,
)
from synthlib.study.plan import distinct_jobs, make_plan
from synthlib.study.work import Assignment, Work, stacks_of
from tests.attacks.toys import plan, run_job

SETTINGS = {
    "updates": 40,
    "evaluate_every": 5,
    "episodes": 1,
    "pretraining_scale": 0.001,
    "mdp_trajectories": 2,
}
RUN = """
import sys
from synthlib.cql.jobs import finetuning_job
from synthlib.study.engine import run_jobs
from synthlib.runs.store import Store
if __name__ == "__main__":
    settings = {settings}
    job = finetuning_job({{"pretraining": "none"}}, "hopper-medium", 3, settings, sys.argv[1])
    run_jobs([job], Store(sys.argv[2]), workers=1)
"""


def jobs(source, arms=({"mdp": {"states": 10}}, {"pretraining": "none"}), **settings):
    return distinct_jobs(finetuning_job(arm, "hopper-medium", 3, SETTINGS | settings, source) for arm in arms)


class Nobody:
    """A pipe whose reader does not listen."""

    def send(self, message):
        pass


def part_of(store, others=(), started=0.0):
    return Work(Assignment([], others, store, started), Nobody(), ToldToEnd())


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


@pytest.mark.slow
def test_two_workers_finish_all_jobs_and_a_second_run_trains_nothing(random_hopper_data, outputs):
    store = Store(outputs / "store")
    wanted = jobs(random_hopper_data)
    assert [job.kind for job in wanted] == ["critic_pretraining", "cql", "cql"]
    run_jobs(wanted, store, workers=2)
    assert all(store.is_done(job) for job in wanted)
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}
    run_jobs(wanted, store, workers=2)
    assert before == {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_run_killed_twice_equals_an_undisturbed_one(random_hopper_data, outputs, tmp_path):
    script = tmp_path / "run.py"
    longer = SETTINGS | {"updates": 200}  # not done within the second that a worker takes to miss its parent
    script.write_text(RUN.format(settings=longer))
    (job,) = jobs(random_hopper_data, arms=[{"pretraining": "none"}], **longer)
    killed = Store(outputs / "killed")
    for reached in (10, 25):
        command = [sys.executable, str(script), random_hopper_data, str(killed.root)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(lambda reached=reached: killed.updates_done(job) >= reached)
        process.send_signal(signal.SIGKILL)  # the parent only: its worker must notice and let go of the claim
        process.wait()
        wait_for(lambda: killed.status(job) != "running", seconds=15)
        assert not killed.is_done(job)
    run_jobs([job], killed, workers=1)
    undisturbed = Store(outputs / "undisturbed")
    run_jobs([job], undisturbed, workers=1)
    pd.testing.assert_frame_equal(killed.evaluations(job), undisturbed.evaluations(job))
    pd.testing.assert_frame_equal(killed.losses(job), undisturbed.losses(job))


@pytest.mark.slow
def test_a_failed_training_is_named_and_the_others_finish(random_hopper_data, outputs):
    store = Store(outputs / "store")
    good, bad = jobs(
        random_hopper_data, arms=[{"pretraining": "none"}, {"pretraining": "none", "cql": {"safe_q": "off"}}]
    )
    bad.config["dataset"]["checksum"] = "0" * 64
    with pytest.raises(JobsFailed) as failed:
        run_jobs([bad, good], store, workers=1)
    assert "1 of 2 trainings did not finish" in str(failed.value)
    assert "hopper-medium, seed 3" in str(failed.value) and "changed on disk" in str(failed.value)
    assert "FAILED.json" in str(failed.value)
    assert str(failed.value).splitlines()[-1].startswith("Run the same command again: finished work is kept")
    assert store.is_done(good) and store.status(bad) == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["cql", "dt"])
def test_stacked_seeds_are_the_separate_runs_and_each_keeps_its_own_record(algorithm, outputs):
    table = {"cql": "table6", "dt": "table1"}[algorithm]
    arms = {"cql": ("CQL", "S=10"), "dt": ("DT", "DT+Synthetic")}[algorithm]
    wanted = make_plan(table, "smoke", "replica", arms).jobs()
    alone, together = Store(outputs / "alone"), Store(outputs / "together")
    run_jobs(wanted, alone, workers=1)
    run_jobs(wanted, together, workers=1, options=RunOptions(stacked=True))
    assert sum(job.kind == algorithm for job in wanted) == 4
    for job in wanted:
        assert together.is_done(job)
        losses = together.losses(job), alone.losses(job)
        pd.testing.assert_frame_equal(*losses, rtol=2e-3, atol=1e-4, check_like=True)
        assert list(together.evaluations(job)["updates"]) == list(alone.evaluations(job)["updates"])
        if job.kind == algorithm:
            first = [store.evaluations(job)["score"].iloc[0] for store in (alone, together)]
            assert first[1] == pytest.approx(first[0], abs=0.5)


def test_a_gpu_has_one_process_that_stacks_unless_told_otherwise(monkeypatch):
    assert not RunOptions().is_stacked and open_runs().workers == usable_processors()
    for module in (engine, devices):
        monkeypatch.setattr(module, "chosen", lambda: torch.device("cuda"))
    assert RunOptions().is_stacked and not RunOptions(stacked=False).is_stacked
    assert open_runs().workers == 1 and open_runs(workers=3).workers == 3


def test_what_needs_a_training_that_came_to_nothing_is_not_waited_for(random_hopper_data, outputs):
    store = Store(outputs / "store")
    pretraining, _, _ = jobs(random_hopper_data)
    first, later = part_of(store), part_of(store)
    assert not first.is_lost(pretraining)  # still to be made
    first.tried.add(pretraining.key)
    assert first.is_lost(pretraining)  # we tried, and the disk had no room for the reason
    session = store.open(pretraining)
    assert not first.is_lost(pretraining)  # another process has it
    with pytest.raises(OSError), session.recording_failure():
        raise OSError("no space left")
    failed = store.failure(pretraining)["time"]
    assert later.is_lost(pretraining) and not part_of(store, started=failed + 1).is_lost(pretraining)
    assert later.train([pretraining]) and store.failure(pretraining)["time"] == failed, "it is not tried again"


@pytest.mark.parametrize(
    ("errors", "killed", "advice"),
    [
        ([OSError("no space left")], [], "Run the same command again"),
        ([DownloadError("503")], [], "Run the same command again"),
        ([np._core._exceptions._ArrayMemoryError((9,), np.dtype(float))], [], "Run the same command again"),
        ([RuntimeError("DefaultCPUAllocator: can't allocate memory")], [], "Run the same command again"),
        ([DataChangedError("it changed on disk")], [], "Run the same command again"),
        ([], [-9], "Run the same command again"),
        ([ValueError("a width")], [], "1 would fail again in the same way: mend data, settings or code first"),
        ([FloatingPointError("it has diverged")], [-9], "1 would fail again in the same way"),
        ([TypeError("a slip"), OSError("no space left")], [], "1 would fail again in the same way"),
        ([DataFileError("no end"), PermissionError("denied")], [], "2 would fail again in the same way"),
    ],
)
def test_the_same_command_is_advised_where_it_can_help(random_hopper_data, outputs, errors, killed, advice):
    store = Store(outputs / "store")
    wanted = jobs(random_hopper_data)
    for job, error in zip(wanted, errors, strict=False):
        with pytest.raises(type(error)), store.open(job).recording_failure():
            raise error
    with pytest.raises(JobsFailed) as failed:
        raise_if_unfinished(wanted, store, killed)
    last = str(failed.value).splitlines()[-1]
    assert last.startswith(advice)
    assert last.endswith("finished work is kept, and the rest goes on from its last checkpoint.")


def test_only_equally_far_runs_are_stacked(random_hopper_data, outputs):
    store = Store(outputs / "store")
    wanted = make_plan("table6", "smoke", random_hopper_data, ("CQL", "S=10")).jobs()
    runs = [job for job in wanted if job.kind == "cql"]
    assert [len(stack) for stack in stacks_of(runs, store)] == [4], "arms of one shape are alike"
    session = store.open(runs[0])
    session.save({}, updates=5)
    session.release()
    assert sorted(len(stack) for stack in stacks_of(runs, store)) == [1, 3]


@pytest.mark.slow
def test_shards_divide_the_fine_tunings(random_hopper_data, outputs):
    wanted = distinct_jobs(
        finetuning_job({"pretraining": "none"}, "hopper-medium", seed, SETTINGS | {"updates": 5}, random_hopper_data)
        for seed in range(4)
    )
    store = Store(outputs / "store")
    run_jobs(wanted, store, workers=1, options=RunOptions(shard=(0, 2)))
    assert [store.is_done(job) for job in wanted] == [True, False, True, False]
    run_jobs(wanted, store, workers=1, options=RunOptions(shard=(1, 2)))
    assert all(store.is_done(job) for job in wanted)


def test_a_command_whose_time_is_over_saves_and_says_what_is_done(random_hopper_data, outputs, capsys):
    settings = SETTINGS | {"updates": 100_000, "evaluate_every": 25_000}
    job = finetuning_job({"pretraining": "none"}, "hopper-medium", 42, settings, random_hopper_data)
    store = Store(outputs / "store")
    for seconds in (5, 20, 80, 160):  # on a busy machine a worker needs long to make its first ten updates
        run_jobs([job], store, workers=1, options=RunOptions(hours=seconds / 3600))
        if store.updates_done(job):
            break
    assert "The time is over: 0 of 1 trainings are done, the others are saved." in capsys.readouterr().out
    assert 0 < store.updates_done(job) < job.updates and store.failure(job) is None
    assert store.status(job) == "started"


@pytest.mark.parametrize("count", [2, 3, 4, 8, 16])
def test_no_shard_has_one_arm_alone_and_together_they_have_all(count):
    table = make_plan("table6", "quick", "replica")
    arm_of = {cell.job.key: cell.arm for cell in table.cells}
    shards = [shard_of(table.jobs(), index, count) for index in range(count)]
    runs = [[job.key for job in shard if job.key in arm_of] for shard in shards]
    assert sorted(key for keys in runs for key in keys) == sorted(arm_of)
    assert max(map(len, runs)) - min(map(len, runs)) <= 1
    assert all(len({arm_of[key] for key in keys}) > 1 for keys in runs)
    pretrainings = [[job for job in shard if job.key not in arm_of] for shard in shards]
    assert all(part == pretrainings[0] and len(part) == 5 for part in pretrainings)
    if count <= 4:  # of six seeds an arm, every shard has some
        assert all(len({arm_of[key] for key in keys}) == len(table.arms) for keys in runs)


def test_a_shard_whose_pre_training_runs_elsewhere_helps_the_others(tmp_path):
    store = Store(tmp_path / "store")
    pretraining, waits = plan([1])
    free, blocked = run_job(2), plan([3])[1]
    shard, left = part_of(store, [free, blocked]), [pretraining, waits]
    assert not shard.help(left)  # nothing is held: it trains itself
    session = store.open(pretraining)
    assert not shard.help(left)  # its own workers do
    session.release()
    path = store.folder(pretraining) / "claim.json"
    path.write_text(json.dumps({"host": "node7 1", "pid": 11, "token": "theirs"}))
    assert shard.help(left)
    assert store.is_done(free) and not store.is_done(blocked)
    assert not shard.help(left)
