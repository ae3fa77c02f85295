"""Matrix products in float32 by the library that is quicker on this processor: what the fast twins are built on.

PyTorch gives float32 products to MKL, which does not use the 512-bit units of AMD's processors. oneDNN, which comes
with PyTorch as well, does: 200 instead of 100 GFLOP/s on one Zen 5 core (on Zen 4, whose units are half as wide, 105
instead of 95), and it adds the bias on the way. So products go to oneDNN on AMD's processors with such units, for the
shapes at which it is quicker. Elsewhere, and for other dtypes, the product is PyTorch's own: on an Intel Xeon with AMX
MKL was as quick or quicker at every shape tried, 185 GFLOP/s against 80 to 195. The choice depends on the machine and
the shape alone, never on a measurement, so a run that is repeated on the same machine gives the same bits.
"""

import contextlib
import re
from pathlib import Path

import torch


def _amd_family():
    """The generation of an AMD processor, 25 for Zen 3 and 4, 26 for Zen 5; 0 for any other or unknown one."""
    with contextlib.suppress(OSError):
        facts = Path("/proc/cpuinfo").read_text()
        family = re.search(r"^cpu family\s*: (\d+)$", facts, re.MULTILINE)
        return int(family[1]) if family and "AuthenticAMD" in facts else 0
    return 0


# The one way to oneDNN with dense tensors; torch.compile uses it. The version of torch is pinned.
_onednn_linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
AMD_FAMILY = _amd_family()
ONEDNN_WORKS = (
    torch.backends.mkldnn.is_available()
    and torch.backends.cpu.get_cpu_capability() == "AVX512"
    and _onednn_linear is not None
)
ONEDNN = ONEDNN_WORKS and AMD_FAMILY > 0
FULL_WIDTH = AMD_FAMILY >= 26  # Zen 5: 512 bits a cycle
# Where oneDNN is the slower one: narrow matrices, 38 against 49 GFLOP/s for (256, 256) (256, 17), and on half-wide
# units whatever is not tall or comes transposed, which it copies first. One trial: 3 % of a CQL update.
NARROW, TALL = 64, 512


def product(
    a: torch.Tensor,
    b: torch.Tensor,
    bias: torch.Tensor | None = None,
    relu: bool = False,
    into: torch.Tensor | None = None,
) -> torch.Tensor:
    """a b + bias, (M, K) and (K, N) and (N,) -> (M, N), with a ReLU behind if asked for; nothing is recorded.

    ``into`` is memory that the result may take, so that it lands where the cache is warm; oneDNN takes its own.
    """
    if _is_quicker_by_onednn(a, b):
        result = _onednn_linear(_dense(a), _dense(b).t(), bias, "none", [], "")
    else:
        result = torch.mm(a, b, out=into)
        if bias is not None:
            result.add_(bias)  # on an Intel Xeon 1 to 2 % quicker than addmm, which first fills the result with it
    # Not in one step with the product or the bias: oneDNN's ReLU and torch's fused one make 0 of NaN, and a run that
    # has diverged would look healthy.
    return result.relu_() if relu else result


def through_relu_(delta: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """The backward pass through a ReLU: from the gradient ``delta`` above it to the gradient below it.

    ``output`` is what the ReLU gave; the result takes its memory.
    """
    return torch.ops.aten.threshold_backward.grad_input(delta, output, 0, grad_input=output)


def _is_quicker_by_onednn(a, b):
    if not ONEDNN or a.dtype != torch.float32 or a.device.type != "cpu" or min(a.shape[0], *b.shape) < NARROW:
        return False
    return FULL_WIDTH or (a.shape[0] >= TALL and a.is_contiguous())


def _dense(matrix):
    """``matrix``, copied if it is neither dense nor the transpose of a dense one: oneDNN would take minutes."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


def weight_gradient(inputs: torch.Tensor, delta: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """inputs^T delta, (R, I) and (R, O) -> (I, O): what a layer's weights get from its rows; written to ``out``."""
    # Either library takes up to twice as long where the result is narrow, so such a result is made transposed.
    if inputs.shape[1] > delta.shape[1]:
        return weight_gradient(delta, inputs, out=None if out is None else out.t()).t()
    result = product(inputs.t(), delta, into=out)
    return result if out is None else out.copy_(result)  # nothing to copy if it is there


def add_weight_gradient(total: torch.Tensor, inputs: torch.Tensor, delta: torch.Tensor) -> None:
    """Add inputs^T delta to ``total`` (I, O)."""
    if _is_quicker_by_onednn(inputs.t(), delta):
        total.add_(product(inputs.t(), delta))
    else:
        total.addmm_(inputs.t(), delta)


def affine(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, relu: bool = False) -> torch.Tensor:
    """x W + b, (..., I) and (I, O) and (O,) -> (..., O), with a ReLU behind if asked for; differentiable.

    The backward pass through the ReLU overwrites the result, when the backward pass of all that followed is done.
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
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        return (
            product(delta, weight.t()) if of_x else None,
            weight_gradient(x, delta) if of_weight else None,
            delta.sum(dim=0) if of_bias else None,
            None,
        )

    @staticmethod
    def vmap(info, places, x, weight, bias, relu):
        """Several layers of one shape at once (:mod:`synthlib.kernels.stacking`): a batched product, by torch alone."""
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
