"""YAML as Python values. One command reads the same files many times, so each text is parsed once."""

import pickle
from functools import lru_cache
from typing import Any

import yaml

# libyaml's loader where PyYAML has it: ten times as fast.
SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parsed(text: str, loader: Any = SafeLoader) -> Any:
    """What ``text`` holds, as values of the caller's own, which it may change. Raises yaml.YAMLError."""
    return pickle.loads(_pickled(text, loader))  # several times as fast as a deep copy


@lru_cache(maxsize=512)
def _pickled(text: str, loader: Any) -> bytes:
    return pickle.dumps(yaml.load(text, loader))
