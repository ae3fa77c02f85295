"""Trainings through submitit's engine without a queue: the path of `make run-table6 ENGINE=slurm`, on this machine."""

import itertools

import pytest

from synthlib.commands.cluster import request as asked_for
from synthlib.commands.parser import parser
from synthlib.errors import Failed
from synthlib.machine.files import write_json
from synthlib.paths import store_root
from synthlib.runs.store import Store
from synthlib.study import cluster, job_queue, submission
from synthlib.study.cluster import QueueOptions, Train
from synthlib.study.engine import JobsFailed
from synthlib.study.job_queue import QueueSilent, folder_of, note_submission, queued, submitted
from synthlib.study.status import status
from synthlib.study.submission import submit, watch
from tests.cluster.tiny import request, rows, rows_of_undisturbed, write_table


@pytest.fixture
def tiny(tmp_path, outputs, monkeypatch):
    write_table(tmp_path / "own", monkeypatch)
    outputs.mkdir()
    speeds = {"cql-(11, 3)-3": 0.03, "critic_pretraining-(11, 3)": 0.003, "step-hopper": 9e-5}
    write_json(outputs / "speed.json", speeds)


def test_a_table_is_trained_through_submitit_and_its_rows_are_those_of_a_local_run(tiny, outputs, capsys):
    wanted = request(("S=10",))
    assert "  missing      2  not begun\n  left" in status(wanted)
    assert submit(wanted, QueueOptions("local")) >= 1
    assert submit(wanted, QueueOptions("local")) == 0, "what is in the queue is not submitted again"
    assert "0 are done, 2 are in the queue already, 0 are submitted now" in capsys.readouterr().out
    watch(wanted, look=0.2, ask=1)
    store, jobs = Store(store_root()), wanted.jobs()
    assert [job.kind for job in jobs] == ["critic_pretraining", "cql"]
    assert rows(store, jobs) == rows_of_undisturbed(jobs, outputs / "alone")
    assert status(wanted).splitlines() == [f"{wanted.name}: 2 of 2 trainings are done", "  done         2"]
    (logs,) = {job.log.with_suffix(".out") for job in submitted() if job.keys[0] == jobs[0].key}
    assert "Starting with JobEnvironment(job_id=" in logs.read_text()


def test_a_job_that_ends_without_a_word_and_one_that_fails_are_listed_by_their_table(tiny, outputs):
    wanted = request(("CQL", "Diverging"))
    quiet, diverging = wanted.jobs()
    note_submission("local", wanted.name, {"99999999": [quiet.key]})  # no such process: it has ended
    (folder_of(wanted.name) / "99999999_0_log.err").write_text("slurmstepd: error: 1 oom-kill event\n\n")
    store = Store(store_root())
    with pytest.raises(FloatingPointError), store.open(diverging).recording_failure():
        raise FloatingPointError("the loss is nan")
    with pytest.raises(JobsFailed) as failed:
        watch(wanted, look=0.01, ask=0)
    for said in (str(failed.value), status(wanted)):
        assert (
            "seed 42, 40 updates: job 99999999 ended without finishing it: slurmstepd: error: 1 oom-kill event\n"
            in said
        )
        assert f"    log: {folder_of(wanted.name)}/99999999_0_log.err" in said
        assert "FloatingPointError: the loss is nan\n" in said and f"{store.folder(diverging)}/FAILED.json" in said
    assert "2 of 2 trainings did not finish" in str(failed.value)


def test_a_job_that_is_told_to_end_saves_and_comes_back_but_not_for_ever(tiny, outputs):
    pytest.importorskip("submitit")
    wanted = request(("CQL",))
    (job,) = wanted.jobs()
    store = Store(store_root())
    task, attempts = Train(wanted, (job.key,)), 0
    while (delayed := task.checkpoint()) is not None:
        task, attempts = delayed.function, attempts + 1
        if attempts == 2:  # it gets on: that is counted from the beginning
            session = store.open(job)
            session.save({}, updates=10)
            session.release()
    assert attempts == 2 + cluster.MOST_BARREN
    assert "NoProgress: its job was told to end 3 times in a row before an update more" in store.failure(job)["error"]
    assert "give jobs longer (HOURS=)" in status(wanted)


