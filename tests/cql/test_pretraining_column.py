"""A column of critic pre-trainings against the same ones one by one, and real ones through the loop."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._pytree import tree_leaves

from synthlib.cql import jobs as cql_jobs
from synthlib.cql import memory, pretraining_column
from synthlib.cql import pretraining as critic_pretraining
from synthlib.cql.jobs import pretraining_job
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.cql.pretraining_column import Column, ColumnOfCritics
from synthlib.cql.pretraining_fast import FastCriticPretraining
from synthlib.generators.drawn import transitions
from synthlib.generators.mdp import MDPConfig
from synthlib.generators.registry import Generated
from synthlib.kernels.memory import Counted
from synthlib.machine.devices import chosen
from synthlib.runs.store import Store
from synthlib.study.algorithms import training as training_of
from synthlib.study.params import load_artefact
from tests.common import META, SMOOTH, OnePlace, assert_equal_weights, pretrained_together

BASE = CriticPretrainingConfig(5, 3, MDPConfig(trajectories=4, length=50), batch_size=16, hidden=(24, 40))


def of_data(*data, seed=42):
    return [replace(BASE, mdp=one, seed=seed + place) for place, one in enumerate(data)]


def mdp(**changes):
    return replace(BASE.mdp, **changes)


ARMS = of_data(
    mdp(states=10, actions=10),
    mdp(states=100),
    mdp(states=1000, actions=1000, trajectories=3),
    mdp(kind="iid"),
    SMOOTH,
)
"""Arms with equal widths: other sizes, other numbers of transitions, and the vectors of a generator."""
PAIRS = of_data(mdp(kind="identity", states=50), mdp(kind="mapping", states=30))
"""Arms that predict a state and an action."""


@pytest.fixture(autouse=True)
def own_outputs(outputs):
    """The generator's data go there."""


@pytest.fixture(autouse=True)
def few_drawn_ahead(monkeypatch):
    monkeypatch.setattr(pretraining_column, "DRAWN_AHEAD", 7)


def made(config, kind=FastCriticPretraining, dtype=torch.float64, device=None):
    data, tables = None, None
    if isinstance(config.mdp, Generated):
        data, tables = transitions(config.mdp, config.observation_width, config.action_width)
    return kind(config, data, device or chosen(), dtype, tables)


def advanced(configs, updates, **options):
    trainings = [made(config, **options) for config in configs]
    column = ColumnOfCritics(trainings)
    column.run(updates)
    column.settle()
    return trainings


def state(training):
    """Weights, moments, losses and the generator, as tensors."""
    return tree_leaves(training.state_dict())


def differences(one, other):
    """The largest difference in weights, and in each moment."""
    first, second = one.state_dict(), other.state_dict()
    assert first["updates"] == second["updates"] and first["weights"].keys() == second["weights"].keys()
    weights = [(first["weights"][name] - second["weights"][name]).abs().max() for name in first["weights"]]
    moments = [(first[name] - second[name]).abs().max() for name in ("first_moment", "second_moment")]
    return max(map(float, weights)), *map(float, moments)


@pytest.mark.device
@pytest.mark.parametrize(("configs", "hidden"), [(ARMS, (24, 40)), (PAIRS, (24, 40)), (ARMS[:2], (16, 24, 8))])
def test_a_column_is_its_pretrainings_one_by_one(configs, hidden):
    configs = [replace(config, hidden=hidden) for config in configs]
    for training, config in zip(advanced(configs, 200), configs, strict=True):
        alone = made(config, CriticPretraining)
        alone.run(200)
        assert max(differences(training, alone)) < 1e-10
        assert [row["updates"] for row in training.losses] == [100, 200]
        for row, expected in zip(training.losses, alone.losses, strict=True):
            assert row == pytest.approx(expected, rel=1e-9)
        for found, expected in zip(training.batches.get_state(), alone.batches.get_state(), strict=True):
            assert np.array_equal(found, expected)


@pytest.mark.device
def test_a_pretraining_does_not_depend_on_its_neighbours():
    several, one = advanced(ARMS, 20), advanced(ARMS[1:2], 20)
    assert max(differences(several[1], one[0])) < 1e-12


@pytest.mark.device
def test_a_resumed_column_is_one_that_never_stopped():
    options = {"dtype": torch.float32}
    whole, half = advanced(ARMS, 120, **options), advanced(ARMS, 59, **options)
    resumed = [made(config, **options) for config in ARMS]
    for training, saved in zip(resumed, half, strict=True):
        training.load_state_dict(copy.deepcopy(saved.state_dict()))
    column = ColumnOfCritics(resumed)
    column.run(120)
    column.settle()
    for one, other in zip(whole, resumed, strict=True):
        assert one.losses == other.losses and len(one.losses) == 1
        pairs = list(zip(state(one), state(other), strict=True))
        assert all(torch.equal(*pair) if isinstance(pair[0], torch.Tensor) else pair[0] == pair[1] for pair in pairs)


