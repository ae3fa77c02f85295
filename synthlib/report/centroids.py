"""Section 4.3 of the paper in numbers: the centroids that the critics' pre-training aims at.

For each pair of state and action the forward-dynamics objective is least where the network predicts the centroid of the
vectors of the states that follow the pair in the data. The paper says that with IID data these centroids collapse to a
point, that with an MDP they are farther apart and distinct for each pair, and that CQL does not care.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from synthlib.generators.mdp import (
    IndexTransitions,
    MDPConfig,
    generate,
    softmax,
    transition_row,
    transition_uniforms,
    vectors,
)
from synthlib.kernels.twins import best
from synthlib.report.evidence import AUTHORS, PRINT, Evidence
from synthlib.report.judgements import NO_CQL, NOT_PRINTED, Judgement
from synthlib.report.verdicts import FAILS, HOLDS
from synthlib.tasks import DIMENSIONS


class Centroids(NamedTuple):
    """Variances a dimension of next-state vectors and of their centroids, over the pairs of state and action."""

    total: float
    """Of the vectors in the data: the least loss of a network that knows nothing."""
    empirical: float
    """Of the centroids in the data, each pair counted as often as it occurs."""
    noise: float
    """What ``empirical`` would be in the mean if all pairs had the same distribution."""
    exact: float
    """Of the centroids in infinitely many data."""
    distinct: int
    """How many different centroids there are in infinitely many data."""
    pairs: int


@lru_cache(maxsize=8)
def centroids(config: MDPConfig, environment: str = "halfcheetah") -> Centroids:
    """The :class:`Centroids` of one synthetic data set, with the vectors of one environment; seconds for 100 states."""
    data = best(generate, config)(config)
    table, _ = vectors(config, *DIMENSIONS[environment])
    pairs = config.states * config.actions
    counts, sums = _by_pair(config, data, table)
    next_states = table[data.next_observations].astype(float)
    means = sums[counts > 0] / counts[counts > 0, None]
    empirical = np.average((means - next_states.mean(0)) ** 2, axis=0, weights=counts[counts > 0]).mean()
    total = float(next_states.var(axis=0).mean())
    exact = _exact(config, table)
    return Centroids(
        total,
        float(empirical),
        total * len(means) / len(next_states),
        float(exact.var(axis=0).mean()),
        len(np.unique(exact.round(6), axis=0)),
        pairs,
    )


def _by_pair(config: MDPConfig, data: IndexTransitions, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(occurrences (P,), sum of the next states' vectors (P, width)) of each pair P of state and action."""
    pair = data.observations * config.actions + data.actions
    size = config.states * config.actions
    counts = np.bincount(pair, minlength=size)
    sums = [np.bincount(pair, column[data.next_observations], size) for column in table.T]
    return counts, np.stack(sums, axis=1)


def _exact(config: MDPConfig, table: np.ndarray) -> np.ndarray:
    """The centroid of each pair in infinitely many data, float64 (pairs, width)."""
    states, actions = np.divmod(np.arange(config.states * config.actions), config.actions)
    if config.kind == "iid":
        return np.broadcast_to(table.mean(axis=0, dtype=float), (len(states), table.shape[1]))
    rows, of_pair = np.unique(transition_row(config, states, actions), return_inverse=True)
    uniforms = (transition_uniforms(config, int(row), config.states) for row in rows)
    probabilities = np.stack([softmax(row, config.transition_temperature) for row in uniforms])
    return (probabilities.astype(float) @ table)[of_pair]


def judge_centroids(rules: list[dict[str, str]], evidence: Evidence) -> Judgement:
    """A claim of section 4.3, computed from the generators with the paper's sizes; no run is needed."""
    if evidence.source == PRINT:
        return Judgement(NOT_PRINTED)
    if evidence.source == AUTHORS:
        return Judgement(NO_CQL)
    (rule,) = rules
    mdp, iid = centroids(MDPConfig()), centroids(MDPConfig(kind="iid"))
    if rule["question"] == "minimum":
        least = mdp.total - mdp.empirical
        return Judgement(
            HOLDS,
            f"by algebra; the least loss is {least:.4f} a dimension, {mdp.total:.4f} for a constant prediction",
        )
    if rule["question"] == "collapse":
        quarter = centroids(MDPConfig(kind="iid", trajectories=250))
        falls = quarter.empirical / iid.empirical
        detail = f"their variance is {iid.empirical:.5f} a dimension, {quarter.empirical:.5f} in a quarter of the data"
        return Judgement(HOLDS if falls > 2 and iid.exact < 1e-12 else FAILS, detail)
    if rule["question"] == "apart":
        detail = f"{mdp.exact:.5f} against 0 in infinitely many data; in the data {mdp.empirical:.5f} against"
        detail += f" {iid.empirical:.5f}, of which sampling makes {mdp.noise:.5f} and {iid.noise:.5f}"
        return Judgement(HOLDS if mdp.exact > iid.exact and mdp.empirical > iid.empirical else FAILS, detail)
    detail = f"{mdp.distinct:,} different centroids for {mdp.pairs:,} pairs: pairs with equal 8s + 7a share one"
    return Judgement(HOLDS if mdp.distinct == mdp.pairs else FAILS, detail)
