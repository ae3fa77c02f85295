"""Numba's compiler as the fast twins use it: for random generators, and for the work between matrix products.

PyTorch runs several operations where one compiled step is enough. Each operation reads its matrices again. It also
loads its own machine code again, which the matrix products have pushed out of the cache. A compiled step reads its
matrices once. Numba compiles a function when it first runs, and keeps the machine code on disk.
"""

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numba
import torch

from synthlib.paths import data_cache

HERE = Path(__file__).resolve().parents[1]
# The files of the package that contain all compiled functions, and everything that compiled functions call or read.
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
_NUMBA_CONFIG: Any = numba.config  # a module that makes its attributes when it is imported, so that mypy knows none


def cache_folder(sources: Iterable[str]) -> Path | None:
    """The folder for machine code that is compiled from these source texts; None when no place for it can be written.

    The place is ``NUMBA_CACHE_DIR`` when this variable is set. Otherwise it is beside the package or, where the package
    is read-only, as in a container, below the folder of outputs. Numba compiles a function again when the function's
    own file has changed. It does not notice a change in another file from which the function takes a function or a
    constant. So the folder's name is a hash of all these texts.
    """
    digest = hashlib.sha256("".join(sources).encode()).hexdigest()[:16]
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    for place in [Path(chosen)] if chosen else [HERE / "__pycache__", data_cache()]:
        folder = place / f"compiled-{digest}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        return folder
    return None


def exact(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: compile ``function`` of arrays and numbers with IEEE arithmetic, all operations in written order."""
    return _compiled(function)


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a part of a kernel; sums may be added in any order, many terms at a time. NaN stays NaN.

    The part is inlined. Otherwise, the process that compiles a kernel could call another copy of the part than a
    process that loads the kernel from disk. The copies may add in another order, so the last bits would differ.
    """
    return _compiled(function, fastmath=_ANY_ORDER, forceinline=True)


def compile_step(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` of arrays with the arithmetic of :func:`jit`; returns a function of tensors.

    The tensors must be on the processor.
    """
    compiled = _compiled(function, fastmath=_ANY_ORDER)

    @functools.wraps(function)
    def on_tensors(*arguments: Any) -> Any:
        return compiled(*[given.numpy() if isinstance(given, torch.Tensor) else given for given in arguments])

    return on_tensors


def _compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    # Numba reads its cache folder here, once for each function. The setting is put back afterwards, so that other code
    # in this process keeps its own cache folder. Without a folder every process compiles for itself, in seconds.
    folder = _own_folder()
    before, _NUMBA_CONFIG.CACHE_DIR = _NUMBA_CONFIG.CACHE_DIR, str(folder)
    try:
        return numba.njit(cache=folder is not None, nogil=True, error_model="numpy", **options)(function)
    finally:
        _NUMBA_CONFIG.CACHE_DIR = before


@functools.cache
def _own_folder() -> Path | None:
    return cache_folder((HERE / f"{name}.py").read_text() for name in SOURCES)
