"""Centroids of the MDP data (paper 4.3): what pre-training on the next state asks a critic to predict.

For a fixed pair (s, a), the prediction with the least squared error on the data is the mean vector of the next states
that follow the pair, its *empirical* centroid. With endless data it becomes the *exact* centroid, the mean vector under
the distribution p(. | s, a). The difference is sampling noise.

A variance here is weighted by visits, because the loss is a mean over transitions, and it is the mean over dimensions.
"""

import math
from typing import NamedTuple

import numpy as np

from synthlib.generators.mdp import IndexTransitions, MDPConfig, transition_probabilities, transition_row

_NEXT_TO_NOTHING = 1e-4


class Centroids(NamedTuple):
    """The centroids of the P pairs that the data contain."""

    pairs: np.ndarray  # (P,) int64: s * A + a
    rows: np.ndarray  # (P,) int64: number of the pair's transition row
    visits: np.ndarray  # (P,) int64: transitions that start with the pair
    empirical: np.ndarray  # (P, W) float64
    exact: np.ndarray  # (P, W) float64
    total: float  # variance of the next states themselves


class Spread(NamedTuple):
    """How far the centroids lie apart; all but the counts are variances per dimension."""

    total: float  # of the next states themselves: the loss of a model that predicts their mean
    empirical: float  # of the empirical centroids
    exact: float  # of the exact centroids
    noise: float  # of the difference between both
    pairs: int  # in the data
    distinct: int  # different exact centroids among these pairs


class Learned(NamedTuple):
    """What predictions have of the centroids.

    ``structure`` and ``noise`` are the coefficients of a regression of the predictions, without their mean, on the
    exact centroids and on the sampling noise: 0 when every pair gets the same prediction, 1 when every pair gets its
    empirical centroid. A coefficient is NaN where there is next to nothing to learn: a part with less than 0.01 % of
    the variance of the next states, as the structure of IID data.
    """

    structure: float
    noise: float
    variance: float  # of the predictions
    error_to_exact: float  # mean squared, per dimension
    error_to_empirical: float


def centroids(config: MDPConfig, transitions: IndexTransitions, state_table: np.ndarray) -> Centroids:
    """Both centroids of every pair in ``transitions``; ``state_table`` (S, W) holds the vectors of the states.

    Raises ValueError unless the data are of kind "mdp" or "iid": the others do not predict the next state.
    """
    if config.kind not in ("mdp", "iid"):
        raise ValueError(f"centroids of next states need data of kind mdp or iid, not {config.kind!r}")
    table = state_table.astype(np.float64)
    number = transitions.observations * config.actions + transitions.actions
    pairs, place, visits = np.unique(number, return_inverse=True, return_counts=True)
    sums = [np.bincount(place, column[transitions.next_observations]) for column in table.T]
    empirical, exact = np.stack(sums, axis=1) / visits[:, None], exact_centroids(config, pairs, table)
    total = variance(table, np.bincount(transitions.next_observations, minlength=len(table)))
    return Centroids(pairs, row_numbers(config, pairs), visits, empirical, exact, total)


def exact_centroids(config: MDPConfig, pairs: np.ndarray, state_table: np.ndarray) -> np.ndarray:
    """The mean vector of the next state for each of ``pairs`` (P,), numbers s * A + a: float64 (P, W)."""
    _, first, place = np.unique(row_numbers(config, pairs), return_index=True, return_inverse=True)
    means = [_mean_vector(config, pair, state_table) for pair in pairs[first].tolist()]
    return np.stack(means)[place]


def row_numbers(config: MDPConfig, pairs: np.ndarray) -> np.ndarray:
    """The number of the transition row of each of ``pairs`` (P,): pairs with the same number share their row."""
    if config.kind == "iid" or math.isinf(config.transition_temperature):
        return np.zeros_like(pairs)
    states, actions = np.divmod(pairs, config.actions)
    return transition_row(config, states, actions)


def _mean_vector(config: MDPConfig, pair: int, state_table: np.ndarray) -> np.ndarray:
    row = None if config.kind == "iid" else transition_probabilities(config, *divmod(pair, config.actions))
    return state_table.mean(axis=0) if row is None else row @ state_table / row.sum(dtype=np.float64)


def spread(found: Centroids) -> Spread:
    """How far the centroids lie apart."""
    return Spread(
        total=found.total,
        empirical=variance(found.empirical, found.visits),
        exact=variance(found.exact, found.visits),
        noise=variance(found.empirical - found.exact, found.visits),
        pairs=len(found.pairs),
        distinct=len(np.unique(found.rows)),
    )


def variance(points: np.ndarray, weights: np.ndarray) -> float:
    """Variance of ``points`` (P, W) with ``weights`` (P,), mean over dimensions."""
    return float(np.average(_centred(points, weights) ** 2, axis=0, weights=weights).mean())


def learned(predictions: np.ndarray, found: Centroids) -> Learned:
    """What ``predictions`` (P, W), one for each pair of ``found``, have of the centroids."""
    weights, noise = found.visits, found.empirical - found.exact
    scale = np.sqrt(weights)[:, None]
    there = [variance(part, weights) > _NEXT_TO_NOTHING * found.total for part in (found.exact, noise)]
    parts = [(_centred(part, weights) * scale).ravel() for part in (found.exact, noise)]
    regressors = np.stack([part for part, is_there in zip(parts, there, strict=True) if is_there], axis=1)
    wanted = (_centred(predictions, weights) * scale).ravel()
    coefficients = iter(np.linalg.lstsq(regressors, wanted)[0].tolist())
    structure, of_noise = (next(coefficients) if is_there else math.nan for is_there in there)
    to_exact, to_empirical = (
        float(np.average((predictions - points) ** 2, axis=0, weights=weights).mean())
        for points in (found.exact, found.empirical)
    )
    return Learned(structure, of_noise, variance(predictions, weights), to_exact, to_empirical)


def expected_spread(config: MDPConfig, transitions: int, pairs: int, total: float) -> tuple[float, float]:
    """(exact, noise) of :class:`Spread` by formula, from the number of ``transitions`` and of ``pairs`` among them.

    A row has weights exp(u / T) with uniform u; their squared coefficient of variation is x coth x - 1 with
    x = 1 / (2 T). So the mean vectors of rows over N states have the variance ``total`` (x coth x - 1) / N, where N is
    large and T not so small that a few states take it all. The noise is what any fit of P means to M vectors has: P / M
    of the variance that is left.
    """
    temperature = math.inf if config.kind == "iid" else config.transition_temperature
    x = 1 / (2 * temperature)
    exact = total * (x / math.tanh(x) - 1) / config.states if x else 0.0
    return exact, (total - exact) * pairs / transitions


def _centred(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return points - np.average(points, axis=0, weights=weights)
