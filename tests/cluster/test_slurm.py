"""Trainings through a real Slurm of one node, which is started for these tests: `make test-slurm`."""

import os
import re
import subprocess
import sys
import time

import pytest

from synthlib.machine.files import write_json
from synthlib.paths import store_root
from synthlib.runs.store import Store
from synthlib.study.cluster import QueueOptions
from synthlib.study.engine import JobsFailed
from synthlib.study.job_queue import queued, submitted
from synthlib.study.status import status
from synthlib.study.submission import submit, watch
from tests.cluster import slurm
from tests.cluster.tiny import request, rows, rows_of_undisturbed, write_table

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    # Side by side with other tests, two processes of pytest would start two of them.
    pytest.mark.skipif(not os.environ.get("SYNTHLIB_SLURM"), reason="make test-slurm runs it"),
    pytest.mark.skipif(bool(slurm.why_not()), reason=slurm.why_not()),
]
pytest.importorskip("submitit")
PATIENCE = 600  # seconds, on a machine that is busy otherwise
SPEEDS = {"cql-(11, 3)-3": 0.03, "critic_pretraining-(11, 3)": 0.003, "step-hopper": 9e-5}


@pytest.fixture(scope="module")
def one_node(tmp_path_factory):
    with slurm.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def cluster(one_node, tmp_path, outputs, monkeypatch):
    """An empty store, a table of short trainings, and the Slurm."""
    monkeypatch.setenv("SLURM_CONF", one_node["SLURM_CONF"])
    write_table(tmp_path / "own", monkeypatch)
    outputs.mkdir()
    write_json(outputs / "speed.json", SPEEDS)


def told(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for {what}:\n{told('squeue')}"
        time.sleep(0.3)


def number_of(job):
    return next(submitted_job.number for submitted_job in submitted() if job.key in submitted_job.keys)


def test_more_trainings_than_an_array_takes_are_all_made(cluster, outputs):
    wanted = request(("CQL", "S=10"), seeds=3)
    jobs, store = wanted.jobs(), Store(store_root())
    refused = subprocess.run(["sbatch", "--array=0-2", "--wrap=true"], capture_output=True, text=True)
    assert "Invalid job array specification" in refused.stderr, "three runs of an arm are more than an array takes here"
    command = [
        sys.executable,
        "-m",
        "synthlib",
        "run",
        "tiny",
        "--preset",
        "smoke",
        "--arms",
        "CQL;S=10",
        "--seeds",
        "3",
    ]
    command += ["--engine", "slurm", "--partition", "all", "--hours", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 trainings; 0 are done, 0 are in the queue already, 7 are submitted now" in done.stdout
    assert "sacct" not in done.stdout + done.stderr
    numbers = [job.number for job in submitted()]
    arrays = {number.partition("_")[0] for number in numbers}
    assert len(numbers) == 7 and len(arrays) == 5, "one pre-training, and two and one of either arm"
    assert all(map(store.is_done, jobs))
    assert rows(store, jobs) == rows_of_undisturbed(jobs, outputs / "alone")
    assert submit(wanted, QueueOptions("slurm")) == 0
    assert not [line for line in status(wanted).splitlines() if "failed" in line]


def test_a_job_that_is_told_to_end_saves_goes_back_into_the_queue_and_goes_on(cluster, outputs):
    wanted = request(("Slow",))
    (slow, run), store = wanted.jobs(), Store(store_root())
    submit(wanted, QueueOptions("slurm", hours=0.5))
    assert "queued" in status(wanted)
    told("scontrol", "hold", number_of(run))
    assert f"Slurm keeps job {number_of(run)} waiting: JobHeldAdmin; `scontrol release" in status(wanted)
    told("scontrol", "release", number_of(run))
    wait_for(lambda: store.holder(slow), "the pre-training to begin")
    time.sleep(2)
    number = number_of(slow)
    told("scancel", "--signal=USR2", number)  # to every process of the step, as before a time limit
    wait_for(lambda: store.updates_done(slow), "the pre-training to be saved")
    assert 0 < store.updates_done(slow) < slow.updates and not store.failure(slow)
    wait_for(lambda: "Restarts=1" in told("scontrol", "show", "job", number), "the job to be back in the queue")
    watch(wanted, look=1, ask=5)
    assert rows(store, (slow, run)) == rows_of_undisturbed((slow, run), outputs / "alone")
    log = next(job.log.with_suffix(".out") for job in submitted() if slow.key in job.keys).read_text()
    assert "Calling checkpoint method" in log and f"Requeued job {number}" in log


def test_a_node_that_goes_down_in_the_middle_loses_no_finished_run(cluster, outputs):
    wanted = request(("CQL", "Slow"))
    jobs, store = wanted.jobs(), Store(store_root())
    run = next(job for job in jobs if not job.requires and job.kind == "cql")
    slow = next(job for job in jobs if job.kind != "cql")
    node = told("sinfo", "--noheader", "--format=%n").strip()
    submit(request(("CQL",)), QueueOptions("slurm", hours=0.5))
    wait_for(lambda: store.is_done(run), "the first run")
    submit(wanted, QueueOptions("slurm", hours=0.5))
    wait_for(lambda: store.holder(slow), "the pre-training to begin")
    told("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        wait_for(lambda: not slurm.steps_run(), "the processes of the node to end")
        assert store.is_done(run)
        assert slow.key in queued(), "it waits for the node to come back"
    finally:
        told("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def is_back():
        waiting = queued().get(slow.key)
        if waiting and "held" in waiting.reason:  # the node was quicker than its own notes: the page says what to do
            told("scontrol", "update", f"NodeName={node}", "State=RESUME")
            told("scontrol", "release", number_of(slow))
        return re.search(
            "JobState=(?:RUNNING|COMPL).* Restarts=[1-9]", told("scontrol", "show", "job", number_of(slow)), re.S
        )

    wait_for(is_back, "the job to run again")
    watch(wanted, look=1, ask=5)
    assert all(map(store.is_done, jobs))
    assert rows(store, jobs) == rows_of_undisturbed(jobs, outputs / "alone")


def test_a_failing_and_a_killed_job_are_listed_by_their_table(cluster, outputs):
    wanted = request(("Diverging", "Slow"))
    jobs, store = wanted.jobs(), Store(store_root())
    slow = next(job for job in jobs if job.kind == "critic_pretraining")
    diverging = next(job for job in jobs if job.kind == "cql" and not job.requires)
    submit(wanted, QueueOptions("slurm", hours=0.5))
    wait_for(lambda: store.holder(slow), "the pre-training to begin")
    numbers = {number_of(job) for job in jobs if job is not diverging}
    for number in sorted(numbers):
        told("scancel", number)  # the run waits for the pre-training: else it would make it itself
    with pytest.raises(JobsFailed) as failed:
        watch(wanted, look=1, ask=3)
    for said in (str(failed.value), status(wanted)):
        assert re.search(r"seed 42, 40 updates: FloatingPointError: .*\n +traceback: .*FAILED.json", said), said
        assert re.search(rf"job {number_of(slow)} ended without finishing it: .*\n +log: \S+_log.err", said), said
    assert 0 < store.updates_done(slow) < slow.updates, "scancel sends SIGTERM first: it is saved"
    assert os.path.exists(store.folder(diverging) / "FAILED.json")
