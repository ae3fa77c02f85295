"""Which code a training runs: the definition that the pages show, or a faster one that a test proves equal to it.

Two mechanisms, and no other place that chooses:

* A *step* is a function of tensors with one definition in PyTorch and perhaps a kernel compiled by Numba. The kernel
  runs where the first tensor is on the processor.

      @step
      def add_relu_(x, y): ...        # PyTorch, for any device

      @add_relu_.kernel
      def _(x, y): ...                # Numba, for the processor

* A *twin* is a class or function with the arguments and results of a readable one, and a condition on the configuration
  under which it can take its place. The twin of ``cql/agent.py`` stands in ``cql/agent_fast.py``, and so on: a readable
  file never imports it.

      @twin_of(CQL, when=lambda config: len(config.hidden) == 2)
      class FastCQL: ...

      best(CQL, config)               # FastCQL, or CQL where the condition does not hold

``SYNTHLIB_READABLE=1`` runs the definitions everywhere.
"""

import functools
import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from synthlib.kernels.compiled import compile_step

READABLE_ONLY = os.environ.get("SYNTHLIB_READABLE", "0") not in ("", "0")
Readable = TypeVar("Readable", bound=Callable[..., Any])


class Step:
    """A function of tensors and numbers, made by :func:`step`; the first argument is a tensor."""

    def __init__(self, definition: Callable[..., Any]) -> None:
        functools.update_wrapper(self, definition)
        self.definition = definition
        self.compiled: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        if self.compiled is None or READABLE_ONLY or arguments[0].device.type != "cpu":
            return self.definition(*arguments)
        return self.compiled(*arguments)

    def kernel(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: compile ``function`` of arrays as this step's kernel, and register the pair for its test."""
        self.compiled = compile_step(function)
        STEPS.append(self)
        return function


STEPS: list[Step] = []
"""Every step that has a kernel: one test holds all pairs together (tests/kernels/test_steps.py)."""


def step(definition: Callable[..., Any]) -> Step:
    """Decorator: a function of tensors as a :class:`Step` without a kernel."""
    return Step(definition)


class _Twin(NamedTuple):
    fast: Callable[..., Any]
    when: Callable[[Any], bool]


_TWINS: dict[Callable[..., Any], _Twin] = {}


def twin_of(
    readable: Callable[..., Any], when: Callable[[Any], bool] = lambda config: True
) -> Callable[[Readable], Readable]:
    """Decorator: a faster class or function that may stand in for ``readable`` where ``when(config)`` is true."""

    def register(fast: Readable) -> Readable:
        _TWINS[readable] = _Twin(fast, when)
        return fast

    return register


def best(readable: Readable, config: Any = None) -> Readable:
    """The fast twin of ``readable`` where there is one that can do what ``config`` asks for, else ``readable``."""
    if READABLE_ONLY:
        return readable
    _import_twins(readable.__module__)
    twin = _TWINS.get(readable)
    return twin.fast if twin is not None and twin.when(config) else readable  # type: ignore[return-value]


@functools.cache
def _import_twins(module: str) -> None:
    if importlib.util.find_spec(f"{module}_fast") is not None:
        importlib.import_module(f"{module}_fast")
