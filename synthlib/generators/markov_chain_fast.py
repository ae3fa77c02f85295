"""The same stream as :mod:`synthlib.generators.markov_chain` in less time: thousands of sequences side by side.

* Few contexts: the alias tables of all rows are made at once. A token needs one lookup, whatever the temperature.
* Many contexts: by rejection. A try needs only one uniform u_j of its row. :mod:`synthlib.kernels.pcg64` computes it
  without the rest of the row. A token takes 1.6 tries at T = 1, with 10 states as with 100,000. Numba compiles the
  tries.

The exponentials here are NumPy's. On some processors their last bit differs from libm's. A token differs only when a
uniform falls between the two values: once in about 10**14 tokens.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from synthlib.generators.markov_chain import (
    GAMMA,
    WINDOW,
    ChainConfig,
    check_request,
    has_tables,
    initial_distribution,
    legacy_logits,
    stream,
)
from synthlib.kernels import pcg64
from synthlib.kernels.compiled import exact
from synthlib.kernels.twins import twin_of

_SEQUENCES_AT_ONCE = 8192  # so that the arrays of one try stay in the processor's cache
_ENTRIES_AT_ONCE = 2**21  # entries of whole rows in memory: 16 MB


@twin_of(stream)
def fast_stream(config: ChainConfig, seed: int, sequences: Sequence[int]) -> np.ndarray:
    """The same as :func:`synthlib.generators.markov_chain.stream`."""
    check_request(seed, sequences)
    numbers = np.asarray(sequences, dtype=np.uint64)
    if not len(numbers):
        return np.empty((0, config.length), dtype=np.int32)
    draw = _independent if config.kind == "iid" else _by_alias if has_tables(config) else _by_rejection
    first = initial_distribution(config).cumsum()
    first /= first[-1]
    parts = [numbers[i : i + _SEQUENCES_AT_ONCE] for i in range(0, len(numbers), _SEQUENCES_AT_ONCE)]
    return np.concatenate([draw(config, first, keys(int(seed), part)) for part in parts])


def keys(seed: int, numbers: np.ndarray) -> np.ndarray:
    """First counters of the generators of the sequences ``numbers`` (n,) of stream ``seed``: uint64 (n,)."""
    stream = _scramble(np.array([seed], dtype=np.uint64) + np.uint64(GAMMA))
    return _scramble(stream + numbers * np.uint64(GAMMA))


def uniforms(keys: np.ndarray, number: int) -> np.ndarray:
    """Output ``number`` (0, 1, ...) of every sequence's generator: float64 in [0, 1), multiples of 2**-53."""
    return _unit(keys + np.uint64((number + 1) * GAMMA % 2**64))


@exact
def _unit(counters):
    return (_scramble(counters) >> np.uint64(11)) * 2.0**-53


@exact
def _scramble(z):
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def _independent(config: ChainConfig, first: np.ndarray, keys: np.ndarray) -> np.ndarray:
    columns = [(uniforms(keys, t) * config.states).astype(np.int32) for t in range(config.length)]
    return np.stack(columns, axis=1)


def _by_alias(config: ChainConfig, first: np.ndarray, keys: np.ndarray) -> np.ndarray:
    tables = _alias_tables(config)
    columns = np.empty((config.length, len(keys)), dtype=np.int32)
    columns[0] = context = first.searchsorted(uniforms(keys, 0), side="right")
    for t in range(1, config.length):
        known = min(t, config.order)
        threshold, alias = tables[known - 1]
        x = uniforms(keys, t) * config.states
        token = x.astype(np.int64)
        entry = context * config.states + token
        token = np.where(x - token < threshold[entry], token, alias[entry])
        columns[t] = token
        context = context * config.states + token
        if known == config.order:
            context %= config.states**config.order
    return np.ascontiguousarray(columns.T)


@lru_cache(maxsize=2)
def _alias_tables(config: ChainConfig) -> list[list[np.ndarray]]:
    """[threshold, alias] for contexts of 1, ..., order tokens, each flattened over (context, token)."""
    tables = []
    for known in range(1, config.order + 1):
        contexts = np.indices((config.states,) * known).reshape(known, -1)
        tables.append([table.reshape(-1) for table in alias_tables(rows(config, contexts))])
    return tables


def rows(config: ChainConfig, contexts: np.ndarray) -> np.ndarray:
    """Distributions of the next token after ``contexts`` (k, n), k <= order, oldest token first: float64 (n, S)."""
    if config.rows == "legacy":
        logits = legacy_logits(config, contexts)
    else:
        logits = pcg64.doubles(pcg64.seeded(_entropy(config, contexts)), pcg64.jumps(config.states))
    logits = logits / config.temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _entropy(config: ChainConfig, contexts: np.ndarray) -> np.ndarray:
    """What seeds the generators of the rows of ``contexts`` (k, n): int64 (k, n)."""
    return np.asarray(contexts, dtype=np.int64) + (1 + config.seed)


