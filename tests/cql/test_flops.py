"""Counts of operations against what PyTorch counts in the plain programs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from synthlib.bench.reference_style import ReferenceCQL
from synthlib.cql import flops
from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.batches import draw_noise
from synthlib.cql.networks import QNetwork
from synthlib.offline.datasets import Transitions


@pytest.mark.parametrize("hidden", [(256, 256), (64, 128, 32)])
def test_a_critics_update_needs_what_autograd_does_on_its_prediction(hidden):
    critic = QNetwork(17, 6, hidden, prediction_width=17)
    states, actions = torch.randn(256, 17), torch.randn(256, 6)
    with FlopCounterMode(display=False) as counter:
        critic.predict(states, actions).sum().backward()
    assert flops.pretraining_update(17, 6, hidden=hidden) == 2 * counter.get_total_flops()


@pytest.mark.parametrize(
    ("widths", "sampled_actions", "hidden"),
    [((17, 6), 3, (256, 256)), ((17, 6), 10, (256, 256)), ((111, 8), 3, (256, 256)), ((17, 6), 3, (64, 128, 32))],
)
def test_cql_needs_less_than_the_reference_does(widths, sampled_actions, hidden):
    config = CQLConfig(sampled_actions=sampled_actions, hidden=hidden)
    reference = ReferenceCQL(CQL(*widths, config, q_max=1.0, seed=0))
    states = torch.randn(256, widths[0])
    batch = Transitions(states, torch.zeros(256, widths[1]), torch.zeros(256), states, torch.zeros(256))
    noise = draw_noise(torch.Generator().manual_seed(0), 256, widths[1], sampled_actions)
    with FlopCounterMode(display=False) as counter:
        reference.update(batch, noise)
    share = flops.update(*widths, sampled_actions, hidden=hidden) / counter.get_total_flops()
    assert 0.6 < share < 0.95
