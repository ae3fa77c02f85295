import subprocess
import sys

import pytest
import torch
from torch import nn

from synthlib.flat_adam import FlatAdam, flatten, views


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_are_torchs_bit_for_bit(dtype):
    generator = torch.Generator().manual_seed(0)
    ours = nn.Parameter(torch.randn(1000, generator=generator, dtype=dtype))
    theirs = nn.Parameter(ours.detach().clone())
    adam, reference = FlatAdam({ours: 3e-3}), torch.optim.Adam([theirs], lr=3e-3, fused=True)
    for _ in range(50):
        ours.grad = theirs.grad = torch.randn(1000, generator=generator, dtype=dtype)
        adam.step()
        reference.step()
    assert torch.equal(ours, theirs)
    assert torch.equal(adam.state[ours]["exp_avg_sq"], reference.state[theirs]["exp_avg_sq"])


def test_a_step_over_the_long_tensor_moves_the_weights_in_it():
    layer = nn.Linear(3, 2)
    before = [weight.detach().clone() for weight in layer.parameters()]
    flat = flatten(list(layer.parameters()))
    adam = FlatAdam({flat: 0.1})
    for weight in layer.parameters():
        weight.grad += 1
    adam.step()
    for weight, old, view in zip(layer.parameters(), before, views(flat, before), strict=True):
        torch.testing.assert_close(weight.detach(), old - 0.1)
        assert torch.equal(weight, view)


def test_no_compiler_is_loaded_to_train_critics():
    code = """
import sys
from synthlib.critic_pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.mdp import MDPConfig
CriticPretraining(CriticPretrainingConfig(5, 3, MDPConfig(states=10, trajectories=1))).run(3)
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
