"""Both libraries give the same products, and the differentiable one has autograd's own gradients."""

import pytest
import torch

from synthlib.cql.agent import CQLConfig
from synthlib.kernels import products
from tests.common import largest_difference, train_both


@pytest.fixture(params=[True, False], ids=["oneDNN", "torch"])
def library(request, monkeypatch):
    if request.param and not products.ONEDNN_WORKS:
        pytest.skip("oneDNN cannot be taken on this processor")
    monkeypatch.setattr(products, "ONEDNN", request.param)
    monkeypatch.setattr(products, "FULL_WIDTH", True)
    monkeypatch.setattr(products, "NARROW", 0)  # the matrices of these tests are small


def matrices(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_products(library, with_bias, relu):
    a, b, bias = matrices((30, 7), (7, 50), (50,))
    expected = a.double() @ b.double() + (bias.double() if with_bias else 0)
    found = products.product(a, b, bias if with_bias else None, relu)
    torch.testing.assert_close(found.double(), expected.relu() if relu else expected, atol=1e-5, rtol=1e-5)
    space = torch.full(found.shape, torch.nan)
    again = products.product(a, b, bias if with_bias else None, relu, into=space)
    assert torch.equal(again, found)
    assert products.ONEDNN or again.data_ptr() == space.data_ptr()
    both_transposed = products.product(a.t().contiguous().t(), b.t().contiguous().t())
    torch.testing.assert_close(both_transposed.double(), a.double() @ b.double(), atol=1e-5, rtol=1e-5)
    every_second = products.product(a[:, ::2], b[::2])
    torch.testing.assert_close(every_second.double(), a.double()[:, ::2] @ b.double()[::2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("widths", [(7, 50), (50, 7)])
def test_weight_gradients(library, widths):
    inputs, delta = matrices((30, widths[0]), (30, widths[1]))
    found = products.weight_gradient(inputs, delta)
    expected = inputs.double().t() @ delta.double()
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    written = torch.full(widths, torch.nan)
    products.weight_gradient(inputs, delta, out=written)
    torch.testing.assert_close(written.double(), expected, atol=1e-5, rtol=1e-5)
    products.add_weight_gradient(written, inputs, delta)
    torch.testing.assert_close(written.double(), 2 * expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_diverged_layer_does_not_look_healthy(library, bad):
    # oneDNN's ReLU makes 0 of NaN; torch's fused one as well where a row fills no vector, and a number of infinity.
    for width in (1, 7, 64):
        found = products.product(torch.full((3, 2), bad), torch.ones(2, width), torch.ones(width), relu=True)
        assert not found.isfinite().any()


@pytest.mark.parametrize("relu", [False, True])
def test_affine_has_autograds_gradients(library, relu):
    x, weight, bias, delta = matrices((3, 10, 7), (7, 50), (50,), (3, 10, 50))
    given = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    found = products.affine(x, weight[:, :], bias, relu)
    expected = x @ weight + bias
    expected = expected.relu() if relu else expected
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    ours, theirs = (torch.autograd.grad(result, given, delta) for result in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)


def test_affine_of_doubles_is_exact_to_doubles():
    x, weight, bias = (tensor.requires_grad_() for tensor in matrices((5, 4), (4, 3), (3,), dtype=torch.float64))
    assert torch.autograd.gradcheck(products.affine, (x, weight, bias))


def test_a_whole_update_with_either_library(library):
    readable, fast, worst = train_both(CQLConfig(hidden=(32, 32)), 20, torch.float32)
    assert worst < 1e-3
    assert largest_difference(readable, fast, "weights") < 1e-4
