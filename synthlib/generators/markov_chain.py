"""Synthetic token sequences for pre-training the Decision Transformer (paper 3.2; faithfulness section 1).

An n-step Markov chain over S states. The distribution after a context of n tokens is softmax(u / temperature) with
S uniforms u from a generator seeded by the context, so no table of S**n rows exists anywhere.

Three ways to draw from one and the same chain: :func:`sequence` says how, one token after the other;
:func:`authors_block` repeats the authors' own random numbers, for comparison with their files; :func:`stream` is what
trainings read. A part of the stream is the same in whatever order and by however many processes the parts are read;
:mod:`synthlib.generators.markov_chain_fast` gives the same tokens in less time.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

KINDS = ("chain", "iid")
INITIALS = ("authors", "uniform")
TABLE_ENTRIES = 2**21  # of all rows together; holds 1000 states, order 2 with 100 and order 5 with 10
WINDOW = 64  # tries between two looks whether a sequence is stuck
GAMMA = 0x9E3779B97F4A7C15  # SplitMix64's step
_WORD = 2**64 - 1


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

    def __post_init__(self) -> None:
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


def initial_distribution(config: ChainConfig) -> np.ndarray:
    """Distribution of the first token, float64 (S,). The authors' is not uniform: it is a row seeded by the seed."""
    if config.kind == "iid" or config.initial == "uniform":
        return np.full(config.states, 1 / config.states)
    return _softmax(np.random.default_rng(config.seed).random(config.states) / config.temperature)


def row(config: ChainConfig, context: Sequence[int]) -> np.ndarray:
    """Distribution of the token after ``context``, tokens with the oldest first: float64 (S,).

    Uses the last ``order`` tokens; a shorter context has a row of its own. Raises ValueError for an empty context
    and for a token that is no state.
    """
    context = [int(token) for token in context][-config.order :]
    if not context or min(context) < 0 or max(context) >= config.states:
        raise ValueError(f"a context is one or more tokens from 0 to {config.states - 1}, not {context}")
    if config.kind == "iid":
        return initial_distribution(config)
    return _row(config, tuple(context)).copy()


@lru_cache(maxsize=128)  # 100 MB with 100,000 states
def _row(config, context):
    return _softmax(_row_uniforms(config, context) / config.temperature)


@lru_cache(maxsize=128)
def _row_uniforms(config, context):
    """The uniforms (S,) behind the row of ``context``."""
    return np.random.default_rng([token + 1 + config.seed for token in context]).random(config.states)


def _softmax(logits):
    # Not np.exp: its last bit differs between processors with and without AVX-512, and the golden rows are libm's.
    weights = np.array([math.exp(distance) for distance in logits - logits.max()])
    return weights / weights.sum()


def sequence(config: ChainConfig, generator: np.random.Generator) -> np.ndarray:
    """One sequence, int64 (length,), drawn with NumPy's ``generator``."""
    tokens = [generator.choice(config.states, p=initial_distribution(config))]
    while len(tokens) < config.length:
        tokens.append(generator.choice(config.states, p=row(config, tokens[-config.order :])))
    return np.array(tokens)


def stream(config: ChainConfig, seed: int, sequences: Sequence[int]) -> np.ndarray:
    """Sequences of the stream ``seed``, int32 (len(sequences), length); ``sequences`` holds their numbers from 0 on.

    A sequence depends on the configuration, the seed and its number only: not on which others are asked for, how
    many at a time, or by how many processes. Nothing is stored, and there is no end. Each sequence has a generator of
    its own (:func:`uniforms`). One uniform x serves a try: the whole part of x S proposes a token, the rest decides
    about it, by alias tables (Walker, 1977) where those of all rows fit :data:`TABLE_ENTRIES`, else by rejection.
    """
    check_request(seed, sequences)
    draw = _independent if config.kind == "iid" else _by_alias if has_tables(config) else _by_rejection
    drawn = [draw(config, uniforms(seed, int(number))) for number in sequences]
    return np.array(drawn, dtype=np.int32).reshape(len(drawn), config.length)


def check_request(seed: int, sequences: Sequence[int]) -> None:
    """Raises ValueError unless there is a stream of this seed with these sequences."""
    if not isinstance(seed, Integral) or not 0 <= seed < 2**64:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, not {seed!r}")
    if len(sequences) and min(sequences) < 0:
        raise ValueError(f"sequences are numbered from 0 on, not from {min(sequences)}")


def has_tables(config: ChainConfig) -> bool:
    """Whether the alias tables of all rows have at most :data:`TABLE_ENTRIES` entries."""
    return sum(config.states ** (known + 1) for known in range(1, config.order + 1)) <= TABLE_ENTRIES


