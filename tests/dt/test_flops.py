"""Counts of operations against what PyTorch counts in the plain programs, and against faithfulness 9.7."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from synthlib.dt import flops
from synthlib.dt.model import DecisionTransformer, baseline_config


def test_a_transformer_needs_less_than_the_plain_one_does():
    model = DecisionTransformer(baseline_config(17, 6), seed=0)
    parts = torch.randn(64, 20, 17), torch.randn(64, 20, 6), torch.randn(64, 20, 1)
    with FlopCounterMode(display=False) as counter:
        model(*parts, torch.zeros(64, 20, dtype=torch.long), torch.ones(64, 20)).action.sum().backward()
    assert 0.6 < flops.update(17, 6) / counter.get_total_flops() < 0.95


def test_an_action_needs_less_than_a_plain_pass():
    model = DecisionTransformer(baseline_config(17, 6), seed=0)
    parts = torch.randn(1, 20, 17), torch.randn(1, 20, 6), torch.randn(1, 20, 1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*parts, torch.zeros(1, 20, dtype=torch.long), torch.ones(1, 20))
    assert 0.4 < flops.action(17, 6) / counter.get_total_flops() < 0.75


def test_gpt2_needs_what_was_counted_by_hand():
    of_two_projections = 3 * 2 * (64 * 1024) * 3 * (2 * 128**2)  # forward and backward, of all tokens, in three layers
    # Faithfulness 9.7, causal only, and below with attention to the future.
    assert flops.plain_gpt2_update(100) == pytest.approx(5.46e11, rel=0.01)
    assert flops.plain_gpt2_update(50_257) == pytest.approx(3.07e12, rel=0.01)
    assert flops.gpt2_update(100) + of_two_projections == pytest.approx(3.92e11, rel=0.01)
