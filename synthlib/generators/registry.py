"""Pre-training data of one's own: one function in one file on the Python path, registered by a decorator.

    @token_generator
    def coin(seed, sequences, length, vocabulary=2, bias=0.5): ...

    @transition_generator
    def drift(seed, transitions, observation_width, action_width, speed=0.1): ...

An arm of params/<table>.yaml names it, ``generator: my_module:coin``, with ``parameters: {bias: 0.7}``. The first
parameters are given by the study, in this order; the others are the generator's own, checked against its signature.

* A token generator returns integers from 0 to ``vocabulary`` - 1, shape (sequences, length). It must have a parameter
  ``vocabulary``: the number of different tokens.
* A transition generator returns three arrays: observations, actions and next observations. They are vectors, floats of
  shapes (transitions, observation_width), (transitions, action_width) and (transitions, observation_width), or numbers
  of states and actions, integers (transitions,). Numbers get the random vectors that the paper's MDP has.

Equal arguments must give equal data. ``seed`` is the arm's ``pretraining_seed`` for tokens and 0 for transitions;
``parameters: {seed: n}`` replaces it.

The source of the code is part of a run's identity, so edited code makes new runs. With ``@token_generator(version=1)``
the version takes its place: then it is up to the author to count up when the output changes.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from synthlib.generators.checked import check_tokens, check_transitions, same
from synthlib.own_code import code_of, imported

GIVEN = {
    "token": ("seed", "sequences", "length"),
    "transition": ("seed", "transitions", "observation_width", "action_width"),
}
"""{kind of generator: the parameters that the study gives}"""
_TYPES: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text"),
    list: ((list,), "a list"),
    dict: ((dict,), "a mapping"),
}
_TRIAL = 16  # sequences, tokens of each, and transitions that a plan draws to see whether a generator works


@dataclass(frozen=True)
class Generator:
    """A registered function; it can be called as before."""

    function: Callable[..., Any]
    kind: str
    """A key of :data:`GIVEN`."""
    version: int | None = None

    def __call__(self, *arguments: Any, **parameters: Any) -> Any:
        return self.function(*arguments, **parameters)

    @property
    def own_parameters(self) -> dict[str, inspect.Parameter]:
        """The parameters that ``parameters:`` may give, besides the seed."""
        signature = inspect.signature(self.function).parameters
        return {name: one for name, one in signature.items() if name not in GIVEN[self.kind]}


@dataclass(frozen=True)
class Generated:
    """Data of a generator: everything that decides what they are. Fit for JSON as ``dataclasses.asdict``."""

    generator: str
    """module:name"""
    parameters: dict[str, Any]
    """All of the generator's own, defaults too."""
    code: dict[str, Any]
    """{"source": digest} or {"version": n}"""
    seed: int
    size: int
    """Number of sequences or transitions."""
    kind: str = "generated"
    """Beside the kinds of :class:`synthlib.generators.mdp.MDPConfig`."""

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {value}" for name, value in self.parameters.items())
        return f"{self.generator}, {shown}" if shown else self.generator


def token_generator(function: Callable[..., Any] | None = None, *, version: int | None = None) -> Any:
    """Decorator: register a function that returns tokens. ValueError when its signature cannot be one."""
    return _register("token", function, version)


def transition_generator(function: Callable[..., Any] | None = None, *, version: int | None = None) -> Any:
    """Decorator: register a function that returns transitions. ValueError when its signature cannot be one."""
    return _register("transition", function, version)


def _register(kind: str, function: Callable[..., Any] | None, version: int | None) -> Any:
    if function is None:
        return lambda function: _register(kind, function, version)
    parameters = inspect.signature(function).parameters
    wanted, name = GIVEN[kind], getattr(function, "__name__", "the function")
    if tuple(parameters)[: len(wanted)] != wanted:
        raise ValueError(
            f"the first parameters of the {kind} generator {name} must be {', '.join(wanted)}, in this order; "
            f"it has: {', '.join(parameters)}"
        )
    if open_ended := [str(one) for one in parameters.values() if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]:
        raise ValueError(f"{name} takes {open_ended[0]}, which cannot be checked: name every parameter")
    if kind == "token" and "vocabulary" not in parameters:
        raise ValueError(f"the token generator {name} needs a parameter vocabulary, the number of different tokens")
    return Generator(function, kind, version)


def generated_by(arm: Mapping[str, Any], kind: str, seed: int, size: int) -> Generated:
    """The data that an ``arm`` with the key ``generator`` asks for, after a small trial.

    ``seed`` and ``size`` are used unless ``parameters`` gives a seed. Raises ValueError for a generator that is not
    there or of another kind, for parameters that do not fit, and for output that is not what the module's docstring
    asks for.
    """
    name, given = arm["generator"], dict(arm.get("parameters", {}))
    generator = find(name, kind)
    seed = given.pop("seed", seed)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, not {seed!r}")
    data = Generated(name, _fitting(name, generator, given), _code(name, generator), seed, size)
    vocabulary = data.parameters.get("vocabulary")
    if kind == "token" and (not isinstance(vocabulary, int) or vocabulary < 2):
        raise ValueError(f"vocabulary must be a whole number of at least 2, not {vocabulary!r}")
    return data


