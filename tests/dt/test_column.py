"""A column of Decision Transformers against the same runs one by one, and what must not depend on neighbours."""

import copy

import numpy as np
import pytest
import torch

from synthlib.dt import column
from synthlib.dt.clusters import ClusterTerm
from synthlib.dt.column import LOSSES, Column, Member, device_bits, losses_of_update
from synthlib.dt.dropout import draw_dropouts, dropout_factors
from synthlib.dt.finetuning import (
    DTTraining,
    baseline_training,
    cluster_annealing,
    dropout_generator,
    dt_loss,
    model_inputs,
    pretrained_training,
)
from synthlib.dt.model import DecisionTransformer, baseline_config, predict_actions, pretrained_config
from synthlib.dt.windows import BatchBuilder, draw, prepare, update_generators
from synthlib.dt.windows_fast import FastBatchBuilder
from synthlib.kernels import philox
from synthlib.kernels.twins import best
from synthlib.machine import devices
from synthlib.machine.devices import CPU, chosen
from tests.common import META, OnePlace, random_trajectories

KEYS = (11, 2**63 + 12, 13, 14)
SEED_OF = {11: 42, 2**63 + 12: 42, 13: 666, 14: 666}  # with the data sets below, all four have windows of their own
# Numbers that float32 holds exactly: a column has its learning rate in float32, a run alone in float64.
SETTINGS = {"warmup_updates": 32, "learning_rate": 2**-10, "batch_size": 3}
ARMS = {
    "DT": (baseline_config, baseline_training, {}, {}),
    "pre-trained": (pretrained_config, pretrained_training, {}, {}),
    "with text": (pretrained_config, pretrained_training, {}, {"cluster_weight": 0.1}),
    "two heads": (pretrained_config, pretrained_training, {"heads": 2}, {}),
    "long windows": (baseline_config, baseline_training, {"context": 30, "time_before_norm": True}, {}),
}


@pytest.fixture(autouse=True)
def few_drawn_ahead(monkeypatch):
    monkeypatch.setattr(column, "DRAWN_AHEAD", 7)


def members(arm="pre-trained", keys=KEYS, dtype=torch.float64, device=None, kind=FastBatchBuilder):
    """Two seeds on each of two data sets, whose trajectories have other lengths: shorter and longer than a window."""
    config_of, training_of, model, settings = ARMS[arm]
    config, device = config_of(4, 2, width=16, layers=2, **model), device or chosen()
    data = [prepare(random_trajectories(lengths, seed=len(lengths))) for lengths in ([3, 40, 25], [30, 5, 60, 7])]
    builders = [kind(one, **config.window) for one in data]

    def member(key):
        net = DecisionTransformer(config, key % 100).to(device, dtype)
        # The baseline's time embedding is large, and an update of it would hide in rounding.
        term = torch.randn(7, 16, generator=torch.Generator().manual_seed(key % 100)).to(dtype)
        term = ClusterTerm(*(part.to(device) for part in ClusterTerm.of(term))) if settings else None
        training = DTTraining(net, training_of(**SETTINGS, **settings), best(predict_actions, config), term)
        return Member(training, builders[key % 2], SEED_OF[key], key)

    return [member(key) for key in keys]


def update_alone(member, updates):
    """The losses of a training by itself, with its own windows and the dropout factors that its key names."""
    training, losses = member.training, []
    device = training.model.ln_f.weight.device
    for update in range(training.updates, training.updates + updates):
        windows = draw(member.builder.data, SETTINGS["batch_size"], *update_generators(member.seed, update))
        inputs, _ = model_inputs(training.model, member.builder.batch(*windows), None)
        bits = device_bits(philox.keys([member.key], device), torch.tensor([update], device=device))
        size = SETTINGS["batch_size"], training.model.config.context
        dropouts = draw_dropouts(training.model.config, *size, bits, device)
        dropouts = torch.utils._pytree.tree_map(lambda factors: factors[0], dropouts)
        annealing = cluster_annealing(update + 1)
        both = dt_loss(
            training.model, training.config, annealing, inputs, dropouts, training.predict, training.cluster_term
        )
        losses.append(losses_of_update(training.step(*both)))
    return losses


def largest_difference(one, other):
    states = [torch.utils._pytree.tree_leaves(training.state_dict()) for training in (one, other)]
    pairs = zip(*states, strict=True)
    return max(float((first - second).abs().max()) for first, second in pairs if isinstance(first, torch.Tensor))