def uniforms(seed: int, number: int) -> Iterator[float]:
    """The numbers in [0, 1), multiples of 2**-53, that sequence ``number`` of stream ``seed`` is made of.

    A counter-based generator for each sequence: SplitMix64 (Steele, Lea and Flood, 2014).
    """
    counter = _scramble(_scramble(seed + GAMMA & _WORD) + number * GAMMA & _WORD)
    while True:
        counter = counter + GAMMA & _WORD
        yield (_scramble(counter) >> 11) * 2.0**-53


def _scramble(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _WORD
    return z ^ z >> 31


def _independent(config, uniforms):
    return [int(next(uniforms) * config.states) for _ in range(config.length)]


def _first(config, uniforms):
    sums = initial_distribution(config).cumsum()
    return int((sums / sums[-1]).searchsorted(next(uniforms), side="right"))


def _by_alias(config, uniforms):
    tokens = [_first(config, uniforms)]
    while len(tokens) < config.length:
        threshold, alias = _alias_table(config, tuple(tokens[-config.order :]))
        token, decision = divmod(next(uniforms) * config.states, 1)
        tokens.append(int(token) if decision < threshold[int(token)] else alias[int(token)])
    return tokens


@lru_cache(maxsize=1024)
def _alias_table(config, context):
    return alias_table(row(config, context))


def alias_table(probabilities: np.ndarray) -> tuple[list[float], list[int]]:
    """(threshold, alias) of a distribution (S,): Walker's table, by which one uniform draws a token.

    Entry j stands for j below its threshold and for alias[j] above. The large entry at hand fills up one small entry
    after the other; when it has become small itself, the next large entry fills it.
    """
    weight = (probabilities * len(probabilities)).tolist()
    order = np.argsort(probabilities * len(probabilities)).tolist()
    count = min(sum(share < 1 for share in weight), len(weight) - 1)
    small, large = iter(order[:count]), iter(order[count:])
    threshold, alias = [1.0] * len(weight), list(range(len(weight)))
    at_hand = next(large)
    left = weight[at_hand]
    while True:
        if left >= 1 and (filled := next(small, None)) is not None:
            threshold[filled], alias[filled] = weight[filled], at_hand
            left -= 1 - weight[filled]
        elif (following := next(large, None)) is not None:
            threshold[at_hand], alias[at_hand] = min(left, 1.0), following
            at_hand, left = following, weight[following] - (1 - left)
        else:
            return threshold, alias


def _by_rejection(config, uniforms):
    """Entry j of a row is softmax(u_j / T) with u_j <= 1, so a proposed j is kept with probability exp((u_j - 1) / T).

    After as many tries in vain as the row has entries, the row itself gives the token. The refused proposals say
    nothing about it, so this changes no probability. After each window of tries one uniform is kept free for that.
    """
    tokens, in_vain = [_first(config, uniforms)], 0
    while True:
        before = len(tokens)
        for _ in range(WINDOW):
            if len(tokens) == config.length:
                return tokens
            proposal, decision = divmod(next(uniforms) * config.states, 1)
            u = _row_uniforms(config, tuple(tokens[-config.order :]))[int(proposal)]
            if decision < math.exp((u - 1) / config.temperature):
                tokens.append(int(proposal))
        spare = next(uniforms)
        in_vain = 0 if len(tokens) > before else in_vain + WINDOW
        if in_vain >= config.states and len(tokens) < config.length:
            sums = row(config, tokens).cumsum()
            tokens.append(int((sums <= spare * sums[-1]).sum()))


def authors_block(
    config: ChainConfig, iteration: int, worker: int, workers: int, sequences: int, positions: int | None = None
) -> np.ndarray:
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
            rows = [row(config, context) for context in tokens[:, :t]]
            tokens[:, t] = generator.multinomial(1, rows).argmax(axis=1)
    return tokens


class Information(NamedTuple):
    """Nats per token: the best loss of a model that knows the past, of one that does not, and their difference."""

    entropy_rate: float
    stationary_entropy: float
    mutual_information: float


def information(config: ChainConfig) -> Information:
    """What there is to learn in a chain of order 1 (faithfulness 1.10). Solves S equations: for S up to about 5000."""
    if config.kind != "chain" or config.order != 1:
        raise ValueError(f"only a chain of order 1 has one stationary row, not {config.kind} of order {config.order}")
    matrix = np.stack([row(config, [token]) for token in range(config.states)])
    equations = matrix.T - np.eye(config.states)
    equations[-1] = 1  # one of the equations follows from the others; the shares must add up instead
    stationary = np.linalg.solve(equations, np.eye(config.states)[-1])
    rate = stationary @ _entropy(matrix)
    return Information(float(rate), float(_entropy(stationary)), float(_entropy(stationary) - rate))


def _entropy(probabilities):
    return -np.sum(probabilities * np.log(np.maximum(probabilities, 1e-300)), axis=-1)
