"""A column of pre-trainings against the same ones one by one, and real ones through the loop."""

import copy
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._pytree import tree_leaves

from synthlib.dt import pretraining_column, pretraining_jobs
from synthlib.dt.dropout import KeyedBits
from synthlib.dt.pretraining import GPT2Pretraining, logits
from synthlib.dt.pretraining_column import Column, ColumnOfGPT2
from synthlib.dt.pretraining_fast import fast_logits
from synthlib.dt.pretraining_jobs import pretraining_job
from synthlib.kernels import philox
from synthlib.machine.devices import chosen
from synthlib.runs.store import Store
from tests.common import (
    DT_SETTINGS,
    META,
    SMALL_ARM,
    SMALL_GPT2,
    OnePlace,
    assert_equal_weights,
    pretrained_together,
)

KEYS = (11, 2**63 + 12, 13)
CONFIG = replace(SMALL_GPT2, schedule_updates=400, width=16, layers=2)
PARTS = 2  # micro-batches of an update


@pytest.fixture(autouse=True)
def two_parts(monkeypatch):
    monkeypatch.setattr(pretraining_column, "default_micro_batch", lambda config, times: config.batch_size // PARTS)


class Alone(GPT2Pretraining):
    """By itself, with the readable forward pass and the dropout that its key names."""

    key = 0

    @contextmanager
    def generators(self):
        keys = philox.keys([self.key], self.device)
        drawn = philox.keys_of_update(keys, torch.tensor([self.updates], device=self.device), PARTS)
        yield [KeyedBits(drawn[0, part : part + 1]) for part in range(PARTS)]


def made(key, kind=GPT2Pretraining, dtype=torch.float64, device=None, forward=fast_logits, **changes):
    """The pre-training of a seed and tokens of its own."""
    config = replace(CONFIG, seed=key % 100, **changes)

    def batches(update):
        drawn = np.random.default_rng([key % 100, update]).integers(config.vocabulary, size=(4, config.sequence_length))
        drawn[:, 1::2] = drawn[:, ::2]  # something to learn
        return drawn

    options = {"micro_batch": config.batch_size // PARTS, "device": device or chosen()}
    training = kind(config, batches, forward, **options)
    training.model.to(dtype)
    training.key = key
    return training


def advanced(keys, updates, **options):
    trainings = [made(key, **options) for key in keys]
    run = Column(trainings, keys)
    for _ in range(updates):
        run.update()
    return trainings, run.settle()[0]["loss"]


def largest_difference(one, other):
    """Of weights and moments."""
    parts = []
    for training in (one, other):
        state = training.state_dict()
        moments = state["optimiser"]["state"]
        assert {adam["step"] for adam in moments.values()} == {training.updates}
        parts.append(state["model"] | {(at, name): moments[at][name] for at in moments for name in ("first", "second")})
    assert parts[0].keys() == parts[1].keys()
    return max(float((value - parts[1][name]).abs().max()) for name, value in parts[0].items())


@pytest.mark.device
@pytest.mark.parametrize(
    ("objective", "updates"),
    [pytest.param("next_token", 200, marks=pytest.mark.slow), ("next_token", 20), ("mapping", 20)],
)
def test_a_column_is_its_pretrainings_one_by_one(objective, updates):
    together, sums = advanced(KEYS, updates, objective=objective)
    for place, key in enumerate(KEYS):
        alone = made(key, Alone, forward=logits, objective=objective)
        losses = [float(alone.update(alone.batches(update))) for update in range(updates)]
        assert sums[place] == pytest.approx(sum(losses), rel=1e-9)
        assert together[place].updates == alone.updates == updates
        assert largest_difference(together[place], alone) < 1e-10
        assert updates < 200 or losses[-1] < losses[0] - 0.3


@pytest.mark.device
def test_a_pretraining_does_not_depend_on_its_neighbours():
    three, _ = advanced(KEYS, 20)
    one, _ = advanced(KEYS[1:2], 20)
    assert largest_difference(three[1], one[0]) < 1e-12


@pytest.mark.device
def test_a_resumed_column_is_one_that_never_stopped():
    whole, _ = advanced(KEYS, 25, dtype=torch.float32)
    half, _ = advanced(KEYS, 13, dtype=torch.float32)
    resumed = [made(key, dtype=torch.float32) for key in KEYS]
    for training, saved in zip(resumed, half, strict=True):
        training.load_state_dict(copy.deepcopy(saved.state_dict()))
    run = Column(resumed, KEYS)
    for _ in range(12):
        run.update()
    run.settle()
    for one, other in zip(whole, resumed, strict=True):
        assert one.updates == other.updates == 25
        assert largest_difference(one, other) == 0.0


@pytest.mark.parametrize("objective", ["next_token", "identity", "mapping"])
def test_a_column_stays_on_the_device_and_asks_for_no_number(objective):
    trainings = [made(key, dtype=torch.float32, device=META, objective=objective) for key in KEYS]
    run = Column(trainings, KEYS)
    with OnePlace():
        for _ in range(12):  # beyond what is drawn ahead
            run.update()


def test_a_stacked_pretraining_saves_itself_only():
    trainings, _ = advanced(KEYS, 1)
    tensors = [leaf for leaf in tree_leaves(trainings[0].state_dict()) if isinstance(leaf, torch.Tensor)]
    assert all(leaf.untyped_storage().nbytes() == leaf.nbytes for leaf in tensors)


ARMS = [{"chain": {"states": 30, "order": order}} for order in (1, 2)] + [{"chain": {"states": 30, "kind": "iid"}}]


def together(trainings):
    keys = [training.key for training in trainings]
    return ColumnOfGPT2(trainings, keys, trainings[0].every, type(trainings[0]).validate_now)


def test_arms_are_pretrained_as_a_column_with_all_that_others_start_from(outputs):
    settings = DT_SETTINGS | {"pretraining_scale": 0.0005}
    jobs = [pretraining_job(SMALL_ARM | arm | {"pretraining_updates": 60_000}, settings) for arm in ARMS]
    assert jobs[0].updates == 30 and jobs[0].keep == (0, 5, 10, 20, 30)
    whole, cut = Store(outputs / "whole"), Store(outputs / "cut")
    rows = pretrained_together(jobs, whole, together)
    for one in rows:
        assert list(one["updates"]) == list(range(1, 31)) and np.isfinite(one["validation_loss"]).all()
        assert np.isfinite(one["loss"][9::10]).all()
    pretrained_together(jobs, cut, together, stop=15)
    assert all(cut.updates_done(job) == 20 for job in jobs)
    for one, other in zip(rows, pretrained_together(jobs, cut, together), strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert_equal_weights(jobs, whole, cut)


def test_on_a_gpu_arms_with_one_vocabulary_are_alike(monkeypatch):
    def alike(**arm):
        job = pretraining_job(SMALL_ARM | arm, DT_SETTINGS)
        return pretraining_jobs.PRETRAINING.alike(job), job.config

    orders = [alike(chain={"states": 30, "order": order}, pretraining_seed=order) for order in (1, 2)]
    assert all(found == config for found, config in orders)  # a processor trains one after the other
    monkeypatch.setattr(pretraining_jobs, "chosen", lambda: META)
    first, second = (alike(chain={"states": 30, "order": order}, pretraining_seed=order)[0] for order in (1, 2))
    assert first == second
    assert first != alike(chain={"states": 31})[0] and first != alike(chain={"states": 30}, objective="mapping")[0]


def test_a_pretraining_that_diverges_is_named(outputs):
    trainings = [made(key) for key in KEYS]
    with torch.no_grad():
        trainings[1].model.transformer.ln_f.weight[0] = float("inf")
    run = ColumnOfGPT2(trainings, KEYS, every=100, validate=lambda training: None)
    seed = trainings[1].config.seed
    with pytest.raises(FloatingPointError, match=f"seed {seed} of 3 stacked ones .*a loss before update 10 is nan"):
        run.run(20)
