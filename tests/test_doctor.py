"""The doctor reads the data that were asked for as the trainings would, and ends with the command to type."""

import numpy as np
import pytest

from synthlib.doctor import examine
from tests.common import toy_file


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def lines_of(capsys):
    return capsys.readouterr().out.splitlines()


def test_the_embedded_replica_is_ready(capsys):
    assert examine() == 0
    lines = lines_of(capsys)
    assert "  ok       data: 16 data sets of replica were read and can be trained on" in lines  # the experts too
    assert lines[-1] == "ready: make reproduce-table6"


def test_a_data_set_that_the_command_needs_must_be_there(random_hopper_data, capsys):
    assert examine(random_hopper_data) == 1
    lines = lines_of(capsys)
    assert any(line.startswith("  PROBLEM  data: halfcheetah-medium: no halfcheetah_medium") for line in lines)
    assert lines[-1] == f"not ready: data (see above); then: make reproduce-table6 DATA={random_hopper_data}"
    assert examine(random_hopper_data, "smoke") == 0
    assert lines_of(capsys)[-1] == f"ready: make reproduce-table6 DATA={random_hopper_data} PRESET=smoke"


def test_every_file_is_read_also_one_that_the_command_does_not_need(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my data"
    folder.mkdir()
    toy_file(folder / "hopper_medium_expert-v2.hdf5")
    path = folder / "ant_medium-v2.hdf5"
    toy_file(path, rows=3000, widths=(27, 8))
    whole = path.read_bytes()
    path.write_bytes(whole[:20_000] + bytes(64) + whole[20_064:])
    assert examine(f"path:{folder}", "smoke") == 1
    lines = lines_of(capsys)
    assert [line for line in lines if "PROBLEM" in line] == [
        line for line in lines if line.startswith(f"  PROBLEM  data: {path} (") and "it is damaged" in line
    ]
    assert lines[-1].endswith("then: make reproduce-table6 DATA='path:my data' PRESET=smoke")


def test_data_of_the_users_own_are_read_too_and_a_name_that_is_none_is_told(tmp_path, capsys):
    toy_file(tmp_path / "hopper_medium_expert-v2.hdf5")
    toy_file(tmp_path / "hopper-own-second_v1.h5", rewards=np.full(30, np.nan, np.float32))
    toy_file(tmp_path / "Hopper_medium.hdf5")
    assert examine(f"path:{tmp_path}", "smoke") == 1
    lines = lines_of(capsys)
    (problem,) = (line for line in lines if "PROBLEM" in line)
    assert problem.startswith(f"  PROBLEM  data: {tmp_path}/hopper-own-second_v1.h5: rewards hold NaN")
    assert f"  ok       data: 1 data set of path:{tmp_path} was read and can be trained on" in lines
    assert [line for line in lines if "Hopper" in line][-1].endswith("for data of your own: Hopper_medium.hdf5")


def test_a_folder_that_is_not_there_is_one_line(capsys):
    assert examine("path:/no/such/folder") == 1
    lines = lines_of(capsys)
    assert sum("PROBLEM" in line for line in lines) == 1
    assert "  PROBLEM  data: data source 'path:/no/such/folder': there is no folder /no/such/folder" in lines


def test_official_files_that_are_not_there_are_fetched_by_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    assert examine("d4rl", "smoke") == 0
    lines = lines_of(capsys)
    assert f"  ok       data: official files to be fetched into {tmp_path}: 1, 0.30 GB" in lines
    assert lines[-1] == "ready: make reproduce-table6 DATA=d4rl PRESET=smoke"
    toy_file(tmp_path / "hopper_medium-v2.hdf5")
    assert examine("d4rl", "smoke") == 1
    assert "hopper_medium-v2.hdf5 is not D4RL's hopper_medium-v2.hdf5: it has" in capsys.readouterr().out
