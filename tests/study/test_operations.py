"""Counts of operations against what PyTorch counts in the plain programs, and against faithfulness 9.7."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from synthlib.bench.reference_style import ReferenceCQL
from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.batches import draw_noise
from synthlib.cql.networks import QNetwork
from synthlib.dt.model import DecisionTransformer, baseline_config
from synthlib.offline.datasets import Transitions
from synthlib.study import operations


def test_a_critics_update_needs_what_autograd_does_on_its_prediction():
    critic = QNetwork(17, 6, prediction_width=17)
    states, actions = torch.randn(256, 17), torch.randn(256, 6)
    with FlopCounterMode(display=False) as counter:
        critic.predict(states, actions).sum().backward()
    assert operations.critic_pretraining_update(17, 6) == 2 * counter.get_total_flops()


@pytest.mark.parametrize(("widths", "sampled_actions"), [((17, 6), 3), ((17, 6), 10), ((111, 8), 3)])
def test_cql_needs_less_than_the_reference_does(widths, sampled_actions):
    reference = ReferenceCQL(CQL(*widths, CQLConfig(sampled_actions=sampled_actions), q_max=1.0, seed=0))
    states = torch.randn(256, widths[0])
    batch = Transitions(states, torch.zeros(256, widths[1]), torch.zeros(256), states, torch.zeros(256))
    noise = draw_noise(torch.Generator().manual_seed(0), 256, widths[1], sampled_actions)
    with FlopCounterMode(display=False) as counter:
        reference.update(batch, noise)
    share = operations.cql_update(*widths, sampled_actions) / counter.get_total_flops()
    assert 0.6 < share < 0.95


def test_a_transformer_needs_less_than_the_plain_one_does():
    model = DecisionTransformer(baseline_config(17, 6), seed=0)
    parts = torch.randn(64, 20, 17), torch.randn(64, 20, 6), torch.randn(64, 20, 1)
    with FlopCounterMode(display=False) as counter:
        model(*parts, torch.zeros(64, 20, dtype=torch.long), torch.ones(64, 20)).action.sum().backward()
    assert 0.6 < operations.dt_update(17, 6) / counter.get_total_flops() < 0.95


def test_an_action_needs_less_than_a_plain_pass():
    model = DecisionTransformer(baseline_config(17, 6), seed=0)
    parts = torch.randn(1, 20, 17), torch.randn(1, 20, 6), torch.randn(1, 20, 1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*parts, torch.zeros(1, 20, dtype=torch.long), torch.ones(1, 20))
    assert 0.4 < operations.dt_action(17, 6) / counter.get_total_flops() < 0.75


def test_gpt2_needs_what_was_counted_by_hand():
    of_two_projections = 3 * 2 * (64 * 1024) * 3 * (2 * 128**2)  # forward and backward, of all tokens, in three layers
    # Faithfulness 9.7, causal only.
    assert operations.gpt2_update(100) + of_two_projections == pytest.approx(3.92e11, rel=0.01)
