import subprocess
import sys

import pytest
import torch
from torch import nn

from synthlib.kernels.adam import FusedAdam, flatten, views


def pair_of_weights(dtype=torch.float32, size=1000):
    generator = torch.Generator().manual_seed(0)
    ours = nn.Parameter(torch.randn(size, generator=generator, dtype=dtype))
    return generator, ours, nn.Parameter(ours.detach().clone())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("kind", "options"), [(torch.optim.Adam, {}), (torch.optim.AdamW, {"weight_decay": 0.1, "eps": 1e-6})]
)
def test_steps_are_torchs_bit_for_bit(kind, options, dtype):
    generator, ours, theirs = pair_of_weights(dtype)
    adam, reference = (
        FusedAdam([{"params": [ours], "lr": 3e-3, **options}]),
        kind([theirs], 3e-3, fused=True, **options),
    )
    for update in range(50):
        ours.grad = theirs.grad = torch.randn(1000, generator=generator, dtype=dtype)
        for optimiser in (adam, reference):
            optimiser.param_groups[0]["lr"] = 3e-3 / (1 + update)
            optimiser.step()
    assert torch.equal(ours, theirs)
    assert torch.equal(adam.state[ours]["exp_avg_sq"], reference.state[theirs]["exp_avg_sq"])


def test_a_saved_optimiser_goes_on_and_another_ones_is_refused():
    generator, ours, theirs = pair_of_weights()
    first, second = (FusedAdam([{"params": [weight], "lr": 0.1}]) for weight in (ours, theirs))
    for weights, optimisers in (([ours], [first]), ([ours, theirs], [first, second])):
        gradient = torch.randn(1000, generator=generator)
        for weight, optimiser in zip(weights, optimisers, strict=True):
            weight.grad = gradient
            optimiser.step()
        second.load_state_dict(first.state_dict())
        theirs.data.copy_(ours)
    assert first.state[ours]["step"] == second.state[theirs]["step"] == 2
    for other in ([], torch.optim.AdamW([ours]).state_dict()):
        with pytest.raises(ValueError, match="saved for other weights, or by another version"):
            second.load_state_dict(other)


def test_a_gradient_that_lies_transposed_in_memory_counts_in_place():
    ours, theirs = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(2, 3))
    ours.grad = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]]).t()
    theirs.grad = ours.grad.contiguous()
    FusedAdam([{"params": [ours, theirs], "lr": 0.1}]).step()
    assert torch.equal(ours, theirs)


def test_weights_without_gradient_stay():
    _, ours, theirs = pair_of_weights()
    adam = FusedAdam([{"params": [ours, theirs], "lr": 0.1, "weight_decay": 0.5}])
    theirs.grad = torch.ones(1000)
    adam.step()
    assert torch.equal(ours, pair_of_weights()[1]) and not torch.equal(theirs, ours)


def test_a_step_over_the_long_tensor_moves_the_weights_in_it():
    layer = nn.Linear(3, 2)
    before = [weight.detach().clone() for weight in layer.parameters()]
    flat = flatten(list(layer.parameters()))
    adam = FusedAdam([{"params": [flat], "lr": 0.1}])
    for weight in layer.parameters():
        weight.grad += 1
    adam.step()
    for weight, old, view in zip(layer.parameters(), before, views(flat, before), strict=True):
        torch.testing.assert_close(weight.detach(), old - 0.1)
        assert torch.equal(weight, view)


@pytest.mark.slow
def test_no_compiler_is_loaded_to_train():
    code = """
import sys
from synthlib.cql.pretraining import CriticPretrainingConfig
from synthlib.cql.pretraining_fast import FastCriticPretraining
from synthlib.dt.model import DecisionTransformer, baseline_config
from synthlib.dt.finetuning import DTTraining, baseline_training
from synthlib.generators.mdp import MDPConfig
FastCriticPretraining(CriticPretrainingConfig(5, 3, MDPConfig(states=10, trajectories=1))).run(3)
DTTraining(DecisionTransformer(baseline_config(5, 3), 0), baseline_training())
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
