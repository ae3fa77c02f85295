"""The command for a GPU that can be had for minutes, on the processor, with the smallest sizes."""

import functools
import json
import subprocess

import pandas as pd
import pytest

from synthlib.bench import first_minutes
from synthlib.runs.store import Store
from synthlib.runs.transfer import import_runs
from tests.common import ROOT

SMALL = ["--presets", "smoke", "--datasets", "hopper-medium-expert", "--seeds", "1"]
CHECKS = ["--checks", "words_are_those_of_unsigned_arithmetic", "--bench", "--quick --only critics"]


@pytest.fixture
def own_records(outputs, monkeypatch):
    """The records of the repository stay as they are."""
    monkeypatch.setattr(first_minutes, "Store", functools.partial(Store, records=outputs / "records"))
    return outputs / "records"


@pytest.mark.slow
def test_it_checks_measures_trains_and_brings_the_runs_home(own_records, outputs, tmp_path, capfd):
    file = tmp_path / "home" / "runs.tar"
    bench = f"--quick --only critics --folder {outputs / 'bench'}"
    arguments = [*SMALL, *CHECKS[:2], "--bench", bench, "--file", str(file), "--hours", "0.5"]
    assert first_minutes.main(arguments) == 0
    outcomes = json.loads((outputs / "bench" / "selfcheck.json").read_text())["outcomes"]
    assert len(outcomes) == 6 and set(outcomes.values()) == {"passed"}
    assert set(pd.read_csv(outputs / "bench" / "bench.csv")["line"]) == {"critics"}
    plan = first_minutes._plan("smoke", first_minutes._parser().parse_args(SMALL))
    assert plan.arms == ["CQL", "CQL, matched", "S=100", "CQL+IID"]
    elsewhere = Store(tmp_path / "elsewhere", tmp_path / "none")
    new, _, _ = import_runs(file, elsewhere)
    assert all(elsewhere.is_done(job) for job in plan.jobs()) and len(new) == len(plan.jobs())
    assert len(list(own_records.glob("*/*/config.json"))) == len(new)
    assert f"{len(new)} records published" in capfd.readouterr().out


@pytest.mark.slow
def test_no_run_of_a_card_that_fails_its_check(own_records, outputs, tmp_path, capfd):
    arguments = [*SMALL, *CHECKS, "--file", str(tmp_path / "runs.tar")]
    arguments[arguments.index("--checks") + 1] = "no such check"  # pytest then ends with an error
    assert first_minutes.main(arguments) == 1
    assert "the check failed, so no run is made" in capfd.readouterr().err
    assert not own_records.exists() and not (outputs / "runs").exists()


def test_the_target_asks_for_a_gpu_and_hands_on_the_hours():
    command = ["make", "-n", "-o", ".venv/developers", "first-minutes-on-a-gpu", "HOURS=0.1", "FILE=a b.tar"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "first_minutes --hours '0.1'" in said and "--file 'a b.tar'" in said


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setenv("SYNTHLIB_DEVICE", "cuda:7")
    assert first_minutes.main([]) == 1
    assert "torch sees" in capsys.readouterr().err
