import json
import os
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from synthlib.bench import choice, columns, cores, measure, page, peer_jax
from synthlib.bench.__main__ import main
from synthlib.bench.choice import lines
from synthlib.bench.lines import OURS, REFERENCE, Contestant, Line, Work
from synthlib.kernels.memory import Footprint
from tests.common import META, ROOT


def toy_line(ours=1, reference=3, **goals):
    """Sorting random numbers: ``reference`` times as long against ``ours`` times."""
    numbers = np.random.default_rng(0).random(20_000)

    def sorting(times):
        return Contestant(lambda: [np.sort(numbers) for _ in range(10 * times)], 10)

    return Line("toy", "sorting", "array", lambda: Work({OURS: sorting(ours), REFERENCE: sorting(reference)}), **goals)


@pytest.mark.slow
def test_ratios_are_of_time_per_unit_and_goals_are_judged_by_the_reference():
    rows = measure.measure(toy_line(must=1.5, aim=2.0), seconds=0.5)
    assert rows["contestant"].tolist() == [OURS, REFERENCE]
    assert rows.loc[0, "ratio"] == 1 and 2 < rows.loc[1, "ratio"] < 4.5
    assert rows["seconds"][1] == pytest.approx(rows.loc[1, "ratio"] * rows["seconds"][0], rel=0.3)
    assert rows["verdict"].unique() == ["aim"] and rows["turns"].min() >= 4
    assert measure.measure(toy_line(must=1.5, aim=9.0), seconds=0.2)["verdict"][0] == "must"
    assert measure.measure(toy_line(must=8.0, aim=9.0), seconds=0.2)["verdict"][0] == "missed"


def test_a_goal_that_is_a_rate_becomes_a_ratio():
    rows = measure.measure(toy_line(must_rate=1.0, aim_rate=1e9), seconds=0.2)
    assert rows["must"][0] == pytest.approx(rows["seconds"][1])
    assert rows["verdict"][0] == "must"


def test_a_share_of_the_floor_that_is_missed_is_no_must():
    line = toy_line(must=1.5, aim=2.0, must_of_floor=0.73, aim_of_floor=0.88)
    counted = Line(**{**vars(line), "build": lambda: line.build()._replace(operations=1.0)})
    rows = measure.measure(counted, seconds=0.2)
    assert rows["verdict"][0] == "missed"
    assert "must 1.5x and limit 0.73, aim 2x and limit 0.88: missed" in page.summary(rows)


def test_all_goals_have_their_line():
    by_name = {line.name: line for line in lines()}
    assert (by_name["cql-3"].must, by_name["cql-ant"].must, by_name["cql-10"].must) == (1.45, 1.65, 1.35)
    assert by_name["gpt2"].reference == "Hugging Face, sdpa"
    assert all(line.must or line.must_rate for line in lines())


def test_one_line_from_command_to_picture(tmp_path, capsys):
    assert main(["--quick", "--only", "critics", "--folder", str(tmp_path)]) == 0
    rows = pd.read_csv(tmp_path / "bench.csv")
    assert rows["contestant"].tolist() == [OURS, "our readable version", REFERENCE]
    assert rows["of_floor"][0] > 0
    assert json.loads((tmp_path / "machine.json").read_text())["threads"] == 1
    table = (tmp_path / "bench.md").read_text()
    assert "| critic pre-training update |" in table and "![Bars of how many times faster ours is." in table
    assert plt.imread(tmp_path / "bench.png").std() > 0.05
    assert "critics: " in capsys.readouterr().out


def test_every_bar_and_goal_is_in_the_picture():
    rows = pd.concat([measure.measure(toy_line(must=1.5, aim=2.0), seconds=0.1)] * 2, ignore_index=True)
    rows.loc[2:, ["line", "title"]] = "other"
    figure, description = page.picture(rows)
    axis = figure.axes[0]
    assert len(axis.patches) == 2 and [label.get_text() for label in axis.get_legend().get_texts()] == ["must", "aim"]
    assert "sorting: " in description and "other: " in description
    plt.close(figure)


