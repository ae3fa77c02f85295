"""What ``make`` does with what a user types: any text, any Python, any checkout, any user."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from synthlib.report.authors_logs import log_labels
from synthlib.study.params import load_artefact
from tests.common import ROOT, small_logs

INSTALLED = f"{sys.prefix}/installed"
TEXT = """a b (2) [x] {y} it's "so" & $HOME $(id) `id` * ; # ~"""


def inherited():
    """The environment without the variables that `make test PYTHON=... VENV=...` hands to its commands."""
    options = re.findall(r"^(\w+) \?=", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return {
        name: text
        for name, text in os.environ.items()
        if name not in options and not name.startswith(("MAKE", "MFLAGS"))
    }


def make(*arguments, installed=True, **environment):
    """``make`` with the environment of this test, which counts as installed, or in need of an installation."""
    command = ["make", f"VENV={sys.prefix}", *(["-o", INSTALLED] if installed else []), *arguments]
    return subprocess.run(command, cwd=ROOT, env=inherited() | environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("target", "option", "variable"),
    [
        *((f"{verb}-table6", "--data", "DATA") for verb in ("plan", "run", "show", "publish", "reproduce")),
        *((target, "--data", "DATA") for target in ("notebook-01_datasets", "scoreboard", "data", "doctor")),
        *((target, "--logs", "LOGS") for target in ("show-table1", "check-authors", "scoreboard")),
        *(("run-table6", f"--{name}", name.upper()) for name in ("arms", "datasets", "seeds")),
        *(("run-table6", f"--{name}", name.upper()) for name in ("engine", "partition", "account", "memory", "watch")),
        ("run-table6", "--per-job", "PER_JOB"),
        ("status-table6", "--arms", "ARMS"),
        *(("watch-table6", f"--{name}", name.upper()) for name in ("arms", "datasets", "seeds")),
        *(("watch-table6", f"--{name}s", name.upper()) for name in ("arm", "dataset")),
    ],
)
def test_any_text_reaches_the_command_as_it_was_typed(target, option, variable, tmp_path):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    done = make(f"VENV={tmp_path}", "-o", f"{tmp_path}/installed", target, f"{variable}={TEXT}")
    words = done.stdout.splitlines()
    assert words[words.index(option) + 1] == TEXT


def test_some_data_sets_can_be_fetched_and_none_named_are_all():
    assert (
        "--data 'd4rl' -- 'hopper-medium ant-medium'"
        in make("-n", "data", "DATA=d4rl", "DATASETS=hopper-medium ant-medium").stdout
    )
    assert make("-n", "data").stdout.rstrip().endswith("--data 'replica' -- ''")


def test_one_seed_to_watch_is_a_list_of_one():
    assert "--seeds '42'';'" in make("-n", "watch-table6", "SEED=42").stdout
    assert "--seeds '3'" in make("-n", "watch-table6", "SEEDS=3").stdout


@pytest.mark.slow
def test_a_table_is_made_of_logs_in_a_folder_of_any_name(tmp_path, outputs):
    folder = tmp_path / TEXT
    folder.mkdir()
    labels = log_labels(load_artefact("figure10")).values()
    small_logs(sorted(set(labels))).to_csv(folder / "logs.csv", index=False)
    done = make("show-figure10", "SOURCE=authors", f"LOGS={folder}/logs.csv")
    assert done.returncode == 0 and "The authors' own runs" in done.stdout, done.stderr


@pytest.fixture
def programs(tmp_path):
    """The path to a folder of programs that holds what the Makefile calls, and Pythons that say what they are."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("sh", "grep", "id", "cat"):
        (folder / name).symlink_to(shutil.which(name))

    def add(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return folder, add


def needs(*arguments, **environment):
    return make("install", "-W", "requirements.lock", *arguments, installed=False, **environment)


@pytest.mark.parametrize("version", ["2.7.18", "3.10.13", "3.14.0"])
def test_a_python_of_another_version_is_refused_in_words(programs, version):
    folder, add = programs
    add("another", f"echo Python {version}")
    done = needs(f"PYTHON={folder}/another")
    assert done.returncode and f"{folder}/another: Python {version}. This project runs on Python 3.11" in done.stdout


def test_no_python_is_said_in_words(programs):
    folder, _ = programs
    path = f"{folder}:{os.path.dirname(shutil.which('make'))}"
    if any(shutil.which(f"python3.{minor}", path=path) for minor in (11, 12, 13)):
        path = str(folder)
        (folder / "make").symlink_to(shutil.which("make"))
    done = needs(PATH=path)
    assert "python3.11 python3.12 python3.13: not found. This project runs on Python" in done.stdout
    assert "nowhere/python: not found. This project runs on" in needs("PYTHON=nowhere/python").stdout


def test_the_first_python_that_runs_is_taken(programs):
    folder, add = programs
    add("python3.11", "echo this version is not chosen >&2; exit 127")  # as pyenv's
    add("python3.12", "")
    add("python3.13", "")
    printed = make("-n", "lock", PATH=f"{folder}:{os.environ['PATH']}").stdout
    assert '"python3.12" -m venv build/uv' in printed


def test_a_copied_checkout_another_python_and_another_torch_install_again(tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    stamp = tmp_path / ".venv" / "installed"
    stamp.parent.mkdir()
    version = f"Python {sys.version.split()[0]}"

    def asks_for_an_installation(*arguments):
        asked = subprocess.run(
            ["make", "-q", "install", *arguments], cwd=tmp_path, env=inherited(), capture_output=True
        )
        return asked.returncode

    stamp.write_text(f"{tmp_path}\n{version}\n")
    assert not asks_for_an_installation() and not asks_for_an_installation(f"PYTHON={sys.executable}")
    assert asks_for_an_installation("TORCH=cpu")
    stamp.write_text(f"{tmp_path}\nPython 3.11.0\n")
    assert not asks_for_an_installation() and asks_for_an_installation(f"PYTHON={sys.executable}")
    stamp.write_text(f"{tmp_path.parent}\n{version}\n")
    assert asks_for_an_installation()
