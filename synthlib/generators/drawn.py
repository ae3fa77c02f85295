"""The data of generators of one's own, made once and kept on disk: all workers and seeds read the same file."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from synthlib.generators.checked import VectorTransitions
from synthlib.generators.mdp import IndexTransitions, MDPConfig, vectors
from synthlib.generators.registry import Generated, generate
from synthlib.machine.files import write_atomically
from synthlib.paths import data_cache


def tokens(data: Generated, length: int) -> np.ndarray:
    """The sequences of ``data``, int32 (data.size, length), mapped from their file."""
    path = _path(data, length).with_suffix(".npy")
    _keep(path, lambda file: np.save(file, generate(data, length)))
    return np.load(path, mmap_mode="r")


def transitions(
    data: Generated, observation_width: int, action_width: int
) -> tuple[IndexTransitions, tuple[np.ndarray, np.ndarray]]:
    """The transitions of ``data``, and the tables of vectors that their numbers stand for.

    Tables are float32, of shapes (states, observation_width) and (actions, action_width). Where the generator returns
    vectors, every row of a transition has a number of its own: its table is the data.
    """
    widths = observation_width, action_width
    path = _path(data, *widths).with_suffix(".npz")
    _keep(path, lambda file: np.savez(file, *generate(data, *widths)))
    with np.load(path) as columns:
        found = [columns[name] for name in columns.files]
    if found[0].ndim == 1:
        numbers = IndexTransitions(*found)
        states, actions = max(found[0].max(), found[2].max()) + 1, found[1].max() + 1
        return numbers, vectors(MDPConfig(kind="iid", states=states, actions=actions), *widths)
    made, rows = VectorTransitions(*found), np.arange(len(found[0]))
    states = np.concatenate([made.observations, made.next_observations])
    return IndexTransitions(rows, rows, rows + len(rows)), (states, made.actions)


def _path(data: Generated, *given: int) -> Path:
    name = json.dumps([asdict(data), given], sort_keys=True)
    return data_cache() / "generated" / hashlib.sha256(name.encode()).hexdigest()[:16]


def _keep(path: Path, write: Callable[[Any], None]) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)

    def fill(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # to a path with another ending, NumPy would add its own
            write(file)

    write_atomically(path, fill)
