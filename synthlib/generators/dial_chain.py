"""Not in the paper: a Markov chain that says how much there is to learn from it, from nothing to several nats a token.

With probability p the next token is the successor of the last one, in a random permutation of all tokens; otherwise it
is any token. All tokens are equally frequent, so a model that does not look back can learn nothing, and one that
looks back a token can learn the mutual information of neighbours. That is the dial; p follows from it.

The paper's default chain has 0.04 nat (:mod:`synthlib.generators.information`).
"""

import math

import numpy as np

from synthlib.generators.registry import token_generator


@token_generator(version=1)
def dial_chain(
    seed: int, sequences: int, length: int, vocabulary: int = 100, information: float = 0.04, permutation: int = 666
) -> np.ndarray:
    """Sequences of a chain with a mutual information of ``information`` nats between neighbours, int64.

    ``permutation`` is the seed of the chain, ``seed`` the seed of what is drawn from it. Raises ValueError for an
    information that a chain with this vocabulary cannot have.
    """
    follow, successor = probability(information, vocabulary), successors(vocabulary, permutation)
    draw = np.random.default_rng(seed)
    tokens = np.empty((sequences, length), dtype=np.int64)
    tokens[:, 0] = draw.integers(vocabulary, size=sequences)
    for t in range(1, length):
        anything = draw.integers(vocabulary, size=sequences)
        tokens[:, t] = np.where(draw.random(sequences) < follow, successor[tokens[:, t - 1]], anything)
    return tokens


def successors(vocabulary: int, permutation: int = 666) -> np.ndarray:
    """The successor of each token, int64 (vocabulary,)."""
    return np.random.default_rng(permutation).permutation(vocabulary)


def mutual_information(follow: float, vocabulary: int) -> float:
    """Nats between neighbours where a token is followed by its successor with probability ``follow`` (exact)."""
    other = (1 - follow) / vocabulary
    rest = (vocabulary - 1) * other * math.log(other) if other else 0.0
    return math.log(vocabulary) + (follow + other) * math.log(follow + other) + rest


def probability(information: float, vocabulary: int) -> float:
    """The probability to follow with which neighbours share ``information`` nats, by bisection.

    Raises ValueError unless ``information`` lies from 0 to the logarithm of ``vocabulary``.
    """
    most = math.log(vocabulary)
    if not 0 <= information <= most:
        raise ValueError(f"information must lie from 0 to ln {vocabulary} = {most:.3f} nat, not {information}")
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mutual_information(middle, vocabulary) < information else (low, middle)
    return high if information else 0.0


def transition_matrix(information: float, vocabulary: int = 100, permutation: int = 666) -> np.ndarray:
    """The distribution of the next token after each token, float64 (vocabulary, vocabulary)."""
    follow = probability(information, vocabulary)
    matrix = np.full((vocabulary, vocabulary), (1 - follow) / vocabulary)
    matrix[np.arange(vocabulary), successors(vocabulary, permutation)] += follow
    return matrix