@pytest.mark.device
@pytest.mark.parametrize(
    ("arm", "updates"),
    [
        ("pre-trained", 40),  # the learning rate's warm-up ends on the way
        ("DT", 20),
        ("with text", 20),
        ("two heads", 20),
        pytest.param("pre-trained", 200, marks=pytest.mark.slow),
    ],
)
def test_a_column_is_its_runs_one_by_one(arm, updates):
    together = members(arm)
    run = Column(together)
    for _ in range(updates):
        run.update()
    sums, last = run.settle()
    for place in (0, 1, 2, 3) if updates < 200 else (0, 3):
        alone = members(arm, kind=BatchBuilder)[place]
        losses = update_alone(alone, updates)
        assert sums.keys() == losses[0].keys() == LOSSES.keys()
        for name, values in sums.items():
            assert values[place] == pytest.approx(sum(float(row[name]) for row in losses), rel=1e-9), name
            assert last[name][place] == pytest.approx(float(losses[-1][name]), rel=1e-9), name
        assert together[place].training.updates == alone.training.updates == updates
        assert largest_difference(together[place].training, alone.training) < 1e-10


@pytest.mark.device
def test_a_run_does_not_depend_on_its_neighbours():
    four, one = members(), members(keys=(13,))
    runs = Column(four), Column(one)
    for run in runs:
        for _ in range(20):
            run.update()
        run.settle()
    assert largest_difference(four[2].training, one[0].training) < 1e-12


@pytest.mark.device
@pytest.mark.parametrize("arm", ["DT", "pre-trained"])
def test_a_resumed_column_is_one_that_never_stopped(arm):
    through, first = (members(arm, dtype=torch.float32) for _ in range(2))
    whole, half = Column(through), Column(first)
    for _ in range(20):
        whole.update()
    for _ in range(9):
        half.update()
    half.settle()
    second = members(arm, dtype=torch.float32)
    for member, saved in zip(second, first, strict=True):
        member.training.load_state_dict(copy.deepcopy(saved.training.state_dict()))
    resumed = Column(second)
    for _ in range(11):
        resumed.update()
    whole.settle()
    resumed.settle()
    for one, other in zip(through, second, strict=True):
        assert one.training.updates == other.training.updates == 20
        assert largest_difference(one.training, other.training) == 0.0


@pytest.mark.parametrize("arm", ARMS)
def test_a_column_stays_on_the_device_and_asks_for_no_number(arm):
    run = Column(members(arm, dtype=torch.float32, device=META))
    with OnePlace():
        for _ in range(9):  # beyond what is drawn ahead
            run.update()


@pytest.mark.device
def test_dropout_is_that_of_the_key_and_the_update():
    def drawn(keys, update):
        bits = device_bits(philox.keys(keys, chosen()), torch.tensor([update], device=chosen()))
        return [dropout_factors((5, 7), 0.2, bits, chosen()) for _ in range(2)]

    both, alone, later = drawn([3, 4], 9), drawn([4], 9), drawn([4], 10)
    for pair, one, other in zip(both, alone, later, strict=True):
        assert pair.shape == (2, 5, 7)
        assert torch.equal(pair[1], one[0]) and not torch.equal(one, other) and not torch.equal(pair[0], one[0])
    assert not torch.equal(*alone)


@pytest.mark.parametrize("probability", [0.1, 0.2])
def test_dropout_has_the_distribution_of_the_processors(probability):
    bits = device_bits(philox.keys([0], CPU), torch.tensor([0]))
    keyed, drawn = (dropout_factors((1001, 999), probability, one) for one in (bits, dropout_generator(0, 0)))
    for factors in (keyed[0], drawn):
        assert factors.dtype == torch.float32
        assert set(factors.unique().tolist()) == {0.0, float(np.float32(1 / (1 - probability)))}
        assert float((factors == 0).double().mean()) == pytest.approx(probability, abs=0.0015)  # five sigmas
    dropped = (keyed[0] == 0).double().flatten() - probability
    for lag in (1, 4, 999):  # neighbours in a word, in the next word, and in the row below
        correlation = float((dropped[lag:] * dropped[:-lag]).mean()) / (probability * (1 - probability))
        assert abs(correlation) < 0.005


def test_numbers_drawn_ahead_keep_their_precision():
    assert devices.sent(CPU, torch.zeros(2, dtype=torch.float64)).dtype == torch.float64
