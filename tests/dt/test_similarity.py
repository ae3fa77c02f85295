import copy

import numpy as np
import pytest
import torch

from synthlib.dt.model import DecisionTransformer, baseline_config, pretrained_config
from synthlib.dt.similarity import feature_similarity, feature_windows, weight_similarity
from synthlib.dt.windows import prepare
from tests.common import random_trajectories

SMALL = {"width": 16, "layers": 2}


def model(seed, config=pretrained_config):
    return DecisionTransformer(config(4, 2, **SMALL), seed)


def test_weight_similarity_is_the_cosine_of_everything_in_the_blocks():
    first, second = model(0), model(1)
    assert weight_similarity(first, first) == pytest.approx(1)
    flat = [
        np.concatenate(
            [
                p.detach().numpy().ravel()
                for n, p in m.named_parameters()
                if n[:2] in ("h.", "ln") and n.endswith("weight")
            ]
        )
        for m in (first, second)
    ]
    expected = flat[0] @ flat[1] / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1])
    assert weight_similarity(first, second) == pytest.approx(expected, rel=1e-5)
    # Unit layer norms are shared by all initialisations, hence not 0.
    assert 0.1 < expected < 0.99


@pytest.mark.parametrize("config", [baseline_config, pretrained_config])
def test_weights_outside_the_blocks_and_biases_do_not_count(config):
    first = model(0, config)
    second = copy.deepcopy(first)
    with torch.no_grad():
        second.time_embedding.weight.mul_(-1)
        second.embed_state.weight.mul_(-1)
        second.h[0].attn.c_attn.bias.add_(1)
    assert weight_similarity(first, second) == pytest.approx(1)
    with torch.no_grad():
        second.ln_f.weight.mul_(-1)
    assert weight_similarity(first, second) < 0.9


def windows(lengths, ratio=1.0, batch_size=4):
    return list(feature_windows(prepare(random_trajectories(lengths)), ratio, batch_size))


def test_windows_do_not_overlap_and_the_last_batch_must_be_full():
    batches = windows([50, 20, 10, 45])  # 3 + 1 + 1 + 3 windows
    assert len(batches) == 2
    assert sum(batch.mask.sum() for batch in batches) == 125
    starts = [
        int(steps[mask > 0][0]) for batch in batches for steps, mask in zip(batch.timesteps, batch.mask, strict=True)
    ]
    assert sorted(starts) == [0, 0, 0, 0, 20, 20, 40, 40]
    assert len(windows([50, 20, 10], batch_size=4)) == 1
    with pytest.raises(ValueError, match="5 windows do not fill a batch of 64"):
        windows([50, 20, 10], batch_size=64)


def test_a_fixed_tenth_of_the_trajectories():
    one, two = (windows([20] * 100, ratio=0.1, batch_size=10) for _ in range(2))
    assert len(one) == 1
    np.testing.assert_array_equal(one[0].observations, two[0].observations)


def test_feature_similarity_counts_padding_as_zero():
    first, second = model(0), model(1)
    full, padded = windows([20] * 4), windows([5] * 4)
    assert feature_similarity(first, first, full) == pytest.approx(1, abs=1e-6)
    assert feature_similarity(first, first, padded) == pytest.approx(0.25, abs=1e-6)
    assert abs(feature_similarity(first, second, full)) < 0.95


def test_feature_similarity_is_the_cosine_at_the_observation_tokens():
    first, second = model(0), model(1)
    (batch,) = windows([13, 20, 7, 20])
    inputs = (batch.observations, batch.actions, batch.returns_to_go[:, :-1], batch.timesteps, batch.mask)
    with torch.no_grad():
        one, other = (m.hidden(*map(torch.from_numpy, inputs))[0].numpy() for m in (first, second))
    cosines = [
        one[row, step, 1]
        @ other[row, step, 1]
        / np.linalg.norm(one[row, step, 1])
        / np.linalg.norm(other[row, step, 1])
        for row, step in np.argwhere(batch.mask > 0)
    ]
    assert len(cosines) == 60
    assert feature_similarity(first, second, [batch]) == pytest.approx(np.sum(cosines) / 80, abs=1e-6)
