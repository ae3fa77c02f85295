"""Numba's compiler as the fast twins use it: generators to the last bit, and work between matrix products.

PyTorch runs several operations for one such step. Each of them reads its matrices again, and loads its own code again,
which the products have pushed out of the cache. A compiled step goes through its matrices once. A function is compiled
when it first runs; its machine code is kept on disk.
"""

import functools
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numba
import torch

HERE = Path(__file__).resolve().parents[1]
# A compiled function calls and reads what stands in these files, and nothing else of the package.
SOURCES = (
    "kernels/compiled",
    "kernels/mlp",
    "kernels/pcg64",
    "kernels/products",
    "kernels/twins",
    "cql/networks",
    "cql/steps_fast",
    "generators/markov_chain",
    "generators/markov_chain_fast",
    "generators/mdp",
    "generators/mdp_fast",
)
_ANY_ORDER = {"reassoc", "contract", "nsz"}


def cache_folder(sources: Iterable[str]) -> Path:
    """The folder for machine code that is made of these source texts.

    Numba compiles a function again when the function's own file has changed, but not when another file has changed from
    which the function takes a function or a constant. So the folder's name depends on all of these texts.
    """
    digest = hashlib.sha256("".join(sources).encode()).hexdigest()[:16]
    return Path(os.environ.get("NUMBA_CACHE_DIR") or HERE / "__pycache__") / f"compiled-{digest}"


def exact(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: ``function`` of arrays and numbers compiled with IEEE arithmetic, every operation in its order."""
    return _compiled(function)


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a part of a kernel; sums may be taken in any order, many terms at a time. NaN stays NaN.

    The part is inlined. Else the process that compiles a kernel could call another copy of the part than a process that
    loads the kernel from disk, with sums in another order: the last bits would differ between the two.
    """
    return _compiled(function, fastmath=_ANY_ORDER, forceinline=True)


def compile_step(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of arrays, compiled with :func:`jit`'s arithmetic, as a function of tensors on the processor."""
    compiled = _compiled(function, fastmath=_ANY_ORDER)

    @functools.wraps(function)
    def of_tensors(*arguments: Any) -> Any:
        return compiled(*[given.numpy() if isinstance(given, torch.Tensor) else given for given in arguments])

    return of_tensors


def _compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    # Numba looks up its folder here, once for each function. Outside it stays as the user of the process has set it.
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(_own_folder())
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    finally:
        numba.config.CACHE_DIR = before


@functools.cache
def _own_folder() -> Path:
    return cache_folder((HERE / f"{name}.py").read_text() for name in SOURCES)
