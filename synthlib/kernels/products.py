"""Matrix products in float32 by the library that is faster on this processor; the fast twins use them.

PyTorch gives float32 products to MKL, which does not use the 512-bit units of AMD's processors. oneDNN, which also
comes with PyTorch, uses them: 200 instead of 100 GFLOP/s on one Zen 5 core (on Zen 4, whose units are half as wide, 105
instead of 95). It also adds the bias within the product. So on AMD's processors with such units, products go to oneDNN
for the shapes at which it is faster. Elsewhere, and for other dtypes, PyTorch chooses the library: on an Intel Xeon
with AMX, MKL was as fast or faster at every shape tried, 185 GFLOP/s against 80 to 195.

The choice depends on the machine and the shape alone, never on a measurement. So a run that is repeated on the same
machine gives the same bits.
"""

import contextlib
import re
from pathlib import Path
from typing import Any

import torch


def _amd_family() -> int:
    """The generation of an AMD processor: 25 for Zen 3 and 4, 26 for Zen 5; 0 for any other or unknown processor."""
    with contextlib.suppress(OSError):
        facts = Path("/proc/cpuinfo").read_text()
        family = re.search(r"^cpu family\s*: (\d+)$", facts, re.MULTILINE)
        return int(family[1]) if family and "AuthenticAMD" in facts else 0
    return 0


# The only call that gives dense tensors to oneDNN, or None. It is torch.compile's own, but torch's version is pinned.
_onednn_linear: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
AMD_FAMILY = _amd_family()
ONEDNN_WORKS = (
    torch.backends.mkldnn.is_available()
    and torch.backends.cpu.get_cpu_capability() == "AVX512"
    and _onednn_linear is not None
)
ONEDNN = ONEDNN_WORKS and AMD_FAMILY > 0
FULL_WIDTH = AMD_FAMILY >= 26  # Zen 5: 512 bits a cycle
# oneDNN is slower for narrow matrices: 38 against 49 GFLOP/s for (256, 256) (256, 17). On half-wide units it is also
# slower for matrices that are not tall, and for transposed matrices, which it copies first. These exceptions save 3 %
# of a CQL update (one trial).
NARROW, TALL = 64, 512


def product(
    a: torch.Tensor,
    b: torch.Tensor,
    bias: torch.Tensor | None = None,
    relu: bool = False,
    into: torch.Tensor | None = None,
) -> torch.Tensor:
    """a b + bias, (M, K) and (K, N) and (N,) -> (M, N), then a ReLU if ``relu``; nothing is recorded for autograd.

    ``into`` (M, N) is memory that the result may use, so that it is written where the cache is warm. oneDNN ignores it.
    """
    if _is_quicker_by_onednn(a, b):
        result = _onednn_linear(_dense(a), _dense(b).t(), bias, "none", [], "")
    else:
        result = torch.mm(a, b, out=into)
        if bias is not None:
            result.add_(bias)  # on an Intel Xeon 1 to 2 % faster than addmm, which first fills the result with the bias
    # The ReLU is a step of its own, because the fused ReLU of oneDNN and the fused ReLU of torch turn NaN into 0. A run
    # that has diverged would look healthy.
    return result.relu_() if relu else result


def through_relu_(delta: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """The backward pass through a ReLU: returns the gradient below it, from the gradient ``delta`` above it.

    ``output`` is the result of the ReLU. The returned gradient overwrites it.
    """
    return torch.ops.aten.threshold_backward.grad_input(delta, output, 0, grad_input=output)


def _is_quicker_by_onednn(a: torch.Tensor, b: torch.Tensor) -> bool:
    if not ONEDNN or a.dtype != torch.float32 or a.device.type != "cpu" or min(a.shape[0], *b.shape) < NARROW:
        return False
    return FULL_WIDTH or (a.shape[0] >= TALL and a.is_contiguous())


def _dense(matrix: torch.Tensor) -> torch.Tensor:
    """``matrix``, copied unless it or its transpose is dense: with any other matrix oneDNN would take minutes."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


def weight_gradient(inputs: torch.Tensor, delta: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """inputs^T delta, (R, I) and (R, O) -> (I, O): the gradient of a layer's weights; written to ``out`` if given."""
    # Both libraries take up to twice as long when the result is narrow, so such a result is computed transposed.
    if inputs.shape[1] > delta.shape[1]:
        return weight_gradient(delta, inputs, out=None if out is None else out.t()).t()
    result = product(inputs.t(), delta, into=out)
    return result if out is None else out.copy_(result)  # copies nothing if result is out


def add_weight_gradient(total: torch.Tensor, inputs: torch.Tensor, delta: torch.Tensor) -> None:
    """Add inputs^T delta to ``total`` (I, O)."""
    if _is_quicker_by_onednn(inputs.t(), delta):
        total.add_(product(inputs.t(), delta))
    else:
        total.addmm_(inputs.t(), delta)


def affine(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, relu: bool = False) -> torch.Tensor:
    """x W + b, (..., I) and (I, O) and (O,) -> (..., O), then a ReLU if ``relu``; differentiable.

    The backward pass through the ReLU overwrites the result. All later operations have had their backward pass by then.
    """
    multiply = _Affine.apply if torch.is_grad_enabled() else product
    return multiply(x.reshape(-1, x.shape[-1]), weight, bias, relu).unflatten(0, x.shape[:-1])


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(x, weight, bias, relu):
        return product(x, weight, bias, relu)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, weight, _, relu = inputs
        ctx.relu = relu
        ctx.save_for_backward(x, weight, output if relu else None)

    @staticmethod
    def backward(ctx, delta):
        x, weight, result = ctx.saved_tensors
        if ctx.relu:
            delta = through_relu_(delta, result)
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        return (
            product(delta, weight.t()) if needs_x else None,
            weight_gradient(x, delta) if needs_weight else None,
            delta.sum(dim=0) if needs_bias else None,
            None,
        )

    @staticmethod
    def vmap(info, places, x, weight, bias, relu):
        """Several layers of one shape at once (:mod:`synthlib.kernels.stacking`): torch's batched matrix product."""
        x, weight, bias = (
            part
            if part is None
            else part.expand(info.batch_size, *part.shape)
            if place is None
            else part.movedim(place, 0)
            for part, place in zip((x, weight, bias), places, strict=False)
        )
        result = torch.bmm(x, weight) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight)
        return result.relu() if relu else result, 0
