"""SYNTHLIB_READABLE=1: a table of the Decision Transformer on the code that the pages show."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from synthlib.dt import column_runs
from synthlib.dt import jobs as dt_jobs
from synthlib.dt.model import LastAction, predict_actions
from synthlib.dt.model_fast import FastLastAction, fast_predict_actions
from synthlib.dt.windows import BatchBuilder
from synthlib.dt.windows_fast import FastBatchBuilder
from synthlib.kernels import twins
from synthlib.runs.store import Store
from synthlib.study.plan import make_plan
from tests.common import noted_choices, train

ARMS = ("DT", "DT+Synthetic")  # without pre-training, and with all of its code


@pytest.mark.slow
def test_the_environment_variable_asks_for_the_definitions():
    code = "from synthlib.kernels import twins; from synthlib.dt.windows import BatchBuilder; "
    code += "raise SystemExit(twins.best(BatchBuilder) is not BatchBuilder)"
    for value, readable in (("1", True), ("0", False)):
        done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"SYNTHLIB_READABLE": value}, timeout=60)
        assert (done.returncode == 0) == readable


@pytest.mark.slow
def test_a_table_on_the_readable_code_has_the_same_scores_and_losses(outputs, monkeypatch):
    plan = make_plan("matched_control", "smoke", "replica", ARMS)
    jobs = [cell.job for cell in plan.cells if cell.seed == plan.cells[0].seed]
    noted = [noted_choices(monkeypatch, module) for module in (dt_jobs, column_runs)]

    def table(readable):
        store = Store(outputs / f"readable {readable}", records=outputs / "none")
        with monkeypatch.context() as patched:
            patched.setattr(twins, "READABLE_ONLY", readable)
            dt_jobs._prepared.cache_clear()
            for job in (*jobs[1].requires, *jobs):
                train(job, store)
        return store

    fast, readable = table(False), table(True)
    assert {one for chosen in noted for one in chosen} == {
        *(FastBatchBuilder, fast_predict_actions, FastLastAction),
        *(BatchBuilder, predict_actions, LastAction),
    }
    assert len(jobs) == len(ARMS)
    for job in jobs:
        assert len(fast.evaluations(job)) == 4
        # Rounding alone: twenty times as much as was seen.
        pd.testing.assert_frame_equal(readable.evaluations(job), fast.evaluations(job), rtol=1e-5, atol=1e-5)
        pd.testing.assert_frame_equal(readable.losses(job), fast.losses(job), rtol=1e-5)
