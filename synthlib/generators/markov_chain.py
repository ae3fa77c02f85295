"""Synthetic token sequences for pre-training the Decision Transformer (paper 3.2; faithfulness section 1).

An n-step Markov chain over S states. The distribution after a context of n tokens is softmax(u / temperature) with
S uniforms u from a generator seeded by the context, so no table of S**n rows exists anywhere.

Three ways to draw from one and the same chain: :func:`sequence` says how, one token after the other;
:func:`authors_block` repeats the authors' own random numbers, for comparison with their files; :func:`stream` is what
trainings read: quick, seedable, and the same whoever asks for which part of it.
"""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

from synthlib.generators import markov_chain_fast

KINDS = ("chain", "iid")
INITIALS = ("authors", "uniform")


@dataclass(frozen=True)
class ChainConfig:
    """Which chain. ``dataclasses.asdict`` of it fits JSON; the defaults are the paper's. Raises ValueError."""

    kind: str = "chain"  # chain, or iid: uniform tokens (also the input of identity and mapping, with states=3500)
    order: int = 1  # tokens in a full context; the n-1 first positions have shorter ones with rows of their own
    states: int = 100
    temperature: float = 1.0
    length: int = 1024  # tokens of a sequence
    seed: int = 666  # of the rows, not of the draws: another seed is another chain
    initial: str = "authors"  # the first token's row is a softmax too (as executed), or "uniform" (the paper's text)

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind {self.kind!r}; known: {', '.join(KINDS)}")
        if self.initial not in INITIALS:
            raise ValueError(f"unknown initial {self.initial!r}; known: {', '.join(INITIALS)}")
        for name, least in (("order", 1), ("states", 2), ("length", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")
            object.__setattr__(self, name, int(value))
        if self.seed + self.states >= 2**32:
            raise ValueError(f"seed {self.seed} + {self.states} states must stay below 2**32")
        temperature = self.temperature
        if not isinstance(temperature, Real) or isinstance(temperature, bool) or not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be positive and finite, not {temperature!r}; its limit is kind='iid'")
        object.__setattr__(self, "temperature", float(temperature))
        if self.kind == "iid" and (self.order, self.temperature, self.initial) != (1, 1.0, "authors"):
            raise ValueError("order, temperature and initial mean nothing for kind='iid'; leave them out")


def initial_distribution(config):
    """Distribution of the first token, float64 (S,). The authors' is not uniform: it is a row seeded by the seed."""
    if config.kind == "iid" or config.initial == "uniform":
        return np.full(config.states, 1 / config.states)
    return _softmax(np.random.default_rng(config.seed).random(config.states) / config.temperature)


def row(config, context):
    """Distribution of the token after ``context``, tokens with the oldest first: float64 (S,).

    Uses the last ``order`` tokens; a shorter context has a row of its own. Raises ValueError for an empty context
    and for a token that is no state.
    """
    context = [int(token) for token in context][-config.order :]
    if not context or min(context) < 0 or max(context) >= config.states:
        raise ValueError(f"a context is one or more tokens from 0 to {config.states - 1}, not {context}")
    if config.kind == "iid":
        return initial_distribution(config)
    entropy = [token + 1 + config.seed for token in context]
    return _softmax(np.random.default_rng(entropy).random(config.states) / config.temperature)


def _softmax(logits):
    # Not np.exp: its last bit differs between processors with and without AVX-512, and the golden rows are libm's.
    weights = np.array([math.exp(distance) for distance in logits - logits.max()])
    return weights / weights.sum()


def sequence(config, generator):
    """One sequence, int64 (length,), drawn with NumPy's ``generator``."""
    tokens = [generator.choice(config.states, p=initial_distribution(config))]
    while len(tokens) < config.length:
        tokens.append(generator.choice(config.states, p=row(config, tokens[-config.order :])))
    return np.array(tokens)


def stream(config, seed, sequences):
    """Sequences of the stream ``seed``, int32 (len(sequences), length); ``sequences`` holds their numbers from 0 on.

    A sequence depends on the configuration, the seed and its number only: not on which others are asked for, how
    many at a time, or by how many processes. Nothing is stored, and there is no end.
    """
    if not isinstance(seed, Integral) or not 0 <= seed < 2**64:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, not {seed!r}")
    if len(sequences) and min(sequences) < 0:
        raise ValueError(f"sequences are numbered from 0 on, not from {min(sequences)}")
    return markov_chain_fast.tokens(config, initial_distribution(config), int(seed), sequences)


def authors_block(config, iteration, worker, workers, sequences, positions=None):
    """The authors' own tokens: what ``worker`` of ``workers`` writes in ``iteration``, int64 (sequences, positions).

    ``sequences`` is the worker's share of the iteration (1.6: 256 / 8 for 100 states). ``positions`` cuts the
    sequences; they are seeded by ``config.length`` all the same. The authors' files hold the workers' blocks of an
    iteration in the order in which the workers finished.
    """
    positions = config.length if positions is None else positions
    if not (0 <= worker < workers and iteration >= 0 and sequences >= 1 and 1 <= positions <= config.length):
        raise ValueError(
            f"there is no block of iteration {iteration}, worker {worker} of {workers} (both numbered from 0) "
            f"with {sequences} sequences and {positions} of {config.length} positions"
        )
    if config.kind == "iid":
        generator = np.random.default_rng(config.seed + iteration * workers + worker)
        shares = np.full(config.states, 1 / config.states)
        drawn = [generator.multinomial(1, shares, config.length).argmax(axis=1) for _ in range(sequences)]
        return np.stack(drawn)[:, :positions]
    if config.initial != "authors":
        raise ValueError("the authors' first token has the initial distribution 'authors'")
    tokens = np.empty((sequences, positions), dtype=np.int64)
    for t in range(positions):
        generator = np.random.default_rng(config.seed + (iteration * config.length + t) * workers + worker)
        if t == 0:
            tokens[:, 0] = generator.choice(config.states, size=sequences, p=initial_distribution(config))
        else:
            context = tokens[:, max(0, t - config.order) : t].T
            tokens[:, t] = generator.multinomial(1, markov_chain_fast.rows(config, context)).argmax(axis=1)
    return tokens


class Information(NamedTuple):
    """Nats per token: the best loss of a model that knows the past, of one that does not, and their difference."""

    entropy_rate: float
    stationary_entropy: float
    mutual_information: float


def information(config):
    """What there is to learn in a chain of order 1 (faithfulness 1.10). Solves S equations: for S up to about 5000."""
    if config.kind != "chain" or config.order != 1:
        raise ValueError(f"only a chain of order 1 has one stationary row, not {config.kind} of order {config.order}")
    matrix = markov_chain_fast.rows(config, np.arange(config.states)[None])
    equations = matrix.T - np.eye(config.states)
    equations[-1] = 1  # one of the equations follows from the others; the shares must add up instead
    stationary = np.linalg.solve(equations, np.eye(config.states)[-1])
    rate = stationary @ _entropy(matrix)
    return Information(float(rate), float(_entropy(stationary)), float(_entropy(stationary) - rate))


def _entropy(probabilities):
    return -np.sum(probabilities * np.log(np.maximum(probabilities, 1e-300)), axis=-1)
