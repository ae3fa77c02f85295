"""An arm that a reader adds, as the exercises of Tables 1 to 8 ask, is trained and shown and breaks nothing else."""

import os
import shutil
import subprocess
import sys

import pytest

from synthlib.__main__ import main
from synthlib.report.authors_check import authors_artefacts, check, summary
from synthlib.report.authors_logs import log_labels, read_logs
from synthlib.report.sources import runs_of_authors
from synthlib.study.params import load_artefact
from synthlib.study.plan import make_plan
from synthlib.study.presets import can_train, presets
from tests.common import AUTHORS_LOGS, ROOT, small_logs

EXERCISES = {
    "table1": "another chain: {chain: {states: 100, order: 1, temperature: 1.0}, pretraining_seed: 1}",
    "table2": "2-MC of 10: {chain: {states: 10, order: 2}}",
    "table3": "S2: {chain: {states: 2}}",
    "table4": "tau=0.001: {pretraining_updates: 20000, chain: {temperature: 0.001}}",
    "table5": "'100': {pretraining_updates: 100}",
    "table6": "S=100, A=10: {mdp: {states: 100, actions: 10}}",
    "table7": "sharp policy: {mdp: {policy_temperature: 0.01, transition_temperature: 1.0}}",
    "table8": "another 100K: {pretraining_updates: 100000, pretraining_seed: 43}",
}
OF_DT = [name for name in EXERCISES if load_artefact(name).algorithm == "dt"]
# Tests that count or name the arms of these tables. All other tests, tried once, do not notice an arm more.
TESTS = ["study/test_plan.py", "study/test_summary.py", "report/test_authors_logs.py", "report/test_files.py"]
TESTS += ["dt/test_jobs.py::test_every_arm_of_the_tables_with_settings_of_its_own_is_a_run_of_its_own"]
TESTS += ["dt/test_jobs.py::test_every_preset_is_valid_and_leaves_four_evaluations_for_the_final_score"]


def add_arms(folder):
    """Write each exercise's arm into its description, as a reader does: a line among the arms."""
    for name, line in EXERCISES.items():
        path = folder / f"{name}.yaml"
        path.write_text(path.read_text().replace("\narms:\n", f"\narms:\n  {line}\n"))


def own_arm(name):
    """The arm that an exercise added to a table."""
    return next(iter(load_artefact(name).arms))


@pytest.fixture
def with_own_arms(own_params):
    add_arms(own_params)
    return own_params


@pytest.fixture
def logs(tmp_path):
    """The path of made-up logs with every arm of the paper's tables."""
    labels = {label for artefact in authors_artefacts() for label in log_labels(artefact).values()}
    small_logs(sorted(labels)).to_csv(tmp_path / "logs.csv", index=False)
    return tmp_path / "logs.csv"


@pytest.mark.parametrize("name", EXERCISES)
def test_it_is_planned_in_every_preset_and_is_a_run_of_its_own(name, with_own_arms):
    arm = own_arm(name)
    for preset in presets():
        if can_train(preset, load_artefact(name).algorithm):
            keys = {cell.arm: cell.job.key for cell in make_plan(name, preset, None).cells}
            others = {key for other, key in keys.items() if other != arm}
            assert keys[arm] not in others or preset == "smoke"  # there 100 updates of Table 5 are one, as 1,000 are


@pytest.mark.parametrize("name", OF_DT)
def test_the_authors_runs_are_shown_without_it_and_that_is_said(name, with_own_arms, logs):
    runs = runs_of_authors(load_artefact(name), read_logs(logs))
    assert f"{own_arm(name)}, which the authors did not run" in runs.missing
    assert own_arm(name) not in {*runs.artefact.arms, *runs.evaluations["arm"]}


@pytest.mark.slow
def test_a_table_of_the_authors_runs_is_printed_all_the_same(with_own_arms, logs, outputs, capsys):
    assert main(["show", "table5", "--source", "authors", "--logs", str(logs)]) == 0
    shown = capsys.readouterr().out
    assert "missing: 100, which the authors did not run" in shown and " 80k" in shown


def test_the_check_of_the_papers_tables_does_not_ask_for_it(with_own_arms, logs):
    said = summary(check(read_logs(logs)))
    assert " of 708 cells equal; 0 of 59 average rows equal; " in said and said.endswith(
        " of 36 cells of Table 11 equal"
    )


@pytest.mark.slow
def test_the_papers_tables_still_come_out_of_the_authors_runs(with_own_arms, capsys):
    assert main(["check-authors", "--logs", str(AUTHORS_LOGS)]) == 0
    assert "708 of 708 cells equal; 59 of 59 average rows equal; 36 of 36" in capsys.readouterr().out


@pytest.mark.slow
def test_no_test_breaks(tmp_path):
    copy = tmp_path / "repository"
    left_out = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "outputs")
    shutil.copytree(ROOT, copy, ignore=left_out)
    shutil.copytree(ROOT / "outputs" / "records", copy / "outputs" / "records")
    add_arms(copy / "params")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *(f"tests/{name}" for name in TESTS)]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
