"""A stack of runs against the same runs one by one: in float64, so that only a difference in what is done can show."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch.utils._pytree import tree_leaves

from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.agent_fast import FastCQL
from synthlib.cql.batches import Noise
from synthlib.cql.stacked import StackedCQL
from synthlib.dt.clusters import ClusterTerm
from synthlib.dt.finetuning import DTTraining, baseline_training, dropout_generator, pretrained_training
from synthlib.dt.model import DecisionTransformer, baseline_config, predict_actions, pretrained_config
from synthlib.dt.model_fast import fast_predict_actions
from synthlib.dt.stacked import StackedDT
from synthlib.machine import devices
from synthlib.offline.datasets import Transitions
from synthlib.runs import groups, loop
from synthlib.runs.stopwatch import Stopwatch
from tests.common import META, OnePlace, golden_batch, largest_difference, noise_for, random_batch, window_batch

SEEDS = (0, 1, 2)


def dt_trainings(arm, predict=fast_predict_actions, dtype=torch.float64):
    config = baseline_config if arm == "baseline" else pretrained_config
    settings = {"warmup_updates": 20, "learning_rate": 1e-3} | ({"cluster_weight": 0.1} if arm == "text" else {})
    training = (baseline_training if arm == "baseline" else pretrained_training)(**settings)

    def made(seed):
        term = ClusterTerm.of(torch.randn(7, 16, generator=torch.Generator().manual_seed(seed)).to(dtype))
        model = DecisionTransformer(config(5, 3, width=16, layers=2), seed).to(dtype)
        return DTTraining(model, training, predict, term if arm == "text" else None)

    return [made(seed) for seed in SEEDS]


def update_alone(trainings, updates):
    """The losses (updates, runs, 3) of trainings one by one."""
    return [
        [training.update(*window(seed, training.updates)) for seed, training in zip(SEEDS, trainings, strict=True)]
        for _ in range(updates)
    ]


def update_together(trainings, updates):
    stack = StackedDT(trainings)
    windows = (zip(*[window(seed, trainings[0].updates) for seed in SEEDS], strict=True) for _ in range(updates))
    return [stack.update(*of_all) for of_all in windows]


def window(seed, update):
    return golden_batch((seed + update) % 3), dropout_generator(seed, update)


def assert_equal(losses, others, trainings, others_trainings):
    found, expected = (torch.tensor(rows, dtype=torch.float64) for rows in (losses, others))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    for one, other in zip(trainings, others_trainings, strict=True):
        assert one.updates == other.updates
        for weight, same in zip(one.model.parameters(), other.model.parameters(), strict=True):
            torch.testing.assert_close(same, weight, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("arm", "predict", "updates"),
    [
        ("baseline", fast_predict_actions, 30),
        ("pretrained", fast_predict_actions, 30),
        pytest.param("pretrained", fast_predict_actions, 200, marks=pytest.mark.slow),
        ("pretrained", predict_actions, 30),
        ("text", fast_predict_actions, 30),
    ],
)
def test_stacked_transformers_are_the_separate_ones(arm, predict, updates):
    alone, together = (dt_trainings(arm, predict) for _ in range(2))
    assert_equal(update_together(together, updates), update_alone(alone, updates), together, alone)


@pytest.mark.parametrize("arm", ["baseline", "pretrained"])
def test_transformers_go_on_from_either_ones_checkpoint(arm):
    alone, together = (dt_trainings(arm) for _ in range(2))
    update_alone(alone, 5)
    update_together(together, 5)
    swapped_alone, swapped_together = (dt_trainings(arm) for _ in range(2))
    for one, saved in zip(swapped_together + swapped_alone, alone + together, strict=True):
        one.load_state_dict(copy.deepcopy(saved.state_dict()))
    losses, others = update_together(swapped_together, 5), update_alone(swapped_alone, 5)
    assert_equal(losses, others, swapped_together, swapped_alone)
    assert_equal(update_alone(alone, 5), losses, alone, swapped_together)


def stacked_for_one_update(kind):
    if kind == "dt":
        update_together(runs := dt_trainings("baseline"), 1)
    else:
        update_stacked_agents(runs := cql_agents(CQL), 1)
    return runs


@pytest.mark.parametrize("kind", ["dt", "cql"])
def test_a_stacked_run_saves_itself_only(kind, tmp_path):
    torch.save(stacked_for_one_update(kind)[0].state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    tensors = [leaf for leaf in tree_leaves(state) if isinstance(leaf, torch.Tensor)]
    assert all(leaf.untyped_storage().nbytes() == leaf.nbytes for leaf in tensors)


class Run:
    """As little of a run as :func:`synthlib.runs.loop.batched` asks for."""

    def __init__(self, seed, updates=0):
        self.config, self.updates, self.every = {"seed": seed}, updates, 10

    def restore(self, saved):
        pass

    def draw(self):
        return ()

    def log(self, done):
        self.updates += 1
        if self.config["seed"] == 1:
            raise FloatingPointError("loss is nan")


def test_a_stack_names_the_seed_that_diverged_and_refuses_runs_that_are_not_equally_far():
    job = SimpleNamespace(updates=5)
    sessions = [SimpleNamespace(job=job, resume=lambda: None, stopwatch=Stopwatch())] * 2

    def together(runs):
        return groups.Stacked(runs, SimpleNamespace(update=lambda: [None, None]))

    with pytest.raises(FloatingPointError, match=r"seed 1 of 2 stacked ones \(without STACKED=1.*loss is nan"):
        loop.finetune([Run(0), Run(1)], sessions, None, together)
    with pytest.raises(ValueError, match="not equally far"):
        loop.finetune([Run(0), Run(1, updates=3)], sessions, None, together)


def test_stacked_transformers_are_the_separate_ones_in_float32():
    alone, together = (dt_trainings("pretrained", dtype=torch.float32) for _ in range(2))
    found, expected = (torch.tensor(rows) for rows in (update_together(together, 50), update_alone(alone, 50)))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def cql_agents(kind, **options):
    config = CQLConfig(hidden=(24, 40), temperature=0.5, target_rate=0.05)
    return [kind(5, 3, config, q_max=0.1, seed=seed, **({"dtype": torch.float64} | options)) for seed in SEEDS]


def transition(agent, seed):
    number = 10 * agent.updates + seed
    return random_batch(seed=number, dtype=torch.float64), noise_for(agent, seed=number, dtype=torch.float64)


def update_agents(agents, updates):
    return [
        [agent.update(*transition(agent, seed)) for seed, agent in zip(SEEDS, agents, strict=True)]
        for _ in range(updates)
    ]


def update_stacked_agents(agents, updates):
    stack = StackedCQL(agents)
    return [
        stack.update(*zip(*[transition(agent, seed) for seed, agent in zip(SEEDS, agents, strict=True)], strict=True))
        for _ in range(updates)
    ]


def assert_equal_agents(losses, others, agents, other_agents):
    for row, other_row in zip(losses, others, strict=True):
        for one, other in zip(row, other_row, strict=True):
            assert one.keys() == other.keys()
            assert max(abs(float(one[name] - other[name])) for name in one) < 1e-10
    for one, other in zip(agents, other_agents, strict=True):
        assert one.updates == other.updates
        for part in ("weights", "first_moments", "second_moments"):
            assert largest_difference(one, other, part) < 1e-10, part


@pytest.mark.parametrize(
    ("kind", "updates"),
    [(kind, 40) for kind in (CQL, FastCQL)]
    + [pytest.param(kind, 200, marks=pytest.mark.slow) for kind in (CQL, FastCQL)],
)
def test_stacked_agents_are_the_separate_ones(kind, updates):
    alone, together = cql_agents(FastCQL), cql_agents(kind)
    assert_equal_agents(update_stacked_agents(together, updates), update_agents(alone, updates), together, alone)
    observations = torch.randn(4, 5).numpy()
    for one, other in zip(alone, together, strict=True):
        assert abs(one.act(observations) - other.act(observations)).max() < 1e-6


def test_agents_go_on_from_either_ones_checkpoint():
    alone, together = cql_agents(FastCQL), cql_agents(FastCQL)
    update_agents(alone, 5)
    update_stacked_agents(together, 5)
    swapped_together, swapped_alone = cql_agents(FastCQL), cql_agents(FastCQL)
    for one, saved in zip(swapped_together + swapped_alone, alone + together, strict=True):
        one.load_state_dict(copy.deepcopy(saved.state_dict()))
    losses, others = update_stacked_agents(swapped_together, 5), update_agents(swapped_alone, 5)
    assert_equal_agents(losses, others, swapped_together, swapped_alone)


def test_a_stacked_update_stays_on_the_device_and_asks_for_no_number():
    trainings = dt_trainings("text", dtype=torch.float32)
    for training in trainings:
        training.model.to(META)
    trainings = [
        DTTraining(one.model, one.config, one.predict, ClusterTerm(*devices.put(META, *one.cluster_term)))
        for one in trainings
    ]
    agents = cql_agents(FastCQL, device=META, dtype=torch.float32)
    batches, noises = zip(*[transition(agent, seed) for seed, agent in zip(SEEDS, agents, strict=True)], strict=True)
    batches = [Transitions(*devices.put(META, *batch)) for batch in batches]
    noises = [Noise(*devices.put(META, *noise)) for noise in noises]
    stacked_dt, stacked_cql = StackedDT(trainings), StackedCQL(agents)
    with OnePlace():
        for update in range(2):
            stacked_dt.update([window_batch()] * 3, [dropout_generator(seed, update, META) for seed in SEEDS])
            stacked_cql.update(batches, noises)
