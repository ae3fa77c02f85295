"""Synthetic token sequences for pre-training the Decision Transformer (paper 3.2; faithfulness section 1).

The tokens come from an n-step Markov chain over S states. The distribution of the token after a context of n tokens is
a row: softmax(u / temperature), with S uniforms u from a generator seeded by the context. So no table of all S**n rows
is needed.

Three functions draw from the same chain:

* :func:`sequence` is the definition: one token after the other.
* :func:`authors_block` repeats the authors' own random numbers, for comparison with their files.
* :func:`stream` is what trainings read. Its sequences do not depend on the order of reading or on the number of
  processes. :mod:`synthlib.generators.markov_chain_fast` gives the same tokens in less time.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral, Real

import numpy as np

from synthlib.runs.identity import added_later

VERSION = 1  # count up when the output changes: tests/generators/test_versions.py
KINDS = ("chain", "iid")
INITIALS = ("authors", "uniform")
ROWS = ("authors", "legacy")
# Alias tables may have this many entries in all: enough for 1000 states, for order 2 with 100 and order 5 with 10.
TABLE_ENTRIES = 2**21
WINDOW = 64  # tries between two checks whether a sequence is stuck
GAMMA = 0x9E3779B97F4A7C15  # SplitMix64's increment
_WORD = 2**64 - 1
_IGNORED_BY_IID = (1, 1.0, "authors", "authors")


@dataclass(frozen=True)
class ChainConfig:
    """Which chain; the defaults are the paper's. Fit for JSON as ``dataclasses.asdict``.

    Raises ValueError for a value out of range, and for a value that this kind of chain would ignore.
    """

    kind: str = "chain"  # chain, or iid: uniform tokens (also the input of identity and mapping, with states=3500)
    order: int = 1  # n, tokens in a full context; the shorter contexts at the start have rows of their own
    states: int = 100
    temperature: float = 1.0
    length: int = 1024  # tokens of a sequence
    seed: int = 666  # of the rows, not of the draws: another seed gives another chain
    initial: str = "authors"  # the first token's row is a softmax too (as executed); "uniform" is the paper's text
    rows: str = added_later("authors")  # "legacy": those of the authors' older generator, see legacy_logits

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind {self.kind!r}; known: {', '.join(KINDS)}")
        if self.initial not in INITIALS:
            raise ValueError(f"unknown initial {self.initial!r}; known: {', '.join(INITIALS)}")
        if self.rows not in ROWS:
            raise ValueError(f"unknown rows {self.rows!r}; known: {', '.join(ROWS)}")
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
        if self.kind == "iid" and (self.order, self.temperature, self.initial, self.rows) != _IGNORED_BY_IID:
            raise ValueError("order, temperature, initial and rows mean nothing for kind='iid'; leave them out")
        if self.rows == "legacy" and not has_tables(self):
            raise ValueError(
                f"rows='legacy' needs a table of all rows, of at most {TABLE_ENTRIES:,} entries; {self.states} states "
                f"with order {self.order} have more: take fewer states or a lower order"
            )


def initial_distribution(config: ChainConfig) -> np.ndarray:
    """Distribution of the first token, float64 (S,). With ``initial="authors"`` it is a row seeded by ``seed``."""
    if config.kind == "iid" or config.initial == "uniform":
        return np.full(config.states, 1 / config.states)
    return _softmax(np.random.default_rng(config.seed).random(config.states) / config.temperature)


def row(config: ChainConfig, context: Sequence[int]) -> np.ndarray:
    """Distribution of the token after ``context`` (tokens, the oldest first): float64 (S,).

    It depends on the last ``order`` tokens; a shorter context has a row of its own. Raises ValueError for an empty
    context and for a token that is not a state.
    """
    context = [int(token) for token in context][-config.order :]
    if not context or min(context) < 0 or max(context) >= config.states:
        raise ValueError(f"a context is one or more tokens from 0 to {config.states - 1}, not {context}")
    if config.kind == "iid":
        return initial_distribution(config)
    return _row(config, tuple(context)).copy()


@lru_cache(maxsize=128)  # 100 MB with 100,000 states
def _row(config: ChainConfig, context: tuple[int, ...]) -> np.ndarray:
    logits = legacy_logits(config, context) if config.rows == "legacy" else _row_uniforms(config, context)
    return _softmax(logits / config.temperature)


def legacy_logits(config: ChainConfig, context: Sequence[int] | np.ndarray) -> np.ndarray:
    """Logits of the authors' older generator after ``context`` (k,) or (k, n), before the temperature: (S,) or (n, S).

    The mean over the lags i of U_i[token] * 2 R_i: each lag has a matrix U_i (S, S) and a vector R_i (S,) of uniforms.
    All rows share R_i, so tokens are not equally frequent and there is more to learn: 0.07 nats where the default has
    0.04 (faithfulness 1.11). The authors' random numbers are not known; these are our own.
    """
    lags = range(len(context), 0, -1)  # the oldest token first
    return sum(_legacy_matrix(config, lag)[token] for lag, token in zip(lags, context, strict=True)) / len(context)


@lru_cache(maxsize=8)
def _legacy_matrix(config: ChainConfig, lag: int) -> np.ndarray:
    """The logits (S, S) that a token at distance ``lag`` gives to the next one."""
    shared = np.random.default_rng([config.seed, lag]).random(config.states)
    tokens = range(1, config.states + 1)
    own = np.stack([np.random.default_rng([config.seed + token, lag]).random(config.states) for token in tokens])
    return own * 2 * shared


@lru_cache(maxsize=128)
def _row_uniforms(config: ChainConfig, context: tuple[int, ...]) -> np.ndarray:
    """The uniforms (S,) behind the row of ``context``."""
    return np.random.default_rng([token + 1 + config.seed for token in context]).random(config.states)


def _softmax(logits: np.ndarray) -> np.ndarray:
    # Not np.exp: its last bit differs between processors with and without AVX-512, and libm made the golden rows.
    weights = np.array([math.exp(distance) for distance in logits - logits.max()])
    return weights / weights.sum()


def sequence(config: ChainConfig, generator: np.random.Generator) -> np.ndarray:
    """One sequence, int64 (length,), drawn with NumPy's ``generator``."""
    tokens = [generator.choice(config.states, p=initial_distribution(config))]
    while len(tokens) < config.length:
        tokens.append(generator.choice(config.states, p=row(config, tokens[-config.order :])))
    return np.array(tokens)


