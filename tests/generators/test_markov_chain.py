"""The stream is tested as a chain: chi-square on its transitions, each test wrong once in 10,000 seeds (these pass)."""

import dataclasses
import hashlib
import json
import math

import numpy as np
import pytest
from scipy import stats

from synthlib.generators import markov_chain, markov_chain_fast
from synthlib.generators.markov_chain import (
    ChainConfig,
    authors_block,
    initial_distribution,
    legacy_logits,
    row,
    sequence,
    stream,
)
from synthlib.generators.markov_chain_fast import fast_stream
from synthlib.kernels.twins import best
from tests.common import golden

GOLDEN = golden("mc_data")
CASES = [f"n{n}_s{states}_tau{tau}" for n in (1, 2, 5) for states in (10, 100) for tau in ("0.01", "1", "10")]
ERROR_RATE = 1e-4


def golden_config(case):
    return ChainConfig(
        order=int(GOLDEN[f"{case}/ngram"]),
        states=int(GOLDEN[f"{case}/n_states"]),
        temperature=float(GOLDEN[f"{case}/temperature"]),
        length=int(GOLDEN[f"{case}/max_length"]),
        seed=int(GOLDEN[f"{case}/seed"]),
    )


@pytest.fixture(params=["alias", "rejection"])
def method(request, monkeypatch):
    if request.param == "rejection":
        monkeypatch.setattr(markov_chain, "TABLE_ENTRIES", 0)
    return request.param


@pytest.mark.parametrize("case", CASES)
def test_the_authors_tokens_equal_the_golden_ones(case):
    for iteration in (0, 3):
        tokens = authors_block(golden_config(case), iteration, worker=0, workers=1, sequences=4)
        np.testing.assert_array_equal(tokens, GOLDEN[f"{case}/tokens_iter{iteration}"])


@pytest.mark.parametrize("case", CASES)
def test_rows_equal_the_golden_ones_to_the_bit(case):
    config = golden_config(case)
    np.testing.assert_array_equal(initial_distribution(config), GOLDEN[f"{case}/prob_first_token"])
    for known in range(1, config.order + 1):
        contexts, expected = GOLDEN[f"{case}/ctx{known}"], GOLDEN[f"{case}/prob_ctx{known}"]
        np.testing.assert_array_equal([row(config, context) for context in contexts], expected)
        np.testing.assert_allclose(markov_chain_fast.rows(config, contexts.T), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("case", "block"),
    [("two_workers", (1, 0)), ("two_workers", (1, 1))]
    + [("paper_default", block) for block in ((0, 0), (0, 7), (499, 3))]
    + [(case, (iteration, worker)) for case in ("iid_s10", "iid_s100") for iteration in (0, 3) for worker in (0, 1)],
)
def test_the_authors_workers_and_iid(case, block):
    iteration, worker = block
    workers = int(GOLDEN[f"{case}/num_workers"])
    if case.startswith("iid"):
        config = ChainConfig(kind="iid", states=int(GOLDEN[f"{case}/n_states"]), length=64)
    else:
        config = golden_config(case)
    expected = GOLDEN[f"{case}/tokens_iter{iteration}_worker{worker}"]
    tokens = authors_block(config, iteration, worker, workers, len(expected), positions=expected.shape[1])
    np.testing.assert_array_equal(tokens, expected)


@pytest.mark.parametrize(
    ("changes", "worker", "last", "expected"),
    [
        ({}, 0, False, [78, 35, 41, 75, 40, 13, 27, 79, 70, 15]),
        ({}, 0, True, [27, 18, 29, 69, 73, 41, 84, 52, 12, 41]),
        ({}, 1, False, [1, 8, 22, 81, 64, 20, 88, 8, 1, 18]),
        ({"order": 2}, 0, False, [78, 35, 41, 75, 51, 13, 27, 79, 70, 73]),
        ({"order": 5}, 0, False, [78, 35, 41, 75, 51, 13, 27, 79, 49, 71]),
        ({"temperature": 0.01}, 0, False, [82, 96, 21, 63, 72, 54, 8, 8, 8, 8]),
        ({"kind": "iid"}, 0, False, [82, 67, 41, 26, 15, 58, 91, 92, 54, 50]),
    ],
)
def test_first_tokens_of_the_authors_files(changes, worker, last, expected):
    """Faithfulness 1.8."""
    tokens = authors_block(ChainConfig(**changes), 0, worker, workers=8, sequences=32, positions=10)
    assert tokens[31 if last else 0].tolist() == expected


