"""All trainings of a store for other tools."""

import json
import sys

import pandas as pd
import pytest

from synthlib.__main__ import main
from synthlib.paths import RECORDS
from synthlib.runs import trackers
from synthlib.runs.store import Store
from tests.common import job, save


@pytest.fixture
def store(outputs):
    """A store with one finished run of five evaluations, and one that has not saved yet."""
    root = outputs / "store"
    scores = [{"updates": 2 * number, "score": float(number), "return_mean": 10.0 * number} for number in range(1, 6)]
    save(Store(root), job(10, cql={"discount": 0.5, "hidden": [8, 8]}), 10, rows=scores)
    Store(root).open(job(10, seed=2)).release()
    return root


def test_all_runs_are_one_table_and_their_curves_another(store, outputs, capsys):
    assert main(["export", "--format", "csv"]) == 0
    published = len([*RECORDS.glob("*/*/progress.json")])
    assert f"{published + 1} trainings as csv in {outputs / 'export'}" in capsys.readouterr().out
    runs = pd.read_csv(outputs / "export" / "runs.csv").set_index("key")
    curves = pd.read_csv(outputs / "export" / "curves.csv")
    ours = runs.loc[job(10, cql={"discount": 0.5, "hidden": [8, 8]}).key]
    assert (ours["kind"], ours["where"], ours["updates"]) == ("cql", "store", 10)
    assert (ours["final_score"], ours["last_score"]) == (3.5, 5.0)
    assert ours["cql.discount"] == 0.5 and json.loads(ours["cql.hidden"]) == [8, 8]
    chosen = curves[curves["key"] == ours.name]
    assert chosen[chosen["name"] == "return_mean"]["value"].tolist() == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert set(runs["where"]) == {"store", "records"} and len(runs) == len(set(runs.index)) == published + 1


@pytest.mark.parametrize("name", ["evaluations.csv", "config.json", "progress.json"])
def test_what_is_damaged_is_named_and_no_other_answer(name, store, outputs, capsys):
    path = next(store.glob("cql/*/evaluations.csv")).with_name(name)
    path.write_bytes(path.read_bytes()[:-12])  # of the rows, the last one is missing
    runs = {run.key: run for run in trackers.trainings(store, outputs / "records")}
    assert f"{path} is damaged" in capsys.readouterr().err
    if name == "evaluations.csv":
        assert runs[path.parent.name].row()["last_score"] is None
    else:
        assert not runs


def test_what_was_set_aside_is_no_training(store, outputs):
    folder = next(store.glob("cql/*/evaluations.csv")).parent
    folder.rename(folder.with_name(f"{folder.name}.damaged"))
    assert not list(trackers.trainings(store, outputs / "records"))


def test_a_published_run_has_the_score_that_its_rows_give():
    by_key = {run.key: run for run in trackers.trainings(RECORDS, RECORDS)}
    folder = next(path.parent for path in sorted(RECORDS.glob("cql/*/evaluations.csv")))
    last = pd.read_csv(folder / "evaluations.csv")["score"].tail(4).mean()
    assert by_key[folder.name].row()["final_score"] == pytest.approx(last)


@pytest.mark.parametrize(
    ("wanted", "package"), [("parquet", "pyarrow"), ("tensorboard", "tensorboard"), ("wandb", "wandb")]
)
def test_a_package_that_is_missing_is_a_sentence(wanted, package, store, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", "--format", wanted]) == 1
    said = capsys.readouterr().err
    assert f"error: FORMAT={wanted} needs the package {package}, which is no requirement of this project" in said
    assert "take FORMAT=csv" in said


@pytest.mark.parametrize("wanted", ["parquet", "tensorboard", "wandb"])
def test_what_is_written_can_be_read_where_the_package_is_there(wanted, store, tmp_path):
    pytest.importorskip({"parquet": "pyarrow"}.get(wanted, wanted))
    few = list(trackers.trainings(store, tmp_path))
    trackers.FORMATS[wanted](few, tmp_path)
    if wanted == "parquet":
        assert pd.read_parquet(tmp_path / "curves.parquet")["value"].sum() == 15 + 150
    else:
        assert len([path for path in tmp_path.rglob("*") if few[0].key in str(path)]) >= 1


def test_an_unknown_format_and_an_empty_store_are_sentences(outputs, tmp_path, monkeypatch, capsys):
    assert main(["export", "--format", "xlsx"]) == 1
    assert "unknown format 'xlsx'; known: csv, parquet, tensorboard, wandb" in capsys.readouterr().err
    monkeypatch.setattr(trackers, "trainings", lambda root: iter(()))
    assert main(["export"]) == 1
    assert "there is no training in" in capsys.readouterr().err