def stream(config: ChainConfig, seed: int, sequences: Sequence[int]) -> np.ndarray:
    """Sequences of the stream ``seed``, int32 (len(sequences), length); ``sequences`` are their numbers, from 0 on.

    A sequence depends only on the configuration, the seed and its number. So it is the same whatever other sequences
    are drawn, and by however many processes. Nothing is stored, and the stream has no end.

    Each sequence has a generator of its own (:func:`uniforms`). Each try uses one uniform x: the integer part of x S
    proposes a token, and the fractional part decides about the token. The decision uses alias tables (Walker, 1977)
    when the tables of all rows fit :data:`TABLE_ENTRIES`, else rejection.
    """
    check_request(seed, sequences)
    draw = _independent if config.kind == "iid" else _by_alias if has_tables(config) else _by_rejection
    drawn = [draw(config, uniforms(seed, int(number))) for number in sequences]
    return np.array(drawn, dtype=np.int32).reshape(len(drawn), config.length)


def check_request(seed: int, sequences: Sequence[int]) -> None:
    """Raises ValueError unless ``seed`` and the numbers ``sequences`` are valid for :func:`stream`."""
    if not isinstance(seed, Integral) or not 0 <= seed < 2**64:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, not {seed!r}")
    if len(sequences) and min(sequences) < 0:
        raise ValueError(f"sequences are numbered from 0 on, not from {min(sequences)}")


def has_tables(config: ChainConfig) -> bool:
    """Whether the alias tables of all rows have at most :data:`TABLE_ENTRIES` entries."""
    return sum(config.states ** (known + 1) for known in range(1, config.order + 1)) <= TABLE_ENTRIES


def uniforms(seed: int, number: int) -> Iterator[float]:
    """The random numbers for sequence ``number`` of stream ``seed``: in [0, 1), multiples of 2**-53, without end.

    Each sequence has a counter-based generator: SplitMix64 (Steele, Lea and Flood, 2014).
    """
    counter = _scramble(_scramble(seed + GAMMA & _WORD) + number * GAMMA & _WORD)
    while True:
        counter = counter + GAMMA & _WORD
        yield (_scramble(counter) >> 11) * 2.0**-53


def _scramble(z: int) -> int:
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _WORD
    return z ^ z >> 31


def _independent(config: ChainConfig, uniforms: Iterator[float]) -> list[int]:
    return [int(next(uniforms) * config.states) for _ in range(config.length)]


def _first(config: ChainConfig, uniforms: Iterator[float]) -> int:
    sums = initial_distribution(config).cumsum()
    return int((sums / sums[-1]).searchsorted(next(uniforms), side="right"))


def _by_alias(config: ChainConfig, uniforms: Iterator[float]) -> list[int]:
    tokens = [_first(config, uniforms)]
    while len(tokens) < config.length:
        threshold, alias = _alias_table(config, tuple(tokens[-config.order :]))
        token, decision = divmod(next(uniforms) * config.states, 1)
        tokens.append(int(token) if decision < threshold[int(token)] else alias[int(token)])
    return tokens


@lru_cache(maxsize=1024)
def _alias_table(config: ChainConfig, context: tuple[int, ...]) -> tuple[list[float], list[int]]:
    return alias_table(row(config, context))


def alias_table(probabilities: np.ndarray) -> tuple[list[float], list[int]]:
    """Walker's alias table (threshold, alias) of a distribution (S,): with it one uniform draws a token.

    Entry j gives token j below threshold[j], and token alias[j] above. To make the table, one large entry fills up one
    small entry after the other. When the large entry has become small itself, the next large entry fills it up.
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


def _by_rejection(config: ChainConfig, uniforms: Iterator[float]) -> list[int]:
    """Rejection: a proposed token j, of weight exp(u_j / T), is kept with probability exp((u_j - 1) / T); u_j <= 1.

    After as many rejected tries as the row has entries, the token is drawn from the row itself. The rejected tries are
    independent of this draw, so no probability changes. After each window of tries, one uniform is reserved for it.
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
    """The authors' own tokens, which ``worker`` of ``workers`` writes in ``iteration``: int64 (sequences, positions).

    ``sequences`` is the worker's share of the iteration (1.6: 256 / 8 for 100 states). ``positions`` keeps only the
    first positions; the seeds depend on ``config.length`` all the same. In the authors' files, the blocks of an
    iteration stand in the order in which the workers finished. Raises ValueError for a block that does not exist.
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
    if (config.initial, config.rows) != ("authors", "authors"):
        raise ValueError("the authors' tokens have the initial distribution 'authors' and the rows 'authors'")
    tokens = np.empty((sequences, positions), dtype=np.int64)
    for t in range(positions):
        generator = np.random.default_rng(config.seed + (iteration * config.length + t) * workers + worker)
        if t == 0:
            tokens[:, 0] = generator.choice(config.states, size=sequences, p=initial_distribution(config))
        else:
            rows = [row(config, context) for context in tokens[:, :t]]
            tokens[:, t] = generator.multinomial(1, rows).argmax(axis=1)
    return tokens
