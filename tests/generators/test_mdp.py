import dataclasses
import hashlib
import json
import math

import numpy as np
import pytest

from synthlib.generators import mdp, mdp_fast
from synthlib.generators.mdp import MDPConfig, generate
from synthlib.generators.mdp_fast import fast_generate
from synthlib.kernels.twins import best
from tests.common import golden

GOLDEN = golden("mdp_data")
CASES = ("s10_p1_t1", "s100_p1_t1", "s10_p0.1_t10", "s100_p0.1_t10", "s10_pinf_t1", "s10_p1_tinf")


def golden_config(case, **changes):
    return MDPConfig(
        states=int(GOLDEN[f"{case}/n_state"]),
        actions=int(GOLDEN[f"{case}/n_action"]),
        trajectories=int(GOLDEN[f"{case}/n_traj"]),
        length=int(GOLDEN[f"{case}/max_length"]),
        **changes,
    )


def temperatures(case):
    return {name: float(GOLDEN[f"{case}/{name}"]) for name in ("policy_temperature", "transition_temperature")}


def assert_same(transitions, expected):
    for name, array in transitions._asdict().items():
        assert array.dtype == np.int64
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.parametrize("version", [generate, fast_generate])
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_transitions_equal_the_golden_ones(case, random_start, version):
    group = f"{case}/random_start_{'on' if random_start else 'off'}"
    config = golden_config(case, **temperatures(case), random_start=random_start)
    assert_same(version(config), {name: GOLDEN[f"{group}/{name}"] for name in mdp.IndexTransitions._fields})


@pytest.mark.parametrize("case", CASES)
def test_rows_equal_the_golden_ones(case):
    config = golden_config(case, **temperatures(case))
    for i, (state, action) in enumerate(GOLDEN[f"{case}/prob_pairs"].tolist()):
        for name, row in (
            ("policy_probs", mdp.policy_probabilities(config, state)),
            ("transition_probs", mdp.transition_probabilities(config, state, action)),
        ):
            if f"{case}/{name}" in GOLDEN:
                np.testing.assert_allclose(row, GOLDEN[f"{case}/{name}"][i], rtol=3e-7)  # last bits of a float32 exp
            else:
                assert row is None


def test_a_million_transitions_have_the_golden_digests():
    for name, array in fast_generate(golden_config("paper_scale"))._asdict().items():
        group = f"paper_scale/{name}"
        np.testing.assert_array_equal(np.bincount(array), GOLDEN[f"{group}_histogram"])
        assert hashlib.sha256(array.astype("<i8").tobytes()).hexdigest() == str(GOLDEN[f"{group}_sha256_int64le"])


@pytest.mark.parametrize("case", ["iid_s10", "iid_s100"])
def test_iid_equals_the_golden_one(case):
    config = golden_config(case, kind="iid", seed=int(GOLDEN[f"{case}/numpy_seed"]))
    assert_same(generate(config), {name: GOLDEN[f"{case}/{name}"] for name in mdp.IndexTransitions._fields})


def test_first_transitions_of_other_sizes():
    """Faithfulness 4.2 and 4.4, computed from the authors' formulas by others."""
    starts = [mdp.start_states(MDPConfig(states=n))[0] for n in (10, 100, 1000, 10**4, 10**5)]
    assert starts == [3, 51, 435, 9651, 70231]
    for config, expected in (
        (MDPConfig(states=1000, length=2), [(435, 383, 702), (702, 204, 805)]),
        (MDPConfig(policy_temperature=0.1, transition_temperature=0.1, length=2), [(51, 35, 60), (60, 25, 64)]),
    ):
        assert list(zip(*(array[:2] for array in fast_generate(config)), strict=True)) == expected


@pytest.mark.parametrize("rows", mdp.ROWS)
@pytest.mark.parametrize("table_bytes", [0, 2**20])
def test_fast_equals_readable_with_and_without_tables(rows, table_bytes, monkeypatch):
    monkeypatch.setattr(mdp_fast, "TABLE_BYTES", table_bytes)
    config = MDPConfig(states=37, actions=23, trajectories=7, length=11, random_start=True, rows=rows)
    assert_same(fast_generate(config), generate(config)._asdict())


@pytest.mark.slow
@pytest.mark.parametrize("rows", mdp.ROWS)
def test_fast_equals_readable_at_the_paper_s_largest_size(rows):
    config = MDPConfig(states=100_000, trajectories=20, length=10, rows=rows)
    assert_same(fast_generate(config), generate(config)._asdict())


@pytest.mark.parametrize("kind", mdp.KINDS)
def test_only_a_walk_needs_a_fast_version(kind):
    assert best(generate, MDPConfig(kind=kind)) is (fast_generate if kind == "mdp" else generate)


