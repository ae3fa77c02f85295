"""What a model can learn from the synthetic data: entropies of the chains (paper 3.2) and of the MDPs (4.1), in nats.

The best possible loss of a next-token model is the chain's entropy rate. A model that ignores the past has at best the
entropy of the stationary distribution. Between the two lies the mutual information of neighbouring tokens.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from synthlib.generators.markov_chain import ChainConfig, row
from synthlib.generators.mdp import MDPConfig, policy_probabilities, transition_probabilities, transition_row


class Information(NamedTuple):
    """What a model can learn from a chain, in nats per token."""

    entropy_rate: float  # the best loss of a model that knows the past
    stationary_entropy: float  # the best loss of a model that does not know the past
    mutual_information: float  # their difference


def information(config: ChainConfig) -> Information:
    """What a model can learn from a chain of order 1 (faithfulness 1.10). Solves S equations, S up to about 5000.

    Raises ValueError for any other chain.
    """
    matrix = transition_matrix(config)
    occupied = stationary(matrix)
    rate = float(occupied @ entropy(matrix))
    most = float(entropy(occupied))
    return Information(rate, most, most - rate)


def transition_matrix(config: ChainConfig) -> np.ndarray:
    """The rows of a chain of order 1, float64 (S, S). Raises ValueError for any other chain."""
    if config.kind != "chain" or config.order != 1:
        raise ValueError(f"only a chain of order 1 has one stationary row, not {config.kind} of order {config.order}")
    return np.stack([row(config, [token]) for token in range(config.states)])


def mean_row_entropy(config: ChainConfig, contexts: Iterable[Sequence[int]]) -> float:
    """Mean entropy of the rows after ``contexts``, in nats: an estimate of the entropy rate where S is too large."""
    return float(np.mean([entropy(row(config, context)) for context in contexts]))


def learnable_with_many_states(temperature: float) -> float:
    """How far the entropy rate lies below ln S when S is large, in nats; it does not depend on S.

    A row's weights are exp(u / T) with uniform u, of mean m = T (exp(1/T) - 1). With w = exp(u / T) / m, the distance
    is the mean of w ln w = (mean of w u) / T - ln m.
    """
    inverse = 1 / temperature
    mean_of_wu = 1 / -math.expm1(-inverse) - temperature
    log_mean = inverse + math.log(-temperature * math.expm1(-inverse))  # ln m, also where exp(1/T) would overflow
    return mean_of_wu * inverse - log_mean


class MDPInformation(NamedTuple):
    """What a model can learn from the transitions of an MDP, in nats per transition."""

    action_entropy: float  # of the action, for a model that knows the state
    next_state_entropy: float  # of the next state, for a model that knows state and action
    state_entropy: float  # of the next state, for a model that knows nothing
    mutual_information: float  # between the next state and the pair of state and action


def mdp_information(config: MDPConfig) -> MDPInformation:
    """What a model can learn from an MDP in its stationary distribution. Needs S * A rows, S = A up to about 300.

    Raises ValueError for data of another kind.
    """
    policy, transition = mdp_tables(config)
    occupied = stationary(np.einsum("sa,sap->sp", policy, transition))
    pairs = occupied[:, None] * policy
    after, most = float((pairs * entropy(transition)).sum()), float(entropy(occupied))
    return MDPInformation(float(occupied @ entropy(policy)), after, most, most - after)


def mdp_tables(config: MDPConfig) -> tuple[np.ndarray, np.ndarray]:
    """The policy (S, A) and the transitions (S, A, S) of an MDP, float64. Raises ValueError for another kind."""
    if config.kind != "mdp":
        raise ValueError(f"only kind 'mdp' has a policy and transitions, not {config.kind!r}")
    policy = np.stack([_distribution(policy_probabilities(config, s), config.actions) for s in range(config.states)])
    numbers = transition_row(config, np.arange(config.states)[:, None], np.arange(config.actions))
    _, first, place = np.unique(numbers, return_index=True, return_inverse=True)  # a shared row is made once
    rows = np.stack(
        [
            _distribution(transition_probabilities(config, *divmod(pair, config.actions)), config.states)
            for pair in first.tolist()
        ]
    )
    return policy, rows[place.reshape(numbers.shape)]


def stationary(matrix: np.ndarray) -> np.ndarray:
    """The stationary distribution (S,) of a matrix (S, S) whose rows are distributions."""
    equations = matrix.T - np.eye(len(matrix))
    equations[-1] = 1  # one equation follows from the others; in its place, the probabilities sum to 1
    return np.linalg.solve(equations, np.eye(len(matrix))[-1])


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of distributions along the last axis, in nats: (..., S) to (...,)."""
    return -np.sum(probabilities * np.log(np.maximum(probabilities, 1e-300)), axis=-1)


def _distribution(probabilities: np.ndarray | None, size: int) -> np.ndarray:
    """A row in float64 that sums to 1; None stands for the uniform row of an infinite temperature."""
    if probabilities is None:
        return np.full(size, 1 / size)
    exact = probabilities.astype(np.float64)
    return exact / exact.sum()