@pytest.mark.slow
def test_digest_of_the_authors_sample_file():
    """Faithfulness 1.8: 256 sequences, whose blocks the authors' eight workers happened to finish in order."""
    tokens = np.concatenate([authors_block(ChainConfig(), 0, worker, 8, 32) for worker in range(8)])
    assert tokens.sum() == 12_918_245
    digest = hashlib.sha256(tokens.astype("<i4").tobytes()).hexdigest()
    assert digest == "dc894a687bed9e4b5e09b48c878c63a3d8c5fd0cd1fd1acc0c22bbc520209a07"


@pytest.mark.parametrize(("states", "expected", "count"), [(10_000, 9.170, 50), (100_000, 11.472, 10)])
def test_row_entropy_of_large_chains(states, expected, count):
    matrix = markov_chain_fast.rows(ChainConfig(states=states), np.arange(count)[None])
    assert abs(-(matrix * np.log(matrix)).sum(axis=1).mean() - expected) < 1e-3


def transition_p_value(config, tokens):
    """Chi-square of the counts after every full context against the exact rows; sparse entries are pooled."""
    windows = np.lib.stride_tricks.sliding_window_view(tokens, config.order + 1, axis=1).reshape(-1, config.order + 1)
    contexts, which = np.unique(windows[:, :-1], axis=0, return_inverse=True)
    statistic, freedom = 0.0, 0
    for i, context in enumerate(contexts):
        observed = np.bincount(windows[which == i, -1], minlength=config.states)
        expected = row(config, context) * observed.sum()
        common = expected >= 5
        observed = np.append(observed[common], observed[~common].sum())
        expected = np.append(expected[common], expected[~common].sum())
        if expected[-1] < 5:
            observed[0], expected[0] = observed[0] + observed[-1], expected[0] + expected[-1]
            observed, expected = observed[:-1], expected[:-1]
        statistic += ((observed - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
        freedom += len(observed) - 1
    return stats.chi2.sf(statistic, freedom)


@pytest.mark.parametrize(
    "config",
    [
        ChainConfig(states=10, length=64),
        ChainConfig(states=10, length=64, temperature=0.1),
        ChainConfig(states=10, length=8, temperature=0.02),  # by rejection most tokens need the written-out row
        ChainConfig(states=10, length=64, temperature=10.0),
        ChainConfig(states=7, length=64, order=2),
    ],
    ids=lambda config: f"S{config.states}-T{config.temperature}-n{config.order}",
)
def test_the_stream_is_the_chain(config, method):
    tokens = fast_stream(config, 1, range(2000))
    assert tokens.shape == (2000, config.length) and tokens.dtype == np.int32
    assert transition_p_value(config, tokens) > ERROR_RATE
    assert transition_p_value(dataclasses.replace(config, seed=667), tokens) < 1e-9  # the test sees another chain
    counts, expected = np.bincount(tokens[:, 0], minlength=config.states), 2000 * initial_distribution(config)
    seen = expected > 1
    assert stats.chi2.sf(((counts - expected)[seen] ** 2 / expected[seen]).sum(), seen.sum() - 1) > ERROR_RATE


def integral_p_value(config, tokens):
    """A token's probability integral, over the entries of its row by size, is uniform: chi-square with 20 bins."""
    generator, integrals = np.random.default_rng(0), []
    for t in range(1, config.length):
        rows = markov_chain_fast.rows(config, tokens[:, max(0, t - config.order) : t].T)
        own = rows[np.arange(len(tokens)), tokens[:, t]]
        integrals.append((rows * (rows < own[:, None])).sum(axis=1) + own * generator.random(len(tokens)))
    return stats.chisquare(np.histogram(integrals, bins=20, range=(0, 1))[0]).pvalue


@pytest.mark.parametrize("config", [ChainConfig(states=3500, length=6), ChainConfig(order=5, length=12)])
def test_the_stream_is_the_chain_where_no_table_fits(config):
    tokens = fast_stream(config, 2, range(500))
    assert integral_p_value(config, tokens) > ERROR_RATE
    assert integral_p_value(config, tokens[:, ::-1]) < 1e-9  # the test sees another chain


@pytest.mark.parametrize(
    "config",
    [
        ChainConfig(kind="iid", states=11, length=90),
        ChainConfig(states=11, length=90),
        ChainConfig(states=11, length=90, order=3),
        ChainConfig(states=10, length=40, temperature=0.02, initial="uniform"),  # by rejection mostly whole rows
        ChainConfig(states=100, length=40, temperature=0.01, order=2),
    ],
    ids=lambda config: f"{config.kind}-S{config.states}-T{config.temperature}-n{config.order}",
)
def test_the_fast_stream_is_the_readable_one(config, method):
    """One try after the other, with NumPy's own generators and one row's table at a time."""
    numbers = [0, 5, 2**40]
    tokens = stream(config, 3, numbers)
    assert tokens.shape == (3, config.length) and tokens.dtype == np.int32
    np.testing.assert_array_equal(fast_stream(config, 3, numbers), tokens)
    assert best(stream, config) is fast_stream


def test_alias_tables_hold_the_rows():
    config = ChainConfig(states=30, temperature=0.05)
    matrix = np.vstack([markov_chain_fast.rows(config, np.arange(30)[None]), np.full((1, 30), 1 / 30), np.eye(30)[:1]])
    threshold, alias = markov_chain_fast.alias_tables(matrix)
    assert threshold.min() >= 0 and threshold.max() <= 1
    held = threshold.copy()
    np.add.at(held, (np.arange(32)[:, None], alias), 1 - threshold)
    np.testing.assert_allclose(held / 30, matrix, atol=1e-14)
    for one, own_threshold, own_alias in zip(matrix, threshold, alias, strict=True):
        readable = markov_chain.alias_table(one)
        np.testing.assert_allclose(readable[0], own_threshold, atol=1e-14)
        assert readable[1] == own_alias.tolist()


@pytest.mark.parametrize("kind", markov_chain.KINDS)
def test_a_sequence_does_not_depend_on_what_else_is_asked_for(kind, method, monkeypatch):
    config = ChainConfig(kind=kind, states=20, length=150)
    whole = fast_stream(config, 9, range(40))
    monkeypatch.setattr(markov_chain_fast, "_SEQUENCES_AT_ONCE", 7)
    np.testing.assert_array_equal(fast_stream(config, 9, range(40)), whole)
    np.testing.assert_array_equal(fast_stream(config, 9, range(13, 17)), whole[13:17])
    np.testing.assert_array_equal(fast_stream(config, 9, [31, 2]), whole[[31, 2]])
    assert len({sequence.tobytes() for sequence in whole}) == 40
    assert not np.array_equal(fast_stream(config, 10, range(40)), whole)
    assert fast_stream(config, 9, []).shape == (0, 150)


def test_iid_tokens_are_uniform_and_independent():
    tokens = fast_stream(ChainConfig(kind="iid", states=10, length=500), 4, range(200))
    pairs = np.bincount((tokens[:, :-1] * 10 + tokens[:, 1:]).reshape(-1), minlength=100)
    assert stats.chisquare(pairs).pvalue > ERROR_RATE


def test_the_readable_sequence_is_the_chain():
    config = ChainConfig(states=5, length=4000, temperature=0.5)
    tokens = sequence(config, np.random.default_rng(0))
    assert transition_p_value(config, tokens[None]) > ERROR_RATE


def test_the_first_token_may_be_uniform():
    config = ChainConfig(initial="uniform", temperature=0.01, states=10, length=2)
    assert initial_distribution(config).tolist() == [0.1] * 10
    assert stats.chisquare(np.bincount(fast_stream(config, 0, range(1000))[:, 0], minlength=10)).pvalue > ERROR_RATE
    with pytest.raises(ValueError, match="initial"):
        authors_block(config, 0, 0, 1, 1)


@pytest.mark.parametrize("order", [1, 2])
def test_the_older_generators_rows_are_another_chain_by_either_version(order):
    config = ChainConfig(states=6, order=order, length=48, temperature=0.5, rows="legacy")
    np.testing.assert_array_equal(fast_stream(config, 3, [0, 5, 2**40]), stream(config, 3, [0, 5, 2**40]))
    tokens = fast_stream(config, 1, range(2000))
    assert transition_p_value(config, tokens) > ERROR_RATE
    assert transition_p_value(dataclasses.replace(config, rows="authors"), tokens) < 1e-9
    context = np.array([4, 1])[-order:]
    np.testing.assert_allclose(markov_chain_fast.rows(config, context[:, None])[0], row(config, context))
    with pytest.raises(ValueError, match="the rows 'authors'"):
        authors_block(config, 0, 0, 1, 1)


def test_the_older_generators_rows_are_made_of_one_matrix_and_one_vector_per_lag():
    """Faithfulness 1.11: (1 / n) sum_i U_i[token] 2 R_i, with R_i shared by all rows."""
    config = ChainConfig(states=5, order=2, rows="legacy", temperature=0.3)
    first, second = (np.array([legacy_logits(config, [token]) for token in range(5)]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    logits = legacy_logits(config, [3, 1])
    older = 2 * logits - first[1]  # what the token at distance 2 adds
    np.testing.assert_allclose(2 * legacy_logits(config, [3, 4]) - first[4], older)
    assert not np.allclose(older, first[3]) and logits.min() >= 0 and logits.max() < 2
    np.testing.assert_allclose(row(config, [3, 1]), np.exp(logits / 0.3) / np.exp(logits / 0.3).sum())


def test_the_older_generators_rows_need_a_table():
    with pytest.raises(
        ValueError, match=r"rows='legacy' needs a table of all rows.*10000 states with order 1 have more"
    ):
        ChainConfig(states=10_000, rows="legacy")
    with pytest.raises(ValueError, match="rows mean nothing for kind='iid'"):
        ChainConfig(kind="iid", rows="legacy")


@pytest.mark.parametrize(
    ("field", "value"),
    [("kind", "mdp"), ("initial", "zero"), ("rows", "old"), ("order", 0), ("states", 1), ("length", 1.5), ("seed", -1)]
    + [("temperature", value) for value in (0.0, -1.0, math.nan, math.inf, "1")],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        ChainConfig(**{field: value})


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="iid"):
        ChainConfig(kind="iid", order=2)
    with pytest.raises(ValueError, match="100"):
        row(ChainConfig(), [100])
    with pytest.raises(ValueError, match="context"):
        row(ChainConfig(), [])
    for version in (stream, fast_stream):
        with pytest.raises(ValueError, match="seed"):
            version(ChainConfig(), -1, range(2))
        with pytest.raises(ValueError, match="from 0 on"):
            version(ChainConfig(), 1, [-1])
    with pytest.raises(ValueError, match="worker 8 of 8"):
        authors_block(ChainConfig(), 0, 8, 8, 1)


def test_a_configuration_fits_json():
    config = ChainConfig(states=np.int64(12), temperature=2)
    assert json.loads(json.dumps(dataclasses.asdict(config))) == dataclasses.asdict(config)
