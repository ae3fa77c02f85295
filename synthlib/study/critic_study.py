"""Critics pre-trained on several kinds of MDP data, and what they have of the data's centroids (paper 4.3).

The critics are those of Tables 6 and 7: with the paper's number of updates they are the same runs of the store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from synthlib.cql.algorithm import ALGORITHM
from synthlib.cql.predictions import predictions
from synthlib.cql.pretraining import CriticPretrainingConfig, identity_of
from synthlib.generators.centroids import Centroids, centroids, expected_spread, learned, spread
from synthlib.generators.mdp import MDPConfig, generate, vectors
from synthlib.kernels.twins import best
from synthlib.machine.processors import usable_processors
from synthlib.machine.switches import TrainingIsOff, may_train
from synthlib.paths import outputs, store_root
from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.cost import seconds_of
from synthlib.study.engine import run_jobs
from synthlib.study.params import load_artefact
from synthlib.tasks import DIMENSIONS

WIDTHS = DIMENSIONS["halfcheetah"]  # of the vectors; walker2d has the same
_FROM_TABLES = ("tau=0.01", "tau=0.1", "tau=1", "tau=10", "tau=100", "CQL+IID", "S=10", "S=1000")


def kinds() -> dict[str, MDPConfig]:
    """{name: data set}: those of Table 7, two other sizes of Table 6, and independent rows. tau=1 is the default."""
    arms = load_artefact("table7").arms | load_artefact("table6").arms
    named = {name: MDPConfig(**arms[name]["mdp"]) for name in _FROM_TABLES}
    return named | {"independent rows": MDPConfig(rows="independent")}


def measure(data: MDPConfig) -> Centroids:
    """The centroids of a data set, with vectors of :data:`WIDTHS`."""
    return centroids(data, best(generate, data)(data), vectors(data, *WIDTHS)[0])


def job_of(data: MDPConfig, updates: Sequence[int]) -> Job:
    """The pre-training on ``data`` that ends after the last of ``updates`` and keeps its critics after each of them."""
    config = identity_of(CriticPretrainingConfig(*WIDTHS, data))
    return Job("critic_pretraining", config, updates[-1], keep=tuple(updates), algorithm=ALGORITHM.name)


def train(data: Mapping[str, MDPConfig], updates: Sequence[int], workers: int = 0) -> None:
    """Pre-train critics on each data set as far as that is not done, in ``workers`` processes (0: one per processor).

    Raises the errors of :func:`synthlib.study.engine.run_jobs`, and TrainingIsOff for missing critics where trainings
    are off: the page compares all of them.
    """
    outputs().mkdir(parents=True, exist_ok=True)
    store = Store(store_root())
    missing = [job for job in (job_of(config, updates) for config in data.values()) if not store.is_done(job)]
    if missing and not may_train():
        raise TrainingIsOff(f"trainings are off, and {len(missing)} of the {len(data)} critics are not trained")
    run_jobs(missing, store, workers or usable_processors(), seconds_of(missing))


def predicted(data: MDPConfig, updates: int, pairs: np.ndarray, critic: str = "q1") -> np.ndarray:
    """What a critic ("q1" or "q2") predicts for ``pairs`` (P,) after ``updates`` updates on ``data``: (P, W)."""
    job = job_of(data, [updates])
    return predictions(CriticPretrainingConfig(*WIDTHS, data), Store(store_root()).weights(job)[critic], pairs)


def learning(data: Mapping[str, MDPConfig], measured: Mapping[str, Centroids], updates: Sequence[int]) -> pd.DataFrame:
    """What the trained critics have of the centroids: a row per data set, number of updates and critic.

    Columns ``data, updates, critic`` and the fields of :class:`synthlib.generators.centroids.Learned`.
    """
    rows = []
    for name, config in data.items():
        found = measured[name]
        for number in updates:
            for critic in ("q1", "q2"):
                has = learned(predicted(config, number, found.pairs, critic), found)
                rows.append({"data": name, "updates": number, "critic": critic} | has._asdict())
    return pd.DataFrame(rows)


def sweep(base: MDPConfig, changes: Mapping[float, Mapping[str, Any]]) -> pd.DataFrame:
    """The spread of the centroids for each of ``changes`` ({value: fields of MDPConfig}) to the data set ``base``.

    A row per value: ``value``, the fields of :class:`synthlib.generators.centroids.Spread`, and what the formula of
    :func:`synthlib.generators.centroids.expected_spread` gives: ``expected_exact, expected_noise``.
    """
    rows = []
    for value, fields in changes.items():
        config = replace(base, **fields)
        rows.append({"value": value} | described(config, measure(config)))
    return pd.DataFrame(rows)


def described(data: MDPConfig, found: Centroids) -> dict[str, float]:
    """The spread of measured centroids and the formula's, as in a row of :func:`sweep`."""
    has = spread(found)
    exact, noise = expected_spread(data, data.trajectories * data.length, has.pairs, has.total)
    return has._asdict() | {"expected_exact": exact, "expected_noise": noise}