def test_a_notebook_compares_in_a_few_seconds():
    table = measure.compare("critics", seconds=0.1)
    assert list(table.index) == [OURS, "our readable version", REFERENCE]
    assert table.loc[OURS, "times as long as ours"] == 1 and table.index.name == "critic pre-training update"


def test_on_a_gpu_only_networks_are_measured_and_there_are_no_goals(monkeypatch):
    for module in (measure, choice):
        monkeypatch.setattr(module, "chosen", lambda: META)
    assert {line.name for line in lines()} == {
        *("cql-3", "cql-10", "cql-ant", "critics", "dt", "gpt2"),
        *("columns", "columns-critics", "columns-dt", "columns-gpt2"),
    }
    rows = pd.DataFrame({"contestant": [OURS, REFERENCE], "is_reference": [False, True], "ratio": [1.0, 2.0]})
    judged = measure._judged(rows, lines()[0])
    assert judged["verdict"].tolist() == ["", ""] and judged["must"].isna().all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("columns", "update of one agent"),
        ("columns-critics", "update of one run"),
        ("columns-dt", "update of one run"),
        ("columns-gpt2", "token"),
    ],
)
def test_columns_of_several_sizes_are_measured_by_the_update_of_one_run(name, unit, monkeypatch):
    monkeypatch.setattr(columns, "RUNS_ON_A_PROCESSOR", (2, 1))
    monkeypatch.setattr(measure, "TURN", 0)
    (line,) = (line for line in columns.lines() if line.name == name)
    rows = measure.measure(line, seconds=0, least_turns=1)
    jax = ["JAX, one agent", "JAX, 2 together"] if name == "columns" and peer_jax.is_there() else []
    assert rows["contestant"].tolist() == [OURS, "a column of 1", line.reference, *jax[::-1]]
    assert rows["unit"][0] == unit and rows["of_floor"][0] > 0 and (rows["seconds"] > 0).all()


def test_a_card_gets_the_columns_that_it_holds(monkeypatch):
    needed = Footprint(weights=1, moments=2, targets=1, update=6)
    monkeypatch.setattr(columns, "chosen", lambda: META)
    for size, expected in ((10_000, columns.RUNS), (2500, (140, 20, 1)), (400, (20, 1)), (5, (1,))):
        monkeypatch.setattr(columns, "memory", lambda device, size=size: size)
        assert columns._that_fit(needed) == expected


def test_the_page_says_what_a_run_takes():
    found = {**Footprint(10**6, 2 * 10**6, 0, 10**7)._asdict(), "from_shapes": 13e6, "measured": 14.2e6}
    sentence = page.memory_sentence("dt", found)
    assert sentence.startswith("* dt: 13 MB from the shapes (weights 1 MB, moments 2 MB, ")
    assert sentence.endswith("14.2 MB measured.")


def test_an_unknown_line_is_named_with_those_that_exist(capsys):
    assert main(["--only", "dqn"]) == 1
    assert "there are: cql-3, " in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_share_the_data_set(outputs, tmp_path):
    assert main(["--quick", "--only", cores.NAME, "--folder", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "machine.json").read_text())["cores_measured"]
    assert set(found["processes"]) == {"1", "2"}
    assert found["scaling"] > 0.5 and found["start_seconds"] > found["start_cpu_seconds"] / 2
    shared = [found["processes"][count]["shared_mb"] for count in ("1", "2")]
    if None not in shared:
        assert shared[1] > shared[0] + 5
    assert "2 processes: " in page.cores_summary(found)


@pytest.mark.slow
def test_a_processor_can_be_held_back():
    """What ``make bench-avx2`` sets is what torch obeys, and the result says so and goes to a folder of its own."""
    makefile = (ROOT / "Makefile").read_text()
    switches = dict(re.findall(r"^bench-avx2: export (\w+) := (\S+)$", makefile, re.MULTILINE))
    assert {"ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS"} == switches.keys()
    code = "from synthlib.bench import __main__, measure; found = measure.machine(); "
    code += "print(found['instructions'], found['command'], __main__.default_folder().name)"
    run = [sys.executable, "-c", code]
    found = subprocess.run(run, env=os.environ | switches, capture_output=True, text=True, check=True).stdout
    assert found.split() == ["AVX2", "make", "bench-avx2", "bench-avx2"]
