"""The command line itself: what it must not load, and where it is found."""

import importlib
import os
import subprocess
import sys
import tomllib

import pytest

from synthlib import notebooks
from synthlib.__main__ import main
from synthlib.machine import processors
from synthlib.report.authors_logs import log_labels
from synthlib.report.sources import open_runs
from synthlib.study.params import load_artefact
from tests.common import ROOT, small_logs

HEAVY = {"torch", "pandas", "matplotlib", "mujoco", "numba", "papermill", "numpy"}
HELP = """
import sys
from synthlib.__main__ import main
try:
    main([*sys.argv[1:], "--help"])
except SystemExit as ended:
    print(*sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
    sys.exit(ended.code)
"""


@pytest.mark.parametrize("command", [[], ["plan"], ["reproduce"]])
def test_the_help_text_loads_nothing_that_takes_long(command):
    done = subprocess.run([sys.executable, "-c", HELP, *command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "usage: synthlib" in done.stdout
    loaded = set(done.stderr.split())
    assert "argparse" in loaded and not loaded & HEAVY


def test_reading_and_checking_params_loads_neither_torch_nor_mujoco():
    code = (
        "import sys; from synthlib.study.params import *; from synthlib.study.presets import load_preset;"
        "load_preset('quick', 'cql'); [load_artefact(name) for name in artefact_names()];"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = set(done.stdout.split())
    assert "yaml" in loaded and not loaded & {"torch", "pandas", "mujoco"}


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("torch", "error: the package torch is not installed; run: make install\n"),
        ("synthlib.offline.sources", "Traceback"),  # no installation can mend that
    ],
)
def test_a_package_that_is_missing_is_said_in_one_line(missing, said):
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from synthlib.__main__ import main; sys.exit(main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and done.stderr.startswith(said)


def test_the_console_script_is_this_command():
    (target,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].values()
    module, _, name = target.partition(":")
    assert getattr(importlib.import_module(module), name) is importlib.import_module("synthlib.__main__").main


def test_workers_are_the_processors_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert processors.usable_processors() == 3 and open_runs("own", "smoke").workers == 3
    assert open_runs("own", "smoke", workers=7).workers == 7
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors.usable_processors() == 1


@pytest.fixture
def notebook_that_writes_nothing(monkeypatch):
    monkeypatch.setattr(notebooks, "run_notebook", lambda path, folder, parameters: folder / path.name)


def test_reproduce_prints_and_saves_its_own_report(notebook_that_writes_nothing, outputs, tmp_path, capsys):
    labels = log_labels(load_artefact("figure10")).values()
    small_logs(sorted(set(labels))).to_csv(tmp_path / "logs.csv", index=False)
    assert main(["reproduce", "figure10", "--source", "authors", "--logs", str(tmp_path / "logs.csv")]) == 0
    printed = capsys.readouterr().out
    assert "The authors' own runs" in printed
    assert (outputs / "authors" / "figure10" / "figure10.txt").read_text() in printed


@pytest.mark.slow
def test_scoreboard_prints_and_saves_its_own_board(notebook_that_writes_nothing, outputs, tmp_path, capsys):
    assert main(["scoreboard", "--preset", "smoke", "--logs", str(tmp_path / "nowhere.csv")]) == 0
    printed = capsys.readouterr().out
    assert "without the authors' logs" in printed and "dt-synthetic-over-dt" in printed
    assert (outputs / "smoke" / "scoreboard" / "scoreboard.txt").read_text() in printed


@pytest.mark.slow
def test_show_prints_a_table_where_nothing_can_be_saved(monkeypatch, capsys):
    """As for the second user of a shared store."""
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", "/sys/synthlib")  # a place where not even root may write
    assert main(["show", "cql_start_scouts", "--preset", "scouting"]) == 0
    printed = capsys.readouterr().out
    assert "halfcheetah-medium" in printed and "not saved as CSV" in printed
