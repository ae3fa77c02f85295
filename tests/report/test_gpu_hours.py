"""The hours of the whole paper on one GPU: from measured rates, or assumed ones, and said which."""

import pandas as pd
import pytest

from synthlib.machine.files import write_json
from synthlib.report import cost_stages, gpu_hours
from synthlib.study.gpu_rates import COLUMNS, Rate, rates

STAGES = cost_stages.stages()
JOBS = [job for stage in STAGES.values() for job in stage.jobs]


@pytest.fixture
def bench(tmp_path):
    """A bench of a card that does CQL at a tenth of a product's 50e12 operations per second, and knows no GPT-2."""
    rows = [
        {"line": "columns", "contestant": "ours", "of_floor": 0.1, "gflops_mkl": 50e3},
        {"line": "columns", "contestant": "a column of 1", "of_floor": None, "gflops_mkl": 50e3},
        {"line": "columns-dt", "contestant": "ours", "of_floor": 0.5, "gflops_mkl": 50e3},
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "bench.csv", index=False)
    write_json(tmp_path / "machine.json", {"device": "A Card"})
    return tmp_path


def test_without_a_measurement_every_rate_is_assumed_and_said_so(tmp_path):
    of = rates(tmp_path)
    assert {rate.source for rate in of.values()} == {"assumed, 30% of an H100's float32 limit"}
    table = gpu_hours.hours(JOBS, STAGES, of)
    total = table.drop(index="total")
    assert table.loc["total", "hours"] == pytest.approx(total["operations"].sum() / (0.3 * 67e12) / 3600)
    first, aim = gpu_hours.sentences(table)
    assert first.endswith("All rates are assumed.") and "350 hours on one H100" in aim
    assert "assumed, 30% of an H100's float32 limit" in gpu_hours.as_text(table)


def test_measured_rates_take_the_place_of_assumed_ones(bench):
    of = rates(bench)
    assert of["cql"] == (5e12, "measured on A Card") and of["dt"].operations == 25e12
    table = gpu_hours.hours(JOBS, STAGES, of)
    assert table.loc["cql", "hours"] == pytest.approx(table.loc["cql", "operations"] / 5e12 / 3600)
    first, _ = gpu_hours.sentences(table)
    assert "Assumed: the rates of gpt2_pretraining, critic_pretraining; the others are measured." in first


@pytest.mark.parametrize(("rate", "word"), [(1e20, "Reached"), (1e3, "Missed")])
def test_only_measured_rates_say_whether_the_aim_is_reached(rate, word):
    measured = {kind: Rate(rate, "measured on A Card") for kind in COLUMNS}
    _, aim = gpu_hours.sentences(gpu_hours.hours(JOBS, STAGES, measured))
    assert aim.startswith(f"The aim is 350 hours on one H100. {word}.")


def test_rates_of_the_published_card_stand_in_for_a_bench_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path))
    assert {rate.source for rate in rates().values()} == {"measured on NVIDIA H100 80GB HBM3"}


def test_the_authors_hours_are_the_printed_times_of_an_update():
    table = gpu_hours.hours([*STAGES[cost_stages.CQL].jobs], STAGES, rates())
    assert table.loc["total", "authors"] == pytest.approx(4 * STAGES[cost_stages.CQL].minutes / 60)
    assert table.loc["total", "trainings"] == 4
    wiki = gpu_hours.hours(STAGES[cost_stages.WIKIPEDIA].jobs, STAGES, rates())
    assert wiki.loc["total", "authors"] == pytest.approx(2 * STAGES[cost_stages.WIKIPEDIA].minutes / 60)