@pytest.mark.parametrize("configs", [ARMS, PAIRS])
def test_a_column_stays_on_the_device_and_asks_for_no_number(configs):
    column = Column([made(config, dtype=torch.float32, device=META) for config in configs])
    with OnePlace():
        for _ in range(9):  # beyond what is drawn ahead
            column.update()


def test_a_stacked_pretraining_saves_itself_only():
    training = advanced(ARMS[:2], 1)[0]
    tensors = [leaf for leaf in state(training) if isinstance(leaf, torch.Tensor)]
    assert all(leaf.untyped_storage().nbytes() == leaf.nbytes for leaf in tensors)


def test_a_pretraining_that_diverges_is_named():
    trainings = [made(config) for config in ARMS[:3]]
    with torch.no_grad():
        trainings[1].trained[0] = float("inf")
    with pytest.raises(FloatingPointError, match=r"mdp, 100 states, seed 43, of 3 stacked ones .*before update 100"):
        ColumnOfCritics(trainings).run(100)


def test_a_column_cannot_go_back():
    column = ColumnOfCritics([made(config) for config in ARMS[:2]])
    column.run(3)
    with pytest.raises(ValueError, match="3 updates and cannot go back to 2"):
        column.run(2)


SETTINGS = {"pretraining_scale": 0.0003, "mdp_trajectories": 2}


def jobs_of(environment="hopper", hidden=(256, 256), **settings):
    """The pre-trainings of Tables 6 and 7: all sizes, temperatures, and IID."""
    arms = [arm for table in ("table6", "table7") for arm in load_artefact(table).arms.values()]
    wanted = [arm | {"cql": {"hidden": hidden}} for arm in arms if not {"pretraining", "pretraining_updates"} & {*arm}]
    jobs = (pretraining_job(environment, arm, SETTINGS | settings) for arm in wanted)
    return list({job.key: job for job in jobs}.values())


def test_all_arms_of_a_robots_widths_are_alike_on_a_gpu(monkeypatch):
    jobs = jobs_of()
    assert [training_of(job).alike(job) for job in jobs] == [job.config for job in jobs]  # one after the other
    monkeypatch.setattr(cql_jobs, "chosen", lambda: META)
    assert len(jobs) >= 6
    alike, *others = (training_of(job).alike(job) for job in jobs)
    assert all(one == alike for one in others)
    for other in (
        pretraining_job("ant", {}, SETTINGS),
        pretraining_job("hopper", {"cql": {"hidden": [32, 32]}}, SETTINGS),
        pretraining_job("hopper", {"mdp": {"kind": "identity", "states": 50}}, SETTINGS),
    ):
        assert training_of(other).alike(other) != alike
    group = cql_jobs._pretrained_together([made(config, device=META, dtype=torch.float32) for config in ARMS[:2]])
    assert isinstance(group, ColumnOfCritics)


def test_arms_are_pretrained_as_a_column_with_all_that_others_start_from(outputs, monkeypatch):
    monkeypatch.setattr(critic_pretraining, "LOG_EVERY", 10)
    jobs = [job for job in jobs_of(hidden=(32, 32), pretraining_scale=0.0004) if job.config["mdp"]["states"] <= 1000]
    assert jobs[0].updates == 40 and jobs[0].keep == (0, 4, 16, 40) and len(jobs) >= 4
    whole, cut, alone = (Store(outputs / name) for name in ("whole", "cut", "alone"))
    rows = pretrained_together(jobs, whole, ColumnOfCritics)
    assert all(list(one["updates"]) == list(range(10, 41, 10)) for one in rows)
    pretrained_together(jobs, cut, ColumnOfCritics, stop=25)
    assert all(cut.updates_done(job) == 30 for job in jobs)
    for one, other in zip(rows, pretrained_together(jobs, cut, ColumnOfCritics), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert_equal_weights(jobs, whole, cut)
    (expected,) = pretrained_together(jobs[:1], alone, training_of(jobs[0]).together)  # as a processor trains it
    pd.testing.assert_frame_equal(rows[0], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mdp", "identity", "mapping"])
def test_the_memory_of_a_critic_has_its_data(kind):
    config = replace(BASE, mdp=mdp(kind=kind, states=30, actions=20))

    def peak(count):
        with Counted() as counted:
            column = memory.pretraining_column_of(count, config, META)
            for _ in range(2):
                column.update()
        return counted.peak

    found, small = (
        memory.critics(config),
        memory.critics(replace(BASE, mdp=mdp(kind=kind, states=1, actions=1, trajectories=1, length=1))),
    )
    assert found.data > small.data
    assert peak(4) - peak(2) == pytest.approx(2 * (found.total - small.data), abs=64)
    weights = sum(weight.numel() for weight in tree_leaves(made(config).critics()))
    assert found.weights == 4 * weights
    assert found.moments == 8 * made(config).trained.numel()


def test_the_largest_state_space_takes_the_most():
    by_states = {
        job.config["mdp"]["states"]: training_of(job).memory(job)
        for job in jobs_of("halfcheetah", mdp_trajectories=1000)
    }
    sizes = [found.data for found in by_states.values()]
    assert 12e6 < min(sizes) < max(sizes) < 25e6
