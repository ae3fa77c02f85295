"""What the keys of params/ may hold: each kind of value says itself in words and tests a value that YAML has read.

    {"updates": integer(1), "rate": number(above=0), "kind": one_of("chain", "iid"), "model": group({...})}

An :class:`~synthlib.runs.job.Algorithm` declares its keys with these; :mod:`synthlib.study.checks` applies them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """What a key may hold."""

    wanted: str
    """In words, as they stand after "must be"."""
    fits: Callable[[Any], bool]
    keys: "Mapping[str, Setting] | None" = None
    """Of a mapping with known keys: what these may hold. None of them is required."""


def integer(least: int, most: int | None = None) -> Setting:
    """A whole number from ``least`` to ``most``."""
    words = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"
    return Setting(words, lambda value: _is_integer(value) and least <= value and (most is None or value <= most))


def number(
    above: float = -math.inf, least: float = -math.inf, most: float = math.inf, may_be_infinite: bool = False
) -> Setting:
    """A number that is larger than ``above``, not smaller than ``least`` and not larger than ``most``."""
    limits = [f"above {above:g}"] if above > -math.inf else []
    limits += [f"of at least {least:g}"] if least > -math.inf else []
    limits += [f"of at most {most:g}"] if most < math.inf else []
    infinity = " (infinity is .inf)" if may_be_infinite else ""

    def fits(value: Any) -> bool:
        if not (_is_integer(value) or isinstance(value, float)) or math.isnan(value):
            return False
        return above < value and least <= value <= most and (may_be_infinite or math.isfinite(value))

    return Setting(" ".join(["a number", *([" and ".join(limits)] if limits else [])]) + infinity, fits)


def one_of(*names: str) -> Setting:
    """One of these texts."""
    words = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return Setting(words, lambda value: isinstance(value, str) and value in names)


def text() -> Setting:
    """A text that is not empty."""
    return Setting("a text", lambda value: isinstance(value, str) and bool(value.strip()))


def yes_or_no() -> Setting:
    """True or false."""
    return Setting("true or false", lambda value: isinstance(value, bool))


def or_none(setting: Setting) -> Setting:
    """``setting``, or null."""
    return Setting(f"{setting.wanted}, or null", lambda value: value is None or setting.fits(value))


def any_of(first: Setting, second: Setting) -> Setting:
    """``first`` or ``second``; neither may have known keys."""
    return Setting(f"{first.wanted}, or {second.wanted}", lambda value: first.fits(value) or second.fits(value))


def list_of(setting: Setting, different: bool = True) -> Setting:
    """A list of one or more values, all of them ``different`` unless that is False."""

    def fits(value: Any) -> bool:
        if not isinstance(value, list) or not value or not all(map(setting.fits, value)):
            return False
        return not different or len(set(value)) == len(value)

    return Setting(f"a list of {'different ' * different}values, each {setting.wanted}", fits)


def mapping_of(setting: Setting) -> Setting:
    """A mapping of names, which the user chooses, to such values."""

    def fits(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(isinstance(name, str) for name in value)
            and all(map(setting.fits, value.values()))
        )

    return Setting(f"a mapping of names, each to {setting.wanted}", fits)


def group(keys: Mapping[str, Setting]) -> Setting:
    """A mapping with some of these keys."""
    return Setting(f"a mapping with keys among {', '.join(keys)}", lambda value: isinstance(value, dict), keys)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


SHARE = number(above=0, most=1)
PRETRAINED_ARM = {
    "pretraining": one_of("none"),
    "pretraining_updates": integer(0),
    "pretraining_seed": integer(0),
    "data_ratio": SHARE,
}
"""Keys that an arm of every algorithm with a pre-training may have."""
GENERATED_ARM = {"generator": text(), "parameters": mapping_of(Setting("anything", lambda value: True))}
"""Keys of an arm whose pre-training data a generator of one's own makes (:mod:`synthlib.generators.registry`)."""
