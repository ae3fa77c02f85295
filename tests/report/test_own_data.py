"""Pictures and information content of generated data, against what is known of them."""

import math

import numpy as np
import pytest

from synthlib.generators.checked import VectorTransitions
from synthlib.generators.dial_chain import dial_chain
from synthlib.generators.mdp import IndexTransitions
from synthlib.generators.registry import Generated
from synthlib.generators.smooth_dynamics import smooth_dynamics
from synthlib.report import dial_page, own_data, smooth_page
from synthlib.study.plan import make_plan


def test_independent_tokens_share_nothing_although_a_sample_seems_to():
    tokens = np.random.default_rng(0).integers(50, size=(200, 100))
    found = own_data.token_information(tokens, 50)
    assert found["mutual information"] < 0.01 and found["knows frequencies"] == pytest.approx(math.log(50), abs=0.01)
    counts = np.bincount(tokens[:, :-1].ravel() * 50 + tokens[:, 1:].ravel()) / tokens[:, 1:].size
    assert 2 * math.log(50) + (counts * np.log(np.maximum(counts, 1e-300))).sum() > 0.05  # without the correction


def test_frequencies_that_differ_are_told_from_what_neighbours_share():
    tokens = (np.random.default_rng(0).random((300, 100)) < 0.1).astype(int)
    found = own_data.token_information(tokens, 2)
    entropy = -(0.1 * math.log(0.1) + 0.9 * math.log(0.9))
    assert found["knows frequencies"] == pytest.approx(entropy, abs=0.01) and found["mutual information"] < 0.001


def test_a_large_vocabulary_is_drawn_by_its_first_tokens_and_counted_whole():
    words, data = 60_000, Generated("mine:words", {"vocabulary": 60_000}, {}, 0, 100)
    tokens = np.random.default_rng(0).integers(words, size=(100, 1)).repeat(20, axis=1).astype(np.int32)
    tokens[0] = 7
    assert own_data.token_information(tokens, words)["mutual information"] > 3  # a token follows itself
    figure, _ = own_data.token_maps({"mine": (data, tokens)})
    shown = np.asarray(figure.axes[0].images[0].get_array() if figure.axes[0].images else 0)
    assert shown.size in (1, 200 * 200)
    following = own_data._following(tokens[:, :-1].ravel(), tokens[:, 1:].ravel(), words)
    assert following[7, 7] == words and following.shape == (200, 200)


def test_numbers_of_states_are_shown_as_a_map():
    draw = np.random.default_rng(0)
    now, action = draw.integers(5, size=5000), draw.integers(2, size=5000)
    ring = IndexTransitions(now, action, (now + action) % 5)
    figure, words = own_data.state_maps({"ring": ring})
    assert own_data.pair_information(ring) == pytest.approx(math.log(5), abs=0.01)
    assert "Nats of pair and next state: ring: 1.609" in words and len(figure.axes) == 2
    following = own_data._following(ring.observations, ring.next_observations, 5)
    expected = 2.5 * (np.eye(5) + np.roll(np.eye(5), 1, axis=1))
    assert following == pytest.approx(expected, abs=0.15)


def test_noise_alone_is_not_explained():
    draw = np.random.default_rng(0)
    noise = VectorTransitions(*(draw.normal(size=(4000, width)).astype(np.float32) for width in (2, 1, 2)))
    assert own_data.explained_share(noise) < 0.05
    assert own_data.explained_share(VectorTransitions(*smooth_dynamics(0, 4000, 2, 1, noise=0.01))) > 0.9


def test_the_tables_of_the_two_pages_show_all_their_generated_arms():
    dial = own_data.information_table(make_plan("dial_chain", "smoke", None))
    assert list(dial.index) == ["0 nat", "0.04 nat", "0.5 nat", "2 nat", "4 nat"]
    for arm, row in dial.iterrows():
        assert row["mutual information"] == pytest.approx(float(arm.split()[0]), abs=0.01)
    assert own_data.generated_of_plan(make_plan("table6", "smoke", None)) == {}
    plan = make_plan("smooth_dynamics", "smoke", None)
    smooth = own_data.information_table(plan)["explained by its nearest neighbours"]
    assert smooth["noise 0.1"] > smooth["noise 1"] > smooth["noise 3"]
    ((name, (figure, words)),) = own_data.pictures(plan)
    assert name == "own_transitions" and "noise 0.1" in words and len(figure.axes) == 3


def test_what_the_pages_say_in_words():
    assert "2 nat one with 0.581" in dial_page.finding()
    assert smooth_page.finding().endswith("in the paper's default MDP, state and action explain 0.08%.")
    figure, words = dial_page.transitions((0.0, 2.0))
    assert "0 nat: 0.010; 2 nat: 0.581" in words and len(figure.axes) == 3
    order = dial_page._by_cycles(100)
    assert sorted(order) == list(range(100))
    assert dial_chain(0, 3, 4).shape == (3, 4)
