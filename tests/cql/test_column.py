"""A column of runs against the same runs one by one, with its own noise; and what must not depend on neighbours."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from synthlib.cql import column
from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.batches import Noise
from synthlib.cql.column import Column, Member, device_noise
from synthlib.kernels import philox
from synthlib.kernels.twins import best
from synthlib.machine import devices
from synthlib.machine.devices import CPU
from synthlib.offline.datasets import CQLData, Transitions
from tests.common import META, OnePlace, largest_difference

BATCH = 16


@pytest.fixture(autouse=True)
def few_drawn_ahead(monkeypatch):
    monkeypatch.setattr(column, "DRAWN_AHEAD", 7)


def data_of(seed, rows=60):
    """Transitions of widths 5 and 3 as CQL reads them, in an order of their own."""
    rng = np.random.default_rng(seed)
    observations, actions = rng.normal(size=(rows + 1, 5)), np.tanh(rng.normal(size=(rows + 1, 3)))
    dataset = SimpleNamespace(
        observations=observations.astype(np.float32),
        actions=actions.astype(np.float32),
        rewards=rng.normal(size=rows + 1).astype(np.float32),
        terminals=rng.random(rows + 1) < 0.2,
    )
    return CQLData(
        dataset, rng.permutation(rows).astype(np.int32), q_max=0.1 + seed, generator=np.random.RandomState(0)
    )


def members(keys=(11, 2**63 + 12, 13, 14), dtype=torch.float64, device=None, hidden=(24, 40)):
    """Two seeds on each of two data sets, whose caps of safe-Q differ."""
    config = CQLConfig(hidden=hidden, temperature=0.5, target_rate=0.05)
    device, data = device or devices.chosen(), [data_of(0), data_of(1, rows=90)]

    def member(key):
        own, options = data[key % 2], {"dtype": dtype, "device": device}
        return Member(best(CQL, config)(5, 3, config, q_max=own.q_max, seed=key % 100, **options), own, key)

    return [member(key) for key in keys]


def update_alone(member, updates):
    """The agent's losses, updated by itself with its data set's minibatches and the noise that its key names."""
    losses, device = [], member.agent.log_alpha.device
    for _ in range(updates):
        number = torch.tensor([member.agent.updates], device=device)
        noise = device_noise(philox.keys([member.key], device), number, BATCH, 3, 3)
        batch = (value.double() for value in devices.put(device, *member.data.draw(BATCH)))
        losses.append(member.agent.update(Transitions(*batch), Noise(*(value[0].double() for value in noise))))
    return losses


@pytest.mark.device
@pytest.mark.parametrize("updates", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_a_column_is_its_runs_one_by_one(updates):
    together = members()
    run = Column(together, BATCH)
    for _ in range(updates):
        run.update()
    sums, last = run.settle()
    for place in range(4):
        alone = members()[place]  # with a generator of its own
        losses = update_alone(alone, updates)
        assert sums.keys() == losses[0].keys()
        for name, values in sums.items():
            assert values[place] == pytest.approx(sum(float(row[name]) for row in losses), rel=1e-9, abs=1e-9), name
        assert last["qf_loss_total"][place] == pytest.approx(float(losses[-1]["qf_loss_total"]), rel=1e-9)
        assert together[place].agent.updates == alone.agent.updates
        for part in ("weights", "first_moments", "second_moments"):
            assert largest_difference(together[place].agent, alone.agent, part) < 1e-10, part


def test_the_generators_of_minibatches_stand_where_a_run_alone_leaves_them():
    together, alone = members(), members()[0]
    run = Column(together, BATCH)
    for updates in (5, 4):  # the second one crosses the end of what was drawn ahead
        for _ in range(updates):
            run.update()
            alone.data.draw(BATCH)
        run.settle()
    for found, expected in zip(together[0].data.generator.get_state(), alone.data.generator.get_state(), strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.device
def test_a_run_does_not_depend_on_its_neighbours():
    four, one = members(), members(keys=(13,))
    runs = Column(four, BATCH), Column(one, BATCH)
    for run in runs:
        for _ in range(20):
            run.update()
        run.settle()
    assert largest_difference(four[2].agent, one[0].agent, "weights") < 1e-12


@pytest.mark.device
def test_a_resumed_column_is_one_that_never_stopped():
    through, first = members(dtype=torch.float32), members(dtype=torch.float32)
    whole, half = Column(through, BATCH), Column(first, BATCH)
    for _ in range(20):
        whole.update()
    for _ in range(9):
        half.update()
    half.settle()
    second = members(dtype=torch.float32)
    for member, saved in zip(second, first, strict=True):
        member.agent.load_state_dict(copy.deepcopy(saved.agent.state_dict()))
        member.data.generator.set_state(saved.data.generator.get_state())
    resumed = Column(second, BATCH)
    for _ in range(11):
        resumed.update()
    whole.settle()
    resumed.settle()
    for one, other in zip(through, second, strict=True):
        for part in ("weights", "first_moments", "second_moments"):
            assert largest_difference(one.agent, other.agent, part) == 0.0, part


@pytest.mark.parametrize("hidden", [(24, 40), (24, 24, 24)])
def test_a_column_stays_on_the_device_and_asks_for_no_number(hidden):
    run = Column(members(dtype=torch.float32, device=META, hidden=hidden), BATCH)
    with OnePlace():
        for _ in range(3):
            run.update()


@pytest.mark.device
def test_noise_is_that_of_the_key_and_the_update():
    def drawn(keys, update):
        device = devices.chosen()
        return device_noise(philox.keys(keys, device), torch.tensor([update], device=device), BATCH, 3, 3)

    both, alone, later = drawn([3, 4], 9), drawn([4], 9), drawn([4], 10)
    for pair, one, other in zip(both, alone, later, strict=True):
        assert torch.equal(pair[1], one[0]) and not torch.equal(one, other) and not torch.equal(pair[0], one[0])
    assert [tuple(value.shape[1:]) for value in both] == [(16, 3), (16, 3), (16, 3, 3), (16, 3, 3), (16, 3, 3)]


def test_the_noise_has_the_distributions_of_the_processors():
    noise = device_noise(philox.keys([0, 1], CPU), torch.tensor([0]), 256, 6, 3)
    normal = torch.cat([value.flatten() for value in (noise.policy, noise.target, noise.current, noise.next)]).numpy()
    assert stats.kstest(normal, "norm").pvalue > 0.01
    assert stats.kstest(noise.uniform.flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert np.corrcoef(noise.policy.flatten(), noise.target.flatten())[0, 1] == pytest.approx(0, abs=0.06)


def test_put_keeps_places_as_integers():
    (places,) = devices.put(CPU, np.arange(3))
    assert places.dtype == torch.int64
