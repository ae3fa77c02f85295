"""The bar of trainings: it begins with the plan's estimate, and ends with what the trainings show."""

import sys
import time

import pytest
from jupyter_client.manager import KernelManager

from synthlib.study.bar import ProgressBar, seconds_left
from tests.common import ROOT

MINUTE = 60.0


def test_the_first_estimate_is_that_of_the_plan():
    assert seconds_left(planned=16 * MINUTE, workers=2, done=0, elapsed=0) == 8 * MINUTE


def test_processes_that_are_starting_do_not_make_hours_of_minutes():
    """Twenty seconds for imports and compilation, on a plan of eight minutes; tqdm's own estimate was two hours."""
    left = seconds_left(planned=16 * MINUTE, workers=2, done=1.0, elapsed=20)
    assert 8 * MINUTE < left < 11 * MINUTE


@pytest.mark.parametrize("slower", [0.5, 1, 4])
def test_the_estimate_becomes_the_measured_one(slower):
    """Half of the work is done, in ``slower`` times the time that the plan expected: the other half takes as long."""
    planned, workers = 600 * MINUTE, 2
    half = slower * planned / workers / 2
    left = seconds_left(planned, workers, done=planned / 2, elapsed=half)
    assert abs(left / half - 1) < 0.1


def test_it_says_something_at_once_and_counts_what_is_done(capfd):
    with ProgressBar({"a": 600.0, "b": 600.0}, {"a": 600.0, "b": 0.0}, workers=2) as bar:
        first = capfd.readouterr().err
        assert "50 %" in first and "about 05:00 to go, 1 of 2 trainings, 2 processes starting" in first
        bar.advance([("b", 1.0), ("another shard's", 0.5)], ", a note")
    assert "100 %" in (last := capfd.readouterr().err) and "about 00:00 to go, 2 of 2 trainings, a note" in last


TRAIN = """
from synthlib.runs.store import Store
from synthlib.study.engine import run_jobs
from tests.attacks.toys import run_job
run_jobs([run_job(1, 4_000, pause=0.01)], Store({store!r}), workers=1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.7, 6.0], ids=["while the process imports", "while it trains"])
def test_the_stop_button_of_a_notebook_ends_in_one_line(tmp_path, after, monkeypatch):
    """A real kernel, interrupted as Jupyter does it: the signal goes to the kernel and to all that it has started."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable
    manager.start_kernel(cwd=str(ROOT))
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        client.execute_interactive("import torch, synthlib.study.engine, tests.attacks.toys", timeout=120)
        client.execute(TRAIN.format(store=str(tmp_path / "store")))
        shown, stopped = [], time.monotonic() + after
        while True:
            if stopped and time.monotonic() > stopped:
                manager.interrupt_kernel()
                stopped = None
            try:
                message = client.get_iopub_msg(timeout=0.2)
            except Exception:  # queue.Empty
                assert stopped is None or time.monotonic() < stopped + 60
                continue
            shown.append(message)
            if stopped is None and message["content"].get("execution_state") == "idle":
                break
        (error,) = (one["content"] for one in shown if one["msg_type"] == "error")
        (line,) = error["traceback"]
        assert line.startswith("stopped; every training keeps its last checkpoint: run this again")
        assert "Traceback" not in "".join(one["content"].get("text", "") for one in shown)
        client.execute_interactive("print(1)", timeout=60)  # the kernel goes on
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
