"""What a configuration contributes to a training's key, also after the configuration has got new fields.

A key is the hash of every field. A new field would therefore change all keys, and no plan would find the published
trainings any more. So a new field stays out of the key while it has the value that the code had before the field.
"""

from dataclasses import Field, asdict, field, fields
from typing import Any, TypeVar

Value = TypeVar("Value")
_ADDED_LATER = "added later"


def added_later(default: Value) -> Value:
    """A dataclass field that came after trainings had been published; ``default`` is what those trainings used."""
    return field(default=default, metadata={_ADDED_LATER: True})


def identity_of(config: Any) -> dict[str, Any]:
    """``asdict`` of a dataclass without the :func:`added_later` fields that have their default.

    ``type(config)(**identity_of(config))`` is ``config`` again.
    """

    def counts(one: Field) -> bool:
        return not one.metadata.get(_ADDED_LATER) or getattr(config, one.name) != one.default

    counted = {one.name for one in fields(config) if counts(one)}
    return {name: value for name, value in asdict(config).items() if name in counted}
