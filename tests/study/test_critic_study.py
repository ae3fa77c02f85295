import math

import numpy as np
import pandas as pd
import pytest

from synthlib.cql.jobs import pretraining_job
from synthlib.generators.mdp import MDPConfig
from synthlib.paths import store_root
from synthlib.runs.store import Store
from synthlib.study import critic_study
from synthlib.study.params import load_artefact
from synthlib.study.presets import load_preset

SMALL = {
    "mdp": MDPConfig(states=6, trajectories=10),
    "iid": MDPConfig(kind="iid", states=6, trajectories=10),
}


@pytest.mark.parametrize(("table", "arm"), [("table7", "tau=0.01"), ("table7", "CQL+IID"), ("table6", "S=1000")])
def test_the_critics_are_those_of_the_tables(table, arm):
    theirs = pretraining_job("walker2d", load_artefact(table).arms[arm], load_preset("paper", "cql"))
    ours = critic_study.job_of(critic_study.kinds()[arm], [1_000, 100_000])
    assert ours.key == theirs.key and ours.updates == theirs.updates and set(ours.keep) < set(theirs.keep)


def test_the_default_mdp_s_critic_is_published():
    default = critic_study.kinds()["tau=1"]
    assert default == MDPConfig()
    assert Store(store_root()).is_published(critic_study.job_of(default, [1_000, 10_000, 40_000, 100_000]))


def test_the_published_critic_has_learned_a_fifth_of_structure_and_noise_alike():
    """After the paper's 100,000 updates; one answer for all pairs would be nearer to the exact centroids."""
    data = {"tau=1": MDPConfig()}
    found = {"tau=1": critic_study.measure(data["tau=1"])}
    learning = critic_study.learning(data, found, [1_000, 100_000]).set_index(["updates", "critic"])
    assert learning.loc[(1_000, "q1"), "structure"] < 0.01
    for critic in ("q1", "q2"):
        last = learning.loc[(100_000, critic)]
        assert 0.15 < last["structure"] < 0.25 and 0.15 < last["noise"] < 0.25
        assert last["error_to_exact"] > 2 * 0.000277


@pytest.mark.slow
def test_critics_are_trained_once_and_looked_at_on_the_way(outputs):
    found = {name: critic_study.measure(data) for name, data in SMALL.items()}
    critic_study.train(SMALL, [20, 400], workers=1)
    learning = critic_study.learning(SMALL, found, [20, 400])
    assert len(learning) == 2 * 2 * 2 and set(learning["updates"]) == {20, 400}
    means = learning.groupby(["data", "updates"]).mean(numeric_only=True)
    assert means.loc[("mdp", 400), "structure"] > means.loc[("mdp", 20), "structure"] + 0.1
    assert math.isnan(means.loc[("iid", 400), "structure"])
    checkpoint = Store(store_root()).folder(critic_study.job_of(SMALL["mdp"], [20, 400])) / "checkpoint.pt"
    before = checkpoint.stat().st_mtime_ns
    critic_study.train(SMALL, [20, 400], workers=1)
    assert checkpoint.stat().st_mtime_ns == before


def test_a_sweep_changes_one_thing():
    table = critic_study.sweep(SMALL["mdp"], {count: {"trajectories": count} for count in (10, 100)})
    assert isinstance(table, pd.DataFrame) and table["value"].tolist() == [10, 100]
    np.testing.assert_allclose(table["expected_noise"], table["noise"], rtol=0.3)
    assert table["noise"].iloc[0] > 5 * table["noise"].iloc[1]
    assert table["exact"].iloc[0] == pytest.approx(table["exact"].iloc[1], rel=0.05)
