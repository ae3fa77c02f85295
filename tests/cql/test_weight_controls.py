import pytest
import torch

from synthlib.cql.networks import QNetwork, initial_weights
from synthlib.cql.weight_controls import KINDS, WeightControl, changed


@pytest.fixture
def critics():
    with initial_weights(3):
        networks = {name: QNetwork(11, 3, (32, 24), prediction_width=11) for name in ("q1", "q2")}
    return {
        name: {key: weight.detach().clone() for key, weight in network.named_parameters()}
        for name, network in networks.items()
    }


def trunk(critics):
    return {
        (critic, name): weight
        for critic, weights in critics.items()
        for name, weight in weights.items()
        if name.startswith("trunk.")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_of_the_trunk_keeps_its_norm_and_nothing_else(kind, critics):
    before, after = trunk(critics), trunk(changed(critics, WeightControl(kind), run_seed=42))
    assert before.keys() == after.keys() and len(before) == 8  # two layers with weights and biases, two critics
    for place, weight in before.items():
        assert after[place].shape == weight.shape and after[place].dtype == weight.dtype
        torch.testing.assert_close(after[place].norm(), weight.norm())
        cosine = torch.nn.functional.cosine_similarity(after[place].flatten(), weight.flatten(), dim=0)
        assert abs(cosine) < 5 / weight.numel() ** 0.5  # as two random vectors


def test_a_permutation_keeps_every_value_and_equal_norms_do_not(critics):
    for kind, keeps in (("permuted", True), ("norms_only", False)):
        after = trunk(changed(critics, WeightControl(kind), run_seed=42))
        for place, weight in trunk(critics).items():
            assert torch.equal(after[place].flatten().sort()[0], weight.flatten().sort()[0]) == keeps


@pytest.mark.parametrize("kind", KINDS)
def test_the_heads_stay_and_the_given_critics_are_left_alone(kind, critics):
    given = {key: weight.clone() for key, weight in trunk(critics).items()}
    after = changed(critics, WeightControl(kind), run_seed=42)
    for critic, weights in critics.items():
        for name in ("q_head.weight", "q_head.bias", "prediction_head.weight", "prediction_head.bias"):
            assert torch.equal(after[critic][name], weights[name])
    assert all(torch.equal(weight, given[key]) for key, weight in trunk(critics).items())


@pytest.mark.parametrize("kind", KINDS)
def test_both_seeds_decide_the_draws_and_equal_seeds_repeat_them(kind, critics):
    def first(seed, run_seed):
        return changed(critics, WeightControl(kind, seed), run_seed)["q1"]["trunk.0.weight"]

    assert torch.equal(first(0, 42), first(0, 42))
    assert not torch.equal(first(0, 42), first(1, 42))
    assert not torch.equal(first(0, 42), first(0, 43))
    both = changed(critics, WeightControl(kind), 42)
    assert not torch.equal(both["q1"]["trunk.0.weight"], both["q2"]["trunk.0.weight"])


def test_an_unknown_kind_or_seed_is_refused():
    with pytest.raises(ValueError, match="unknown kind 'shuffled'; choose one of permuted, norms_only"):
        WeightControl("shuffled")
    for seed in (-1, 1.5, True, "0"):
        with pytest.raises(ValueError, match="seed must be an integer from 0"):
            WeightControl("permuted", seed)
