"""A path that a user types means one thing, wherever the process that reads it runs."""

import os
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from synthlib import paths
from synthlib.__main__ import main
from synthlib.notebooks import run_notebook
from synthlib.offline.sources import parse_source
from synthlib.paths import NOTEBOOKS, ROOT, absolute, from_environment, outputs, settled_variables
from synthlib.report.authors_logs import find_logs

WHERE = {
    "SYNTHLIB_OUTPUTS": "from synthlib.paths import outputs\nprint(outputs())",
    "D4RL_DATASET_DIR": "from synthlib.offline.sources import parse_source\nprint(parse_source('d4rl').folder)",
    "AUTHORS_LOGS": "from synthlib.report.authors_logs import find_logs\nprint(find_logs())",
}


@pytest.fixture
def typed_in(tmp_path, monkeypatch):
    """The folder in which the command is typed; the user's home is another one."""
    (tmp_path / "here").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in paths.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "here"


def test_a_relative_path_counts_from_where_the_command_is_typed_and_a_tilde_is_the_home(typed_in):
    assert absolute("runs/../more") == typed_in / "more"
    assert absolute("~/runs") == typed_in.parent / "home" / "runs"
    assert absolute("/disk/runs") == Path("/disk/runs")
    with pytest.raises(ValueError, match=r"'~nobody-here/runs' starts with a home folder that is not known here"):
        absolute("~nobody-here/runs")


@pytest.mark.parametrize("name", WHERE)
@pytest.mark.parametrize("typed", ["large disk/runs", "~/runs"])
def test_a_path_in_a_variable_is_the_same_here_and_in_a_notebook(name, typed, typed_in, tmp_path, monkeypatch):
    meant = {"~/runs": typed_in.parent / "home" / "runs"}.get(typed, typed_in / "large disk" / "runs")
    meant.mkdir(parents=True)
    monkeypatch.setenv(name, typed)
    assert from_environment(name) == meant and settled_variables() == {name: str(meant)}
    parameters = new_code_cell("size = 3")
    parameters.metadata["tags"] = ["parameters"]
    (tmp_path / "elsewhere").mkdir()  # a notebook runs in its own folder
    path = tmp_path / "elsewhere" / "where.ipynb"
    nbformat.write(new_notebook(cells=[parameters, new_code_cell(WHERE[name])]), path)
    executed = run_notebook(path, tmp_path / "done", {})
    printed = [out["text"] for cell in nbformat.read(executed, as_version=4).cells for out in cell.get("outputs", [])]
    assert printed == [f"{meant}\n"]
    assert os.environ[name] == typed


def test_in_a_notebook_that_somebody_opens_a_variable_counts_from_the_repository(typed_in, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", "runs")
    monkeypatch.chdir(NOTEBOOKS)
    assert outputs() == ROOT / "runs"


def test_the_options_data_and_logs_mean_the_same(typed_in, monkeypatch):
    home = typed_in.parent / "home"
    for folder in (typed_in / "data", home / "data"):
        folder.mkdir()
    assert parse_source("path:data").folder == typed_in / "data"
    assert parse_source("path:~/data").folder == home / "data"
    assert find_logs("data") == typed_in / "data" and find_logs("~/data") == home / "data"
    assert parse_source("d4rl").folder == home / ".d4rl" / "datasets"
    with pytest.raises(ValueError, match=rf"there is no folder {typed_in}/nothing"):
        parse_source("path:nothing")


def test_a_home_that_is_not_known_is_an_error_in_words(typed_in, monkeypatch, capsys):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", "~nobody-here/runs")
    assert main(["plan", "table6", "--preset", "smoke"]) == 1
    assert capsys.readouterr().err.startswith("error: SYNTHLIB_OUTPUTS: '~nobody-here/runs' starts with a home folder")
