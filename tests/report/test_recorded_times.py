"""The times that trainings recorded: read from the store and the records, with and without them."""

import pandas as pd
import pytest

from synthlib.cql import jobs as cql_jobs
from synthlib.machine.files import read_json, write_json
from synthlib.report.recorded_times import CQL, CRITICS, DT, GPT2, coverage, recorded, share_of_arms, summary
from synthlib.runs.store import Store
from tests.common import train, trained_dt

CQL_SETTINGS = {"updates": 8, "evaluate_every": 4, "episodes": 2, "pretraining_scale": 0.001, "mdp_trajectories": 2}


@pytest.fixture
def store(random_hopper_data, outputs):
    """A real pre-training and run of each algorithm, and a run from before times were kept."""
    store, _ = trained_dt({}, random_hopper_data, outputs)
    job = cql_jobs.finetuning_job({}, "hopper-medium", 42, CQL_SETTINGS, random_hopper_data)
    older = cql_jobs.finetuning_job({"pretraining": "none"}, "hopper-medium", 42, CQL_SETTINGS, random_hopper_data)
    for one in (*job.requires, job, older):
        train(one, store)
    progress = store.folder(older) / "progress.json"
    write_json(progress, {"updates": read_json(progress)["updates"]})
    return Store(store.root, outputs / "records")


def test_every_training_is_listed_and_older_ones_are_not_recorded(store):
    times = recorded(store)
    assert sorted(times["stage"]) == sorted([GPT2, DT, CRITICS, CQL, CQL])
    known = times.dropna(subset="wall")
    assert len(known) == 4 and (known["wall"] > 0).all() and (known["processor"] > 0).all()
    assert known.set_index("stage")["evaluations"].between(0, 1).all()
    assert known.set_index("stage").loc[GPT2, "evaluations"] == 0 < known.set_index("stage").loc[DT, "evaluations"]
    assert coverage(times) == "4 of 5 trainings have their time; of the other 1 it is not recorded."


def test_a_damaged_description_is_named_and_stops_nothing(store, capsys):
    folders = sorted(path.parent for path in store.root.glob("cql/*/config.json"))
    (folders[0] / "environment.json").write_text('{"host')
    (folders[1] / "config.json").write_text("")
    times = recorded(store).set_index("key")
    said = capsys.readouterr().err
    assert times.loc[folders[0].name, "machine"] == "" and str(folders[0] / "environment.json") in said
    assert folders[1].name not in times.index and str(folders[1] / "config.json") in said


def test_only_an_update_of_the_papers_size_is_scaled_to_the_paper(store):
    times = recorded(store).set_index("stage")
    assert times.loc[CQL, "is_papers_size"].all() and times.loc[CRITICS, "is_papers_size"]
    assert not times.loc[GPT2, "is_papers_size"] and not times.loc[DT, "is_papers_size"]  # small networks
    text = summary(recorded(store))
    assert (text["scaled to the paper"] == "-").all()  # these trainings are mostly loading
    scaled = summary(recorded(store).assign(updates=10**6))["scaled to the paper"].droplevel(["size", "processor"])
    assert scaled[CQL].endswith(" h for 1,000,000") and scaled[CRITICS].endswith(" h for 100,000")
    assert scaled[GPT2] == scaled[DT] == "-"
    assert text["n"].tolist() == ["1"] * 4


def test_the_records_of_this_repository_are_read():
    times = recorded(Store("nowhere"))
    assert len(times) >= 69 and set(times["stage"]) == {GPT2, DT, CRITICS, CQL}
    assert times["machine"].str.len().gt(0).all()
    assert times.loc[times["stage"] == DT, "arm"].isin(["DT", "pre-trained", "k-means"]).all()


def test_nothing_recorded_is_an_empty_table_and_no_share(tmp_path):
    times = recorded(Store(tmp_path / "store", tmp_path / "records"))
    assert times.empty and summary(times).empty and share_of_arms(times, "DT+Synthetic", "DT") is None


def made_up(**walls):
    common = {"stage": DT, "is_papers_size": True, "environment": "hopper", "updates": 400}
    runs = [(arm, *run) for arm, of_arm in walls.items() for run in of_arm]
    return pd.DataFrame([common | {"arm": arm, "machine": machine, "wall": wall} for arm, machine, wall in runs])


def test_arms_are_compared_on_equal_processors_only():
    runs = {"DT": [("a", 1.0), ("b", 9.0)], "pre-trained": [("a", 2.0), ("c", 1.0)]}
    times = made_up(**runs)
    share = share_of_arms(times, "DT+Synthetic", "DT")
    assert share.value == 2.0 and not share.enough
    assert share_of_arms(times[times["machine"] != "a"], "DT+Synthetic", "DT") is None
    assert share_of_arms(times.assign(updates=16), "DT+Synthetic", "DT") is None  # little more than loading
    equal = times[times["machine"] == "a"]
    many = pd.concat([equal.assign(wall=equal["wall"] + i / 100) for i in range(4)])
    share = share_of_arms(many, "DT+Synthetic", "DT")
    assert share.enough and share.low < share.value < share.high
