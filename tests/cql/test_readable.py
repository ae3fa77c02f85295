"""``SYNTHLIB_READABLE=1``: a table trained on the code that the pages show has the numbers of the fast code."""

import pandas as pd
import pytest

from synthlib.runs.store import Store
from synthlib.study.engine import run_jobs
from synthlib.study.plan import make_plan


@pytest.mark.slow
def test_a_table_by_the_definitions_alone_has_the_same_numbers(random_hopper_data, tmp_path, monkeypatch):
    wanted = make_plan("table6", "smoke", random_hopper_data, ("CQL", "S=10")).jobs()
    assert sorted(job.kind for job in wanted) == ["cql"] * 4 + ["critic_pretraining"]
    stores = []
    for readable in ("0", "1"):
        outputs = tmp_path / f"readable-{readable}"  # an own one, so that each makes its own MDP data
        monkeypatch.setenv("SYNTHLIB_READABLE", readable)
        monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(outputs))
        stores.append(Store(outputs / "store"))
        run_jobs(wanted, stores[-1], workers=1)
    for job in wanted:
        fast, readable = (store.losses(job) for store in stores)
        pd.testing.assert_frame_equal(fast, readable, rtol=1e-3, atol=1e-4, check_like=True)
        assert job.kind != "cql" or not fast.equals(readable[fast.columns])  # it was other code: the last bits differ
        fast, readable = (store.evaluations(job) for store in stores)
        assert list(fast["updates"]) == list(readable["updates"])
        if job.kind == "cql":
            pd.testing.assert_series_equal(fast["score"], readable["score"], rtol=1e-2, atol=1e-2)
