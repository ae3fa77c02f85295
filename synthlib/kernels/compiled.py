"""Numba's compiler as the fast twins use it: generators to the last bit, and work between matrix products.

PyTorch runs several operations for one such step, and each of them reads its matrices anew, and its own code as well,
which the products have pushed out of the cache; here a step goes through its matrices once. Whatever is compiled is so
when it first runs, and kept on disk for good.
"""

import functools
import hashlib
import os
from pathlib import Path

import numba
import torch

HERE = Path(__file__).resolve().parents[1]
# Whatever is compiled, calls or reads something from these files alone.
SOURCES = (
    "kernels/compiled",
    "cql/networks",
    "cql/steps_fast",
    "generators/markov_chain_fast",
    "generators/mdp_fast",
    "kernels/pcg64",
    "kernels/twins",
)


def cache_folder(sources):
    """Where machine code made of these texts is kept. Numba compiles again when the file of a function has changed, but
    not when a file has from which it takes another function or a constant: so the folder's name depends on all."""
    digest = hashlib.sha256("".join(sources).encode()).hexdigest()[:16]
    return Path(os.environ.get("NUMBA_CACHE_DIR") or HERE / "__pycache__") / f"compiled-{digest}"


numba.config.CACHE_DIR = str(cache_folder([(HERE / f"{name}.py").read_text() for name in SOURCES]))
exact = numba.njit(cache=True, nogil=True, error_model="numpy")
# Sums may be taken in any order, so that many terms are added at a time. NaN stays NaN.
jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


def compile_step(function):
    """``function`` of arrays, compiled, as a function of tensors on the processor, with the same value."""
    compiled = jit(function)

    @functools.wraps(function)
    def of_tensors(*arguments):
        return compiled(*[given.numpy() if isinstance(given, torch.Tensor) else given for given in arguments])

    return of_tensors


@compile_step
def back_through_relu_(delta, output, sums):
    """``delta`` (R, H) becomes 0 where ``output`` is not positive; the sum of its rows is written to ``sums`` (H,)."""
    zero = delta.dtype.type(0)
    sums[:] = zero
    for row in range(len(delta)):
        of_delta, of_output = delta[row], output[row]
        for j in range(len(sums)):
            of_delta[j] = zero if of_output[j] <= 0 else of_delta[j]
            sums[j] += of_delta[j]


@compile_step
def mean_squared_error_(predicted, wanted):
    """The mean over all entries of (R, P) matrices; its gradient takes the place of ``predicted``."""
    total, scale = 0.0, predicted.dtype.type(2 / predicted.size)
    for row in range(predicted.shape[0]):
        for k in range(predicted.shape[1]):
            error = predicted[row, k] - wanted[row, k]
            total += error * error
            predicted[row, k] = scale * error
    return total / predicted.size