def test_arrays_are_no_larger_than_slurm_takes_and_runs_come_after_pretrainings(tiny, monkeypatch, capsys):
    pytest.importorskip("submitit")
    made, submissions = [], itertools.count(1)

    def note(queue, groups, after):
        number = next(submissions)
        numbers = [f"{number}00_{index}" for index in range(len(groups))]
        made.append((len(groups), list(after)))
        note_submission(
            "slurm", "tiny", dict(zip(numbers, [[job.key for job in group] for group in groups], strict=True))
        )
        return numbers

    monkeypatch.setattr(submission._Queue, "_submit", note)
    monkeypatch.setattr(submission, "_largest_array", lambda: 3)
    monkeypatch.setattr(job_queue, "_numbers_in_squeue", lambda: {"100_0": "None"})
    both = request(("CQL", "S=10"), seeds=4)
    assert submit(both, QueueOptions("slurm")) == 9
    assert made == [(1, []), (3, []), (1, []), (3, ["100_0"]), (1, ["100_0"])], "CQL needs no pre-training"
    assert list(queued()) == [job.key for job in both.jobs() if job.kind == "critic_pretraining"]
    made.clear()
    assert submit(both, QueueOptions("slurm", parallel=2, per_job=2)) == 4
    assert "1 are in the queue already, 8 are submitted now" in capsys.readouterr().out
    assert made == [(2, []), (2, ["100_0", "600_0", "600_1"])], "two at a time: one array after the other"


def test_a_job_that_slurm_does_not_start_by_itself_is_told_with_the_reason(tiny, monkeypatch):
    wanted = request(("CQL",), seeds=4)
    keys = [job.key for job in wanted.jobs()]
    note_submission("slurm", "tiny", {f"9_{number}": [key] for number, key in enumerate(keys)})
    reasons = {
        "9_0": "launch failed requeued held",
        "9_1": "Priority",
        "9_2": "QOSGrpCpuLimit",
        "9_3": "QOSGrpCpuLimit",
    }
    monkeypatch.setattr(job_queue, "_numbers_in_squeue", lambda: reasons)
    said = status(wanted)
    assert "  Slurm keeps job 9_0 waiting: launch failed requeued held; `scontrol release 9_0` lets it start\n" in said
    assert "  Slurm keeps job 9_2 and 1 more waiting: QOSGrpCpuLimit\n" in said and "Priority" not in said


def test_where_there_is_no_slurm_it_is_said_in_words(tiny, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Failed, match=r"Slurm does not answer here .* ENGINE=slurm is for a login node"):
        submit(request(("CQL",)), QueueOptions("slurm"))
    note_submission("slurm", "tiny", {"7": ["key"]})
    with pytest.raises(QueueSilent, match="no squeue on this machine"):
        queued()
    assert "what is queued is not known: there is no squeue" in status(request(("CQL",)))
    with pytest.raises(Failed, match="nothing was submitted"):
        submit(request(("CQL",)), QueueOptions("slurm"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "pbs"], "'pbs' is unknown; known: here, slurm, local"),
        (["--gpus", "one"], "must be a whole number, not 'one'"),
        (["--memory", "-3"], "must be gigabytes, not '-3'"),
    ],
)
def test_what_a_queue_cannot_be_asked_is_refused_in_words(options, said, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["run", "table6", *options])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shard", "0/2"], "a queue needs no shards"),
        (["--watch", "maybe"], "WATCH=maybe is unknown"),
        (["--hours", "0.01"], "HOURS=0.01 is less than two minutes"),
        (["--source", "authors"], "the authors' runs are finished"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_words(options, said, outputs, capsys):
    from synthlib.__main__ import main

    assert main(["run", "table6", "--preset", "smoke", "--engine", "local", *options]) == 1
    assert said in capsys.readouterr().err


def test_make_hands_empty_options_on():
    options = parser().parse_args(["run", "table6", "--engine", "", "--gpus", "", "--memory", "", "--per-job", ""])
    assert (options.engine, options.gpus, options.memory, options.per_job) == ("here", 0, 0.0, 0)
    assert asked_for(options).name == "table6-quick"
