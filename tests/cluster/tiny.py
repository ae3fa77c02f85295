"""A table of trainings that take seconds, as a user's own table that every process finds."""

from synthlib.runs.store import Store
from synthlib.study.cluster import Request
from synthlib.study.plan import Selection
from tests.common import train

TABLE = """
algorithm: cql
title: Runs that take seconds
paper_table: null
metric: final
notebook: 40_any_table.ipynb
baseline: CQL
control: null
arms:
  CQL: {pretraining: none}
  S=10: {mdp: {states: 10}}
  Slow: {mdp: {states: 12}, pretraining_updates: 1_500_000}
  Diverging: {pretraining: none, cql: {critic_learning_rate: 1.0e+30}}
"""


def write_table(folder, monkeypatch):
    folder.mkdir()
    (folder / "tiny.yaml").write_text(TABLE)
    monkeypatch.setenv("SYNTHLIB_PARAMS", str(folder))


def request(arms, seeds=1):
    return Request(("tiny",), "smoke", "replica", Selection(arms, seeds=seeds))


def rows(store, jobs):
    """The CSV files of all jobs, byte for byte."""
    return {(job.key, path.name): path.read_bytes() for job in jobs for path in store.folder(job).glob("*.csv")}


def rows_of_undisturbed(jobs, folder):
    """The same, of trainings in this process that nothing disturbs."""
    store = Store(folder)
    for job in jobs:
        train(job, store)
    return rows(store, jobs)
