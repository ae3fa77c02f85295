"""What a pre-training's loss is held against, and the picture that does it."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

from synthlib.paths import store_root
from synthlib.report.guess_lines import guess_line
from synthlib.report.pretraining_curves import pretraining_curves, pretraining_learned
from synthlib.runs.store import Store
from synthlib.study.plan import make_plan


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def jobs(name):
    return {cell.arm: job for cell in make_plan(name, "quick", "replica").cells for job in cell.job.requires}


def test_ten_states_start_from_a_lower_guess_than_a_hundred_or_a_thousand():
    lines = {arm: guess_line(jobs("table6")[arm]) for arm in ("S=10", "S=100", "S=1000")}
    assert [round(line.guess, 3) for line in lines.values()] == [0.572, 0.685, 0.670]
    assert all(line.floor < line.guess for line in lines.values())
    assert lines["S=100"].guess - lines["S=100"].floor < 0.001  # nearly nothing can be known beforehand


def test_the_chains_guess_and_floor_are_its_entropies_and_iid_has_nothing_between():
    chain, iid = guess_line(jobs("table4")["tau=1"]), guess_line(jobs("table4")["IID uniform"])
    assert chain == pytest.approx((4.605, 4.565), abs=0.001)  # faithfulness 1.10
    assert iid == (math.log(100), math.log(100))
    assert guess_line(jobs("table4")["tau=0.01"]).floor == pytest.approx(1.019, abs=0.001)


def test_of_a_text_nobody_knows_the_guess():
    assert np.isnan(guess_line(jobs("table1")["DT+Wiki"])).all()


def test_the_curves_are_drawn_below_each_arms_own_guess(tmp_path, monkeypatch):
    """Two arms that end equally far below their guesses end at equal heights, whatever their losses."""
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path))
    plan, store = make_plan("table6", "quick", "replica"), Store(store_root())
    for arm in ("S=10", "S=1000"):
        job = jobs("table6")[arm]
        ends = [guess_line(job).guess - learned for learned in (-0.1, 0.01)]
        rows = [{"updates": n, "qf1_loss": end / 2, "qf2_loss": end / 2} for n, end in enumerate(ends, 1)]
        with store.open(job).recording_failure() as session:
            session.save({}, 2, losses=rows)
    learned = pretraining_learned(plan)
    assert learned["learned"].to_numpy() == pytest.approx([0.01, 0.01])
    assert learned["end"].iloc[0] < learned["end"].iloc[1] - 0.05
    figure, alt = pretraining_curves(plan)
    ends = [line.get_ydata()[-1] for line in figure.axes[0].get_lines() if line.get_label().startswith("S=")]
    assert ends == pytest.approx([-0.01, -0.01]) and "S=10 0.0100" in alt and "S=1000 0.0100" in alt
    assert figure.axes[0].get_ylabel() == "loss minus its own guess"
