"""The part of a configuration that enters a training's key: a new field must not change the keys of old trainings.

A key is a hash of the configuration. If it covered a new field, all keys would change, and no plan would find the
published trainings any more. So a field that was added later enters the key only when it differs from its default. The
default is the value that the code used before the field existed.
"""

from dataclasses import Field, asdict, field, fields
from typing import Any, TypeVar

Value = TypeVar("Value")
_ADDED_LATER = "added later"
_PLAIN = (str, int, float, bool, type(None))


def added_later(default: Value) -> Value:
    """A dataclass field that was added after trainings had been published, which used ``default``."""
    return field(default=default, metadata={_ADDED_LATER: True})


def versioned(version: int) -> dict[str, int]:
    """What the version of a generator adds to an identity: nothing for 1, with which trainings have been published."""
    return {} if version == 1 else {"version": version}


def identity_of(config: Any) -> dict[str, Any]:
    """The fields of the dataclass ``config`` as a dict, without the :func:`added_later` fields at their default.

    ``type(config)(**identity_of(config))`` equals ``config``.
    """

    def counts(one: Field[Any]) -> bool:
        return not one.metadata.get(_ADDED_LATER) or getattr(config, one.name) != one.default

    counted = {one.name for one in fields(config) if counts(one)}
    return {name: value for name, value in as_dict(config).items() if name in counted}


def as_dict(config: Any) -> dict[str, Any]:
    """``dataclasses.asdict(config)``, much faster where no value needs a copy: a plan makes thousands of them."""
    values = {one.name: getattr(config, one.name) for one in fields(config)}
    return values if all(map(_needs_no_copy, values.values())) else asdict(config)


def _needs_no_copy(value: Any) -> bool:
    return all(map(_needs_no_copy, value)) if type(value) is tuple else isinstance(value, _PLAIN)
