"""How many runs fit into a GPU's memory: from shapes, without a GPU."""

import pytest

from synthlib.cql.jobs import finetuning_job as cql_job
from synthlib.study import memory
from synthlib.study.algorithms import training
from synthlib.study.presets import load_preset

PAPER = load_preset("paper", "cql")


def cql_jobs(arms, environment="halfcheetah"):
    return [cql_job(arm, f"{environment}-medium", seed, PAPER, None) for arm in arms for seed in range(5)]


def test_runs_are_parted_evenly():
    jobs = cql_jobs([{"pretraining": "none"}, {}])
    assert [len(part) for part in memory.parts(jobs, 10)] == [10]
    assert [len(part) for part in memory.parts(jobs, 9)] == [5, 5]
    assert [len(part) for part in memory.parts(jobs, 4)] == [4, 4, 2]
    assert [job for part in memory.parts(jobs, 4) for job in part] == jobs
    assert memory.fit(100, 1000) == 7 and memory.fit(100, 10) == 1


def test_a_processor_has_one_part():
    jobs = cql_jobs([{}])
    assert memory.fitting(jobs) == [jobs] and memory.in_words(jobs) == []


@pytest.mark.slow
def test_a_plan_says_what_a_run_takes_and_how_many_fit():
    wide, narrow = cql_jobs([{"pretraining": "none"}], "ant"), cql_jobs([{"pretraining": "none"}], "hopper")
    found = training(wide[0]).memory(wide[0])
    critic = 256 * 256 + 256 + 256 + 1
    weights = 2 * ((111 + 8) * 256 + 256 + critic)
    assert found.targets == 4 * weights
    policy = 111 * 256 + 256 + 256 * 256 + 256 + 257 * 16
    assert found.weights == 4 * (weights + policy + 3)  # log alpha; scale and offset of the log of the deviation
    assert found.moments == 2 * found.weights
    header, line = memory.sentences(narrow + wide, "a card", 80e9)
    assert header == "memory, of the 80 GB of a card, from the shapes:"
    count = memory.fit(found.total, 80e9)
    assert line.split() == f"cql up to {found} a run: {count:,} fit".split() and count > 420
