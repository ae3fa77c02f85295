"""What `make plan-<table>` says of a store in which other tables have left their runs."""

import pytest

from synthlib.machine.files import write_json
from synthlib.paths import store_root
from synthlib.runs.store import Store
from synthlib.study.plan import make_plan
from synthlib.study.summary import PlanSummary

# As measured once by synthlib.study.cost: with them in the outputs nothing has to be measured again.
SPEEDS = {"dt-(11, 3)": 0.15, "dt-step-hopper": 7e-4, "gpt2-32": 0.002}
SPEEDS |= {"cql-(11, 3)-3": 0.03, "critic_pretraining-(11, 3)": 0.003, "step-hopper": 9e-5}


def record_as_done(jobs):
    store = Store(store_root())
    for job in jobs:
        session = store.open(job)
        session.save({}, job.updates)
        for updates in job.keep:
            session.save_weights(updates, {})
        session.release()


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [("table1", "table3", "DT; DT, matched; S100"), ("table6", "table7", "CQL; CQL, matched; tau=1")],
)
def test_after_one_table_the_next_has_their_common_columns(first, second, common, outputs):
    outputs.mkdir()
    write_json(outputs / "speed.json", SPEEDS)
    plan = make_plan(second, "smoke", "replica")
    runs = 2 * len(plan.arms)
    before = str(PlanSummary(plan, workers=1))
    assert "columns done" not in before and f"{runs} wanted: {runs} missing" in before
    record_as_done(make_plan(first, "smoke", "replica").jobs())
    after = str(PlanSummary(plan, workers=1))
    assert f"  columns done: {common}\n" in after
    assert f"{runs} wanted: 6 done, {runs - 6} missing" in after


def test_the_plan_says_which_official_files_are_still_to_be_fetched(outputs, tmp_path, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "d4rl"))
    outputs.mkdir()
    write_json(outputs / "speed.json", SPEEDS)
    plan = make_plan("table6", "smoke", "d4rl")
    assert f"official files to be fetched into {tmp_path / 'd4rl'}: 1, 0.30 GB" in str(PlanSummary(plan, workers=1))
    (tmp_path / "d4rl").mkdir()
    (tmp_path / "d4rl" / "hopper_medium_expert-v2.hdf5").touch()
    assert "official files" not in str(PlanSummary(plan, workers=1))