@pytest.mark.parametrize("temperature", [0.01, 1.0, 100.0])
def test_searching_without_a_table_is_exact_next_to_boundaries(temperature):
    width = 3500
    rows = mdp_fast.Rows(1, width, temperature, lambda row, count: np.random.RandomState(row).random_sample(count))
    boundaries = mdp_fast.cumulative(rows.uniforms(0, width), temperature)
    near = boundaries[::50, None] + np.array([-1e-6, -1e-8, -1e-12, 0, 1e-12, 1e-8, 1e-6])
    draws = np.clip(np.append(near, [0.0, 0.5]), 0, 1 - 2**-53)
    search = mdp_fast.row_search(rows)
    assert [search(0, draw) for draw in draws.tolist()] == boundaries.searchsorted(draws, side="right").tolist()


@pytest.mark.parametrize("seeds", [[0, 1, 2**31, 2**32 - 1], [7, 8, 7, 10, 9, 8]])  # far apart; repeated
def test_first_doubles_are_those_of_the_legacy_generator(seeds):
    expected = [np.random.RandomState(seed).random_sample() for seed in seeds]
    assert mdp_fast.first_doubles(np.array(seeds)).tolist() == expected


def test_distinct_rows_are_counted():
    assert [mdp.distinct_transition_rows(n, n) for n in (10, 100, 1000, 10**4, 10**5)] == [
        *(94, 1444, 14944),
        *(149944, 1499944),  # faithfulness 4.3
    ]
    for states, actions in ((1, 1), (3, 40), (40, 3), (6, 9), (9, 6)):
        brute = len({8 * s + 7 * a for s in range(states) for a in range(actions)})
        assert mdp.distinct_transition_rows(states, actions) == brute


def test_independent_rows_share_nothing():
    authors, independent = MDPConfig(), MDPConfig(rows="independent")
    pairs = [(7, 0), (0, 8), (1, 0), (0, 1)]  # 8s + 7a: equal, equal, different

    def distinct(config):
        policy = [mdp.policy_probabilities(config, s) for s in (0, 7)]
        return len({row.tobytes() for row in policy + [mdp.transition_probabilities(config, *pair) for pair in pairs]})

    assert distinct(authors) == 2 + 3
    assert distinct(independent) == 2 + 4
    np.testing.assert_array_equal(
        mdp.policy_probabilities(authors, 0), mdp.transition_probabilities(authors, 0, 0)
    )  # seed 0 serves both
    other = mdp.transition_probabilities(dataclasses.replace(independent, seed=1), 0, 0)
    assert not np.array_equal(other, mdp.transition_probabilities(independent, 0, 0))


def test_vectors_come_from_one_stream_and_serve_every_kind():
    states, actions = mdp.vectors(MDPConfig(), 17, 6)
    assert states.shape == (100, 17) and actions.shape == (100, 6)
    assert states.dtype == actions.dtype == np.float32
    assert states[0, 0] == np.float32(2 * 0.5488135039273248 - 1)  # the legacy generator's first number for seed 0
    again = mdp.vectors(MDPConfig(kind="mapping", states=50), 17, 6)[0]
    np.testing.assert_array_equal(again, states)  # 2 x 50 rows


@pytest.mark.parametrize("kind", mdp.KINDS)
def test_targets(kind):
    config = MDPConfig(kind=kind, states=20, actions=15, trajectories=3, length=5)
    transitions = generate(config)
    states, actions = mdp.vectors(config, 4, 2)
    chosen = np.array([11, 0, 11])
    target = mdp.targets(states, actions, mdp.target_indices(config, transitions, chosen))
    assert target.shape == (3, mdp.prediction_width(config, 4, 2)) and target.dtype == np.float32
    s, a, following = (int(array[11]) for array in transitions)
    if kind in ("mdp", "iid"):
        expected = states[following]
    elif kind == "identity":
        expected = np.append(states[s], actions[a])
    else:
        expected = np.append(states[s + 20], actions[a + 15])
    np.testing.assert_array_equal(target[[0, 2]], [expected, expected])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "markov"),
        ("rows", "shared"),
        ("states", 0),
        ("states", 2.5),
        ("actions", True),
        ("trajectories", -1),
        ("length", "10"),
        ("seed", -1),
        ("policy_temperature", 0.0),
        ("transition_temperature", math.nan),
        ("random_start", 1),
    ],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        MDPConfig(**{field: value})


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match="kind='iid'"):
        MDPConfig(policy_temperature=math.inf, transition_temperature=math.inf)
    with pytest.raises(ValueError, match="identity"):
        MDPConfig(kind="identity", random_start=True)
    with pytest.raises(ValueError, match="fewer states"):
        MDPConfig(states=3_000_000)
    with pytest.raises(ValueError, match="seed=1"):
        MDPConfig(seed=1)


def test_a_configuration_fits_json_and_says_everything():
    config = MDPConfig(states=np.int64(12), policy_temperature=math.inf)
    assert json.loads(json.dumps(dataclasses.asdict(config))) == dataclasses.asdict(config)
    assert config == MDPConfig(states=12, actions=12, policy_temperature=math.inf)