def alias_tables(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Alias tables of the distributions (R, S): threshold float64 (R, S) and alias int32 (R, S).

    The same as :func:`synthlib.generators.markov_chain.alias_table`; all rows advance together.
    """
    count, states = probabilities.shape
    row = np.arange(count)
    weight = probabilities * states
    order = np.argsort(weight, axis=1)
    threshold, alias = np.ones((count, states)), np.tile(np.arange(states, dtype=np.int32), (count, 1))
    small = np.zeros(count, dtype=np.int64)
    large = np.minimum((weight < 1).sum(axis=1), states - 1)
    first_large = large.copy()
    left = weight[row, order[row, large]]  # of the large entry at hand, the one that fills small entries
    for _ in range(states - 1):
        next_small = order[row, np.minimum(small, first_large)]
        at_hand, following = order[row, large], order[row, np.minimum(large + 1, states - 1)]
        fills = (left >= 1) & (small < first_large)
        moves = ~fills & (large < states - 1)
        filled = np.where(fills, next_small, at_hand)
        filler = np.where(fills, at_hand, following)
        content = np.where(fills, weight[row, next_small], left)
        done = fills | moves
        threshold[row[done], filled[done]] = np.minimum(content[done], 1)
        alias[row[done], filled[done]] = filler[done]
        left = np.where(fills, left - (1 - content), np.where(moves, weight[row, following] - (1 - left), left))
        small += fills
        large += moves
    return threshold, alias


def _by_rejection(config: ChainConfig, first: np.ndarray, keys: np.ndarray) -> np.ndarray:
    tokens = np.empty((len(keys), config.length), dtype=np.int32)
    tokens[:, 0] = first.searchsorted(uniforms(keys, 0), side="right")
    place, counters = np.ones(len(keys), dtype=np.int64), keys + np.uint64(GAMMA)
    waited = np.zeros(len(keys), dtype=np.int64)
    started = _started(config) if config.order == 1 else np.empty((0, 4), dtype=np.uint64)
    jumps = pcg64.jumps(config.states)
    while True:
        _advance(tokens, place, counters, waited, started, jumps, config.order, 1 + config.seed, config.temperature)
        stuck = np.flatnonzero(place < config.length)
        if not len(stuck):
            return tokens
        # After as many tries as the row has entries, the whole row costs no more. The rejected tries are independent of
        # the draw from the row, so this changes no probability.
        known = np.minimum(place[stuck], config.order)
        for length in np.unique(known):
            some = stuck[known == length]
            context = np.stack([tokens[some, place[some] - back] for back in range(length, 0, -1)])
            tokens[some, place[some]] = _draw_from_rows(config, context, counters[some])
        place[stuck] += 1


@exact
def _advance(tokens, place, counters, waited, started, jumps, order, offset, temperature):
    """Draw every sequence to its end, or until it is stuck: until a token has taken at least S rejected tries.

    For each sequence, ``place`` is the position to write next, ``counters`` the counter of its generator, and
    ``waited`` how many tries have been rejected since the last token; all three are updated in place. ``started``
    (S, 4) are the generators of all rows. When it is empty, each generator is made when it is needed.
    """
    states, length = len(jumps), tokens.shape[1]
    surely = np.exp(-1 / temperature)  # exp((u_j - 1) / T) is at least this, as u_j >= 0
    words, own = np.empty(order, dtype=np.uint32), np.empty(4, dtype=np.uint64)
    for sequence in range(len(tokens)):
        row, at, counter = tokens[sequence], place[sequence], counters[sequence]
        is_made = False
        while at < length:
            before = at
            for _ in range(WINDOW):
                counter += np.uint64(GAMMA)
                x = _unit(counter) * states
                token = np.int64(x)
                x -= token
                kept = x < surely
                if not kept:
                    if len(started):
                        u = pcg64.double(started[row[at - 1]], jumps[token])
                    else:
                        if not is_made:
                            known = min(at, order)
                            for k in range(known):
                                words[k] = row[at - known + k] + offset
                            pcg64.seed(words[:known], own)
                            is_made = True
                        u = pcg64.double(own, jumps[token])
                    kept = x < np.exp((u - 1) / temperature)
                row[at] = token
                if kept:
                    at += 1
                    is_made = False
                    if at == length:
                        break
            waited[sequence] = 0 if at > before else waited[sequence] + WINDOW
            counter += np.uint64(GAMMA)
            if waited[sequence] >= states:
                break
        place[sequence], counters[sequence] = at, counter


def _draw_from_rows(config: ChainConfig, contexts: np.ndarray, counters: np.ndarray) -> np.ndarray:
    """One token after each of ``contexts`` (k, n), from its whole row and the uniform of its counter: int64 (n,)."""
    draws, found = _unit(counters), []
    at_once = max(1, _ENTRIES_AT_ONCE // config.states)
    for i in range(0, len(draws), at_once):
        sums = rows(config, contexts[:, i : i + at_once]).cumsum(axis=1)
        found.append((sums <= (draws[i : i + at_once] * sums[:, -1])[:, None]).sum(axis=1))
    return np.concatenate(found)


@lru_cache(maxsize=2)
def _started(config: ChainConfig) -> np.ndarray:
    """The generators of all rows of a chain of order 1: uint64 (S, 4), see :func:`synthlib.kernels.pcg64.seeded`."""
    return pcg64.seeded(_entropy(config, np.arange(config.states)[None]))
