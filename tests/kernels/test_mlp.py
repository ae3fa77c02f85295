"""The passes by hand against autograd."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from synthlib.kernels import mlp
from synthlib.kernels.adam import flatten


@pytest.mark.parametrize("hidden", [(), (7,), (24, 40), (16, 16, 16)])
def test_both_passes_are_autograds(hidden):
    torch.manual_seed(0)
    widths = [5, *hidden, 3]
    parts = [part for i, o in pairwise(widths) for part in (nn.Linear(i, o), nn.ReLU())][:-1]
    network = nn.Sequential(*parts).double()
    inputs, delta = torch.randn(11, 5, dtype=torch.float64), torch.randn(11, 3, dtype=torch.float64)
    expected = network(inputs)
    gradients = torch.autograd.grad(expected, list(network.parameters()), delta)
    flatten(list(network.parameters()))
    layers = mlp.linear_layers(network)
    with torch.inference_mode():
        outputs, activations = mlp.forward(layers, inputs)
        mlp.backward(layers, activations, delta)
    torch.testing.assert_close(outputs, expected.detach())
    assert [activation.shape[1] for activation in activations] == widths[:-1]
    for weight, gradient in zip(network.parameters(), gradients, strict=True):
        torch.testing.assert_close(weight.grad, gradient)


def test_layers_come_in_order_from_several_modules():
    first, second, third = nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 1)
    assert mlp.linear_layers(nn.Sequential(first, nn.ReLU(), second), third) == [first, second, third]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_backward_pass_through_a_relu(dtype):
    delta, output, sums = matrices(dtype, (13, 37), (13, 37), (37,))
    expected = torch.where(output > 0, delta, 0)
    mlp.back_through_relu_(delta, output.relu(), sums)
    torch.testing.assert_close(delta, expected, rtol=0, atol=0)
    torch.testing.assert_close(sums, expected.sum(dim=0))
    delta[3, 5] = torch.nan
    mlp.back_through_relu_(delta, torch.ones_like(delta), sums)
    assert sums.isnan().nonzero().tolist() == [[5]]
    mlp.back_through_relu_(torch.ones_like(delta), delta, sums)
    assert sums[5] == (delta[:, 5] > 0).sum() + 1  # NaN lets the gradient through: it must not look like a dead unit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mean_squared_error_and_its_gradient(dtype):
    predicted, wanted, found = matrices(dtype, (13, 7), (13, 7), ())
    leaf = predicted.clone().requires_grad_()
    loss = F.mse_loss(leaf, wanted)
    mlp.mean_squared_error_(predicted, wanted, found)
    assert float(found) == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(predicted, *torch.autograd.grad(loss, leaf))
    wanted[2, 2] = torch.nan
    mlp.mean_squared_error_(predicted, wanted, found)
    assert found.isnan() and predicted.isnan().sum() == 1


def matrices(dtype, *shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
