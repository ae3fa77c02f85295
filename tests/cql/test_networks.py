import math

import numpy as np
import pytest
import torch

from synthlib.cql.networks import QNetwork, TanhGaussianPolicy, copy_weights, initial_weights
from tests.common import golden

GOLDEN = golden("cql_pretrain")

# Names in the golden archive -> names in QNetwork, for two hidden layers.
QNETWORK_NAMES = {
    "W0": "trunk.0.weight",
    "b0": "trunk.0.bias",
    "W1": "trunk.2.weight",
    "b1": "trunk.2.bias",
    "W2": "q_head.weight",
    "b2": "q_head.bias",
    "W_next_obs": "prediction_head.weight",
    "b_next_obs": "prediction_head.bias",
}


@pytest.mark.parametrize("case", ["h32_s10", "h64_s100"])
def test_a_seed_gives_the_authors_initial_critics(case):
    def cfg(name):
        return int(GOLDEN[f"{case}/cfg/{name}"])

    hidden = (cfg("critic_hidden_size"),) * cfg("critic_hidden_layer")
    with initial_weights(cfg("seed")):
        critics = [QNetwork(cfg("dS"), cfg("dA"), hidden, prediction_width=cfg("dS")) for _ in range(2)]
    for i, critic in enumerate(critics, start=1):
        weights = critic.state_dict()
        assert weights.keys() == set(QNETWORK_NAMES.values())
        for short, name in QNETWORK_NAMES.items():
            np.testing.assert_array_equal(weights[name].numpy(), GOLDEN[f"{case}/init/q{i}/{short}"], err_msg=name)


def test_initial_weights_leave_the_process_generator_alone():
    before = torch.get_rng_state()
    with initial_weights(3):
        first = QNetwork(4, 2)
    assert torch.equal(torch.get_rng_state(), before)
    with initial_weights(3):
        again = QNetwork(4, 2)
    assert torch.equal(first.trunk[0].weight, again.trunk[0].weight)


def test_prediction_head_reads_the_features_that_q_reads():
    network = QNetwork(4, 2, (8, 8), prediction_width=4)
    observations, actions = torch.randn(3, 5, 4), torch.randn(3, 5, 2)
    features = network.features(observations, actions)
    assert features.shape == (3, 5, 8)
    assert (features >= 0).all()
    assert network(observations, actions).shape == (3, 5)
    assert network.predict(observations, actions).shape == (3, 5, 4)
    torch.testing.assert_close(network(observations, actions), network.q_head(features).squeeze(-1))


def test_density_of_the_policy_integrates_to_one():
    policy = TanhGaussianPolicy(1, 1, (4,)).double()
    observation = torch.zeros(1, 1, dtype=torch.float64)
    mean, log_std = policy(observation)
    actions = torch.linspace(-1, 1, 200_001, dtype=torch.float64)[1:-1]
    noise = (actions.atanh() - mean[0]) / log_std[0].exp()
    reached, log_pi = policy.sample(observation.expand(len(noise), 1), noise[:, None])
    torch.testing.assert_close(reached[:, 0], actions)
    assert float(torch.trapezoid(log_pi.detach().exp(), actions)) == pytest.approx(1.0, abs=1e-4)


def test_density_is_finite_where_tanh_rounds_to_one():
    policy = TanhGaussianPolicy(2, 3)
    with torch.no_grad():
        policy.head.bias[:3] = 50.0
    action, log_pi = policy.sample(torch.zeros(1, 2), torch.zeros(1, 3))
    assert (action == 1).all()
    # log N(0) at sigma = e^-1, minus log(4 e^-100) per dimension.
    expected = 3 * (1 - 0.5 * math.log(2 * math.pi) - (math.log(4) - 100))
    assert float(log_pi.detach()) == pytest.approx(expected, abs=0.1)


def test_log_std_is_clamped():
    policy = TanhGaussianPolicy(2, 1)
    for offset, expected in ((100.0, 2.0), (-100.0, -20.0), (-1.0, -1.0)):
        with torch.no_grad():
            policy.log_std_offset.fill_(offset)
            policy.head.weight.zero_()
        assert float(policy(torch.ones(1, 2))[1].detach()) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weight": torch.zeros(2, 2)}, "bias"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, r"weight is \(\(2, 3\)"),
        ({"weight": torch.zeros(2, 2).double(), "bias": torch.zeros(2)}, "float64"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_copied(given, message):
    own = {"weight": torch.ones(2, 2), "bias": torch.ones(2)}
    with pytest.raises(ValueError, match=message):
        copy_weights(own, given, "saved agent")
    assert all((tensor == 1).all() for tensor in own.values())
