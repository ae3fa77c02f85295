"""The data of generators of one's own, made once and kept on disk: all workers and seeds read the same file."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from synthlib.generators.checked import VectorTransitions
from synthlib.generators.mdp import IndexTransitions, MDPConfig, vectors
from synthlib.generators.registry import Generated, generate
from synthlib.machine.cached import kept_arrays
from synthlib.paths import data_cache


def tokens(data: Generated, length: int) -> np.ndarray:
    """The sequences of ``data``, int32 (data.size, length)."""
    return kept_arrays(_path(data, length), lambda: {"tokens": generate(data, length)})["tokens"]


def transitions(
    data: Generated, observation_width: int, action_width: int
) -> tuple[IndexTransitions, tuple[np.ndarray, np.ndarray]]:
    """The transitions of ``data``, and the tables of vectors that their numbers stand for.

    Tables are float32, of shapes (states, observation_width) and (actions, action_width). Where the generator returns
    vectors, every row of a transition has a number of its own: its table is the data.
    """
    widths = observation_width, action_width
    kept = kept_arrays(_path(data, *widths), lambda: generate(data, *widths)._asdict())
    found = [kept[name] for name in VectorTransitions._fields]  # those of IndexTransitions too
    if found[0].ndim == 1:
        numbers = IndexTransitions(*found)
        states, actions = max(found[0].max(), found[2].max()) + 1, found[1].max() + 1
        return numbers, vectors(MDPConfig(kind="iid", states=states, actions=actions), *widths)
    made, rows = VectorTransitions(*found), np.arange(len(found[0]))
    states = np.concatenate([made.observations, made.next_observations])
    return IndexTransitions(rows, rows, rows + len(rows)), (states, made.actions)


def _path(data: Generated, *given: int) -> Path:
    name = json.dumps([asdict(data), given], sort_keys=True)
    return data_cache() / "generated" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.npz"
