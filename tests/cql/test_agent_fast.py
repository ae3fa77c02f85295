"""FastCQL against CQL; the tests that both must pass one by one (golden vectors, resume, errors) are in test_cql.py."""

import pytest
import torch

from synthlib.cql import agent_fast as cql_fast
from synthlib.cql.agent import CQL, CQLConfig, check_finite
from synthlib.cql.agent_fast import FastCQL
from synthlib.cql.networks import QNetwork
from synthlib.kernels.twins import best
from tests.common import largest_difference, noise_for, random_batch, small_agent, train_both

TWIN_CONFIGS = {
    "default": CQLConfig(hidden=(32, 32)),
    "ten actions": CQLConfig(hidden=(32, 32), sampled_actions=10),
    "text's safe-Q": CQLConfig(hidden=(32, 32), safe_q="target"),
    "no safe-Q": CQLConfig(hidden=(32, 32), safe_q="off"),
    "unequal": CQLConfig(
        hidden=(24, 40),
        temperature=0.5,
        conservative_weight=2.0,
        policy_learning_rate=1e-3,
        critic_learning_rate=2e-3,
        alpha_learning_rate=5e-3,
        target_rate=0.05,
        discount=0.9,
    ),
}


@pytest.mark.parametrize("config", TWIN_CONFIGS.values(), ids=TWIN_CONFIGS)
def test_twins_are_equal_in_float64(config):
    readable, fast, worst = train_both(config, 200 if config is TWIN_CONFIGS["default"] else 60, torch.float64)
    assert worst < 1e-10
    for part in ("weights", "first_moments", "second_moments"):
        assert largest_difference(readable, fast, part) < 1e-10, part


def test_twins_are_equal_in_float32():
    readable, fast, worst = train_both(CQLConfig(hidden=(32, 32)), 200, torch.float32)
    assert worst < 1e-3
    assert largest_difference(readable, fast, "weights") < 1e-4


def test_twins_are_equal_at_full_size_from_pretrained_critics(monkeypatch):
    # Eleven actions a state: two blocks of 64 states and a last one of 32.
    monkeypatch.setattr(cql_fast, "ROWS", 11 * 100)
    torch.manual_seed(0)
    critics = {name: QNetwork(111, 8, prediction_width=111).state_dict() for name in ("q1", "q2")}
    readable, fast, worst = train_both(CQLConfig(), 3, torch.float64, 111, 8, size=160, critics=critics)
    assert worst < 1e-10
    assert largest_difference(readable, fast, "weights") < 1e-10


def test_minibatches_may_grow_and_shrink():
    agents = [small_agent(kind, dtype=torch.float64) for kind in (CQL, FastCQL)]
    for i, size in enumerate((8, 300, 1, 40)):
        batch = random_batch(size=size, seed=i, dtype=torch.float64)
        noise = noise_for(agents[0], size, seed=i, dtype=torch.float64)
        for agent in agents:
            agent.update(batch, noise)
    assert largest_difference(*agents, "weights") < 1e-10


def test_twins_agree_where_the_critics_are_equal_and_the_deviation_is_clamped():
    # Equal critics: every min(Q1, Q2) is a tie. A large offset: log sigma stays at its upper bound, without gradient.
    torch.manual_seed(0)
    same = QNetwork(5, 3, (32, 32)).double()
    agents = [
        small_agent(kind, critics={"q1": same.state_dict(), "q2": same.state_dict()}, dtype=torch.float64)
        for kind in (CQL, FastCQL)
    ]
    for agent in agents:
        state = agent.state_dict()
        state["weights"]["policy.log_std_offset"].fill_(5.0)
        agent.load_state_dict(state)
    for i in range(20):
        batch, noise = random_batch(seed=i, dtype=torch.float64), noise_for(agents[0], seed=i, dtype=torch.float64)
        for agent in agents:
            agent.update(batch, noise)
    assert largest_difference(*agents, "weights") < 1e-10
    assert agents[0].state_dict()["weights"]["policy.log_std_offset"] == 5.0


@pytest.mark.parametrize("kinds", [(CQL, FastCQL), (FastCQL, CQL)])
def test_either_twin_goes_on_from_the_others_state(kinds):
    first, second = (small_agent(kind, dtype=torch.float64) for kind in kinds)
    inputs = [
        (random_batch(seed=i, dtype=torch.float64), noise_for(first, seed=i, dtype=torch.float64)) for i in range(10)
    ]
    for batch, noise in inputs[:5]:
        first.update(batch, noise)
    second.load_state_dict(first.state_dict())
    for batch, noise in inputs[5:]:
        first.update(batch, noise)
        second.update(batch, noise)
    assert first.updates == second.updates == 10
    for part in ("weights", "first_moments", "second_moments"):
        assert largest_difference(first, second, part) < 1e-12


def test_other_depths_take_the_readable_version():
    config = CQLConfig(hidden=[16, 16, 16])
    assert best(CQL, config) is CQL and best(CQL, CQLConfig()) is FastCQL
    agent = small_agent(config=config)
    check_finite(agent.update(random_batch(), noise_for(agent)))
