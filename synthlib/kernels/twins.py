"""Which code a training runs: the definition that the pages show, or faster code that a test proves equal to it.

Two mechanisms choose, and nothing else does:

* A *step* is a function of tensors with one definition in PyTorch and perhaps a kernel compiled by Numba. The kernel
  runs when the first argument is on the processor.

      @step
      def add_relu_(x, y): ...        # PyTorch, for any device

      @add_relu_.kernel
      def _(x, y): ...                # Numba, for the processor

* A *twin* is a faster class or function with the same arguments and results as a readable class or function. A
  condition on the configuration says when the twin can take its place. The twins of ``cql/agent.py`` stand in
  ``cql/agent_fast.py``, and so on. A readable file never imports its twins.

      @twin_of(CQL, when=lambda config: len(config.hidden) == 2)
      class FastCQL: ...

      best(CQL, config)               # FastCQL, or CQL where the condition does not hold

With the environment variable ``SYNTHLIB_READABLE=1``, the definitions run everywhere.
"""

import functools
import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

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
        """Decorator: compile ``function`` of arrays as this step's kernel, and enter the step in :data:`STEPS`."""
        self.compiled = compile_step(function)
        STEPS.append(self)
        return function


STEPS: list[Step] = []
"""Every step that has a kernel; tests/kernels/test_steps.py compares each kernel with its definition."""


def step(definition: Callable[..., Any]) -> Step:
    """Decorator: make a function of tensors a :class:`Step`, at first without a kernel."""
    return Step(definition)


class _Twin(NamedTuple):
    fast: Callable[..., Any]
    when: Callable[[Any], bool]


_TWINS: dict[Callable[..., Any], _Twin] = {}


def twin_of(
    readable: Callable[..., Any], when: Callable[[Any], bool] = lambda config: True
) -> Callable[[Readable], Readable]:
    """Decorator: register a faster class or function that replaces ``readable`` when ``when(config)`` is true."""

    def register(fast: Readable) -> Readable:
        _TWINS[readable] = _Twin(fast, when)
        return fast

    return register


def best(readable: Readable, config: Any = None) -> Readable:
    """The fast twin of ``readable`` if it has one whose condition holds for ``config``, else ``readable`` itself."""
    if READABLE_ONLY:
        return readable
    _import_twins(readable.__module__)
    twin = _TWINS.get(readable)
    if twin is None or not twin.when(config):
        return readable
    return cast(Readable, twin.fast)  # a twin has the arguments and results of its readable version


@functools.cache
def _import_twins(module: str) -> None:
    if importlib.util.find_spec(f"{module}_fast") is not None:
        importlib.import_module(f"{module}_fast")