def generate(data: Generated, *given: int) -> Any:
    """What the generator of ``data`` returns, checked; ``given`` follows seed and size in its signature.

    ``given`` is the length of the sequences, or the widths of observation and action. Raises ValueError when the output
    is not what it must be, and when the code is no longer what it was when ``data`` was planned.
    """
    kind = "token" if len(given) == 1 else "transition"
    generator = find(data.generator, kind)
    if _code(data.generator, generator) != data.code:
        raise ValueError(f"{data.generator} was edited after its runs had been planned; start again")
    return _drawn(data.generator, generator, data.parameters, (data.seed, data.size, *given))


def try_out(data: Generated, *given: int) -> None:
    """Draw a few sequences or transitions, twice. Raises ValueError when they are wrong, or differ.

    ``given`` is as in :func:`generate`.
    """
    _try_out(data.generator, json.dumps(data.parameters), json.dumps(data.code), data.seed, given)


@lru_cache(maxsize=256)  # a plan asks once per cell
def _try_out(name: str, parameters: str, code: str, seed: int, given: tuple[int, ...]) -> None:
    kind = "token" if len(given) == 1 else "transition"
    small = (seed, _TRIAL, *(min(_TRIAL, number) if kind == "token" else number for number in given))
    first, second = (_drawn(name, find(name, kind), json.loads(parameters), small) for _ in range(2))
    if not same(first, second):
        raise ValueError(
            f"{name} gives other data the second time: draw with numpy.random.default_rng(seed), and with nothing else"
        )


def _drawn(name: str, generator: Generator, parameters: Mapping[str, Any], given: tuple[int, ...]) -> Any:
    call = ", ".join(f"{key}={value}" for key, value in zip(GIVEN[generator.kind], given, strict=True))
    try:
        found = generator.function(*given, **parameters)
    except Exception as error:
        raise ValueError(f"{name} fails with {call}: {type(error).__name__}: {error}") from error
    if generator.kind == "token":
        _, sequences, length = given
        return check_tokens(name, found, sequences, length, parameters["vocabulary"])
    _, transitions, observation_width, action_width = given
    return check_transitions(name, found, transitions, observation_width, action_width)


def find(name: str, kind: str) -> Generator:
    """The generator ``module:name``. Raises ValueError, in one sentence, when there is none of this ``kind``."""
    place, colon, attribute = name.partition(":")
    if not (place and colon and attribute):
        raise ValueError(f"generator must be my_module:name, not {name!r}")
    module = imported(place)
    found = getattr(module, attribute, None)
    known = [other for other, one in vars(module).items() if isinstance(one, Generator)]
    if isinstance(found, Generator):
        if found.kind != kind:
            raise ValueError(f"{name} is a {found.kind} generator; this arm needs a {kind} generator")
        return found
    if callable(found):
        raise ValueError(f"{name} is not registered: put @{kind}_generator above its definition")
    there = f"its generators: {', '.join(known)}" if known else "and no generator at all"
    raise ValueError(f"{place} has no {attribute!r}; {there}")


def _code(name: str, generator: Generator) -> dict[str, Any]:
    """What stands for the generator's code in the identity of its data."""
    return code_of(name, generator.function, generator.version)


def _fitting(name: str, generator: Generator, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of the generator's own, ``given`` or default. Raises ValueError for one that does not fit."""
    own = generator.own_parameters
    if unknown := sorted(set(given) - set(own)):
        there = ", ".join(own) or "none"
        raise ValueError(f"{name} has no parameter {unknown[0]!r}; it has: {there}")
    filled: dict[str, Any] = {key: given.get(key, one.default) for key, one in own.items()}
    if absent := [key for key, value in filled.items() if value is inspect.Parameter.empty]:
        raise ValueError(f"{name} needs a value for {absent[0]!r}: give it under parameters")
    for key, value in filled.items():
        types, words = _TYPES.get(type(own[key].default), ((object,), ""))
        is_wrong_flag = isinstance(value, bool) and bool not in types and object not in types
        if not isinstance(value, types) or is_wrong_flag:
            raise ValueError(f"{name}: {key} must be {words}, not {value!r}")
        if isinstance(own[key].default, float):
            filled[key] = float(filled[key])  # 1 and 1.0 are one run
    try:
        kept: dict[str, Any] = json.loads(json.dumps(filled))
    except TypeError as error:
        raise ValueError(f"{name}: its parameters must be numbers, texts and lists: {error}") from error
    return kept
