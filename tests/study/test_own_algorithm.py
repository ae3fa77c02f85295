"""Adding an algorithm is a module, a section in the presets and a table: here behaviour cloning, start to end."""

import pandas as pd
import pytest
import yaml

from synthlib.paths import store_root
from synthlib.report.sources import open_runs
from synthlib.runs.store import Store
from synthlib.study.algorithms import ALGORITHMS, algorithm, training
from synthlib.study.engine import RunOptions, run_jobs
from synthlib.study.params import ParameterError, load_artefact
from synthlib.study.plan import make_plan
from tests.study import behaviour_cloning

TABLE = {
    "algorithm": "tests.study.behaviour_cloning:ALGORITHM",
    "title": "Behaviour cloning by width",
    "paper_table": None,
    "metric": "final",
    "notebook": "09_table6_cql_state_space.ipynb",
    "baseline": "BC",
    "control": None,
    "arms": {"BC": {}, "BC, wide": {"width": 32, "length": 1.5}},
}
SIZE = {"datasets": ["hopper-medium"], "seeds": 2, "updates": 8, "evaluate_every": 2, "episodes": 2, "batch_size": 16}


@pytest.fixture
def own_table(own_params):
    """The name of a table of behaviour cloning, which the preset "smoke" has a size for."""
    (own_params / "cloning.yaml").write_text(yaml.safe_dump(TABLE, sort_keys=False))
    presets = yaml.safe_load((own_params / "presets.yaml").read_text())
    presets["smoke"]["behaviour_cloning"] = SIZE
    (own_params / "presets.yaml").write_text(yaml.safe_dump(presets, sort_keys=False))
    return "cloning"


@pytest.mark.slow
def test_an_own_algorithm_is_planned_trained_stored_and_reported(own_table, random_hopper_data, outputs):
    runs = open_runs("own", "smoke", random_hopper_data, workers=1)
    assert "behaviour_cloning       4 wanted: 4 missing" in str(runs.plan(own_table))
    runs.train(own_table)
    assert "columns done: BC; BC, wide" in str(runs.plan(own_table))
    jobs, store = make_plan(own_table, "smoke", random_hopper_data).jobs(), Store(store_root())
    assert [job.updates for job in jobs] == [8, 12, 8, 12] and all(map(store.is_done, jobs))
    report = runs.report(own_table)
    cells = report.cells.set_index(["arm", "dataset"])
    assert cells.loc[("BC, wide", "hopper-medium"), "n"] == 2
    assert report.runs.evaluations["loss"].notna().all() and not report.runs.reduced
    assert "BC, wide" in report.text()


@pytest.mark.slow
def test_seeds_of_an_algorithm_without_batched_updates_are_stacked_one_by_one(own_table, random_hopper_data, outputs):
    jobs = make_plan(own_table, "smoke", random_hopper_data).jobs()
    alone, together = Store(outputs / "alone"), Store(outputs / "together")
    run_jobs(jobs, alone, workers=1)
    run_jobs(jobs, together, workers=1, options=RunOptions(stacked=True))
    for job in jobs:
        pd.testing.assert_frame_equal(alone.losses(job), together.losses(job))
        pd.testing.assert_frame_equal(alone.evaluations(job), together.evaluations(job))


def test_what_an_own_algorithm_does_not_know_is_refused(own_table, own_params):
    wrong = TABLE | {"arms": {"BC": {"depth": 3}}}
    (own_params / "cloning.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(ParameterError, match=r"arm 'BC': unknown \['depth'\]"):
        load_artefact("cloning")
    for name, said in (
        ("bc", "unknown algorithm 'bc'; known: dt, cql, or module:NAME"),
        ("yaml:safe_load", "function"),
    ):
        (own_params / "cloning.yaml").write_text(yaml.safe_dump(TABLE | {"algorithm": name}))
        with pytest.raises(ParameterError, match=said):
            load_artefact("cloning")


@pytest.mark.parametrize("name", [*ALGORITHMS, f"{behaviour_cloning.__name__}:ALGORITHM"])
def test_every_job_finds_the_record_of_its_kind(name):
    of_one = algorithm(name)
    kinds = [one.kind for one in of_one.trainings]
    assert len(set(kinds)) == len(kinds) and sum(not one.is_pretraining for one in of_one.trainings) == 1
    table = {"dt": "table1", "cql": "table6"}.get(name)
    for job in make_plan(table, "smoke", None).jobs() if table else ():
        assert job.algorithm == name and training(job).kind == job.kind and training(job).operations(job) >= 0
