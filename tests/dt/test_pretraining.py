import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from synthlib.dt.model import DecisionTransformer, load_backbone, pretrained_config
from synthlib.dt.pretraining import (
    GPT2Pretraining,
    GPT2PretrainingConfig,
    default_micro_batch,
    huggingface_config,
    learning_rate,
    logits,
    mapping,
)
from synthlib.dt.pretraining_fast import fast_logits
from synthlib.dt.token_batches import shuffled_batches, stream_batches
from synthlib.dt.weights import FILE, read_weights
from synthlib.offline.hdf5 import sha256_of
from tests.common import GPT2_BATCHES, GPT2_GOLDEN, GPT2_GOLDEN_CONFIG, SMALL_GPT2


def golden_weights(prefix):
    return {n.removeprefix(prefix): torch.from_numpy(GPT2_GOLDEN[n]) for n in GPT2_GOLDEN.files if n.startswith(prefix)}


def golden_training(speedup=1, **options):
    training = GPT2Pretraining(replace(GPT2_GOLDEN_CONFIG, schedule_speedup=speedup), GPT2_BATCHES, **options)
    training.model.transformer.load_state_dict(golden_weights("init/"))
    return training


def test_order_of_rows_equals_the_reference():
    np.testing.assert_array_equal(
        np.concatenate([shuffled_batches(np.arange(30), 10)(update) for update in range(3)]),
        GPT2_GOLDEN["train_order_30_rows_seed666"],
    )
    for update, rows in enumerate(GPT2_GOLDEN["batch_rows"]):
        np.testing.assert_array_equal(GPT2_BATCHES(update), GPT2_GOLDEN["dataset_rows"][rows])


def test_logits_equal_the_reference():
    training = golden_training()
    with torch.no_grad():
        found = training.model.eval()(torch.from_numpy(GPT2_BATCHES(0))).logits
    np.testing.assert_allclose(found, GPT2_GOLDEN["logits_batch0"], atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("options", [{}, {"logits": fast_logits}, {"micro_batch": 3}])
@pytest.mark.parametrize("world", [1, 2])
def test_updates_equal_the_reference(world, options):
    """world 2 is the launcher with two processes, which advances the schedule twice as fast."""
    training = golden_training(world, **options)
    for step in range(5):
        rate = learning_rate(training.config, step)
        assert rate == pytest.approx(GPT2_GOLDEN[f"world{world}/lr_used"][step], rel=1e-12, abs=1e-15)
        loss = training.update(GPT2_BATCHES(step))
        assert loss == pytest.approx(GPT2_GOLDEN[f"world{world}/losses"][step], rel=2e-5)
        expected = {1: "init/", 3: f"world{world}/after3/"}.get(step + 1)
        for name, value in golden_weights(expected).items() if expected else ():
            ours = training.weights()[name]
            if name.endswith("c_attn.bias"):
                # The key's bias has no effect and a gradient of rounding noise, which Adam makes large.
                ours, value = (torch.cat([x[:32], x[64:]]) for x in (ours, value))
            np.testing.assert_allclose(ours, value, atol=5e-6, rtol=0, err_msg=name)


def test_schedule_of_the_paper():
    """Faithfulness 2.4 and 2.5."""
    once, twice = GPT2PretrainingConfig(100), GPT2PretrainingConfig(100, schedule_speedup=2)
    assert learning_rate(once, 0) == 0
    assert learning_rate(once, 10_000) == 3e-4
    assert learning_rate(once, 20_000) == pytest.approx(2.571e-4, rel=1e-3)
    assert learning_rate(once, 80_000) == 0
    assert learning_rate(twice, 1000) == pytest.approx(6e-5)
    assert learning_rate(twice, 5000) == 3e-4
    assert learning_rate(twice, 20_000) == pytest.approx(1.714e-4, rel=1e-3)
    assert learning_rate(twice, 40_000) == 0 == learning_rate(twice, 79_999)
    assert learning_rate(replace(once, decay="constant"), 79_999) == 3e-4


@pytest.mark.parametrize(("vocabulary", "parameters"), [(100, 738_944), (50_257, 7_159_040)])
def test_parameter_count_of_the_paper(vocabulary, parameters):
    """Faithfulness 2.1."""
    with torch.device("meta"):
        model = GPT2LMHeadModel(huggingface_config(GPT2PretrainingConfig(vocabulary)))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_initial_weights_follow_the_seed():
    before = torch.get_rng_state()
    one, same, other = (
        GPT2Pretraining(replace(SMALL_GPT2, width=128, seed=s), GPT2_BATCHES).weights() for s in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    name = "h.0.mlp.c_proj.weight"
    assert not torch.equal(one[name], other[name])
    assert one[name].std().item() == pytest.approx(0.02 / math.sqrt(6), rel=0.02)


@pytest.mark.parametrize("logits", [logits, fast_logits])
def test_resuming_repeats_the_run(tmp_path, logits):
    """Dropout included, although no generator state is saved."""
    whole = GPT2Pretraining(SMALL_GPT2, GPT2_BATCHES, logits)
    whole.run(23)
    half = GPT2Pretraining(SMALL_GPT2, GPT2_BATCHES, logits)
    half.run(14)
    torch.save(half.state_dict(), tmp_path / "state.pt")
    rest = GPT2Pretraining(SMALL_GPT2, GPT2_BATCHES, logits)
    rest.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    rest.run(23)
    assert rest.losses == whole.losses and len(whole.losses) == 2
    assert all(torch.equal(rest.weights()[name], tensor) for name, tensor in whole.weights().items())
    with pytest.raises(ValueError, match="cannot go back to 5"):
        rest.run(5)


def test_weights_load_into_plain_transformers_and_back(tmp_path):
    training = GPT2Pretraining(SMALL_GPT2, GPT2_BATCHES)
    training.run(3)
    training.save_pretrained(tmp_path)
    plain = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    tokens = torch.from_numpy(GPT2_BATCHES(0))
    with torch.no_grad():
        expected = plain(tokens, labels=tokens)
        assert torch.equal(expected.logits, training.model.eval()(tokens).logits)
    assert training.validate(tokens)["loss"] == pytest.approx(expected.loss.item(), rel=1e-6)
    back = read_weights(tmp_path, sha256_of(tmp_path / FILE))
    assert back.keys() == training.weights().keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in training.weights().items())
    model = DecisionTransformer(pretrained_config(5, 3, width=32, timesteps=32), seed=0)
    load_backbone(model, back)
    assert torch.equal(model.time_embedding.weight, back["wpe.weight"])
    assert torch.equal(model.h[2].attn.c_attn.weight, back["h.2.attn.c_attn.weight"])


@pytest.mark.parametrize(("one", "other"), [(logits, fast_logits), (fast_logits, logits)])
def test_validation_has_no_dropout_and_changes_nothing(one, other):
    training = GPT2Pretraining(SMALL_GPT2, GPT2_BATCHES, one, micro_batch=3)
    first, second = (training.validate(GPT2_GOLDEN["dataset_rows"]) for _ in range(2))
    assert first == second
    assert first["perplexity"] == pytest.approx(math.exp(first["loss"]))
    assert first["loss"] == pytest.approx(math.log(12), abs=0.2)
    whole = GPT2Pretraining(SMALL_GPT2, GPT2_BATCHES, other, micro_batch=20).validate(GPT2_GOLDEN["dataset_rows"])
    assert first["loss"] == pytest.approx(whole["loss"], rel=1e-6)


def learned(objective):
    """Loss on fresh uniform tokens after 60 quick updates."""
    rng = np.random.default_rng(0)
    settings = {"dropout": 0.0, "decay": "constant", "learning_rate": 0.01, "weight_decay": 0.0, "layers": 1}
    config = replace(SMALL_GPT2, objective=objective, **settings)
    training = GPT2Pretraining(config, lambda update: rng.integers(12, size=(8, 16)))
    training.run(60)
    return training.validate(rng.integers(12, size=(8, 16)))["loss"]


def test_identity_and_mapping_can_be_learned_and_the_next_iid_token_cannot():
    assert learned("identity") < 0.3
    assert learned("mapping") < 0.3
    assert learned("mapping_within") < 0.3
    assert learned("next_token") > 0.9 * math.log(12)


def test_mappings_are_one_to_one_and_fixed():
    config = GPT2PretrainingConfig(3500, objective="mapping")
    assert sorted(mapping(config).tolist()) == list(range(3500, 7000))
    assert huggingface_config(config).vocab_size == 7000
    assert torch.equal(mapping(config), mapping(config))
    within = replace(config, objective="mapping_within")
    assert sorted(mapping(within).tolist()) == list(range(3500)) and huggingface_config(within).vocab_size == 3500
    assert mapping(replace(config, objective="next_token")) is None


def test_micro_batches_bound_the_memory():
    assert default_micro_batch(GPT2PretrainingConfig(100)) == 4
    assert default_micro_batch(GPT2PretrainingConfig(50_257)) == 1
    assert default_micro_batch(GPT2PretrainingConfig(100, batch_size=2)) == 2


def test_a_stream_is_read_in_order_and_again():
    def sequences(first, count):
        return np.arange(first, first + count)[:, None]

    endless, epochs = stream_batches(sequences, 4), stream_batches(sequences, 4, rows=11)
    assert [endless(update)[0, 0] for update in range(4)] == [0, 4, 8, 12]
    assert [epochs(update)[0, 0] for update in range(4)] == [0, 4, 0, 4]


def test_the_authors_four_loader_workers():
    """Faithfulness 2.7: 1872 updates per epoch, turn by turn through four quarters of one order."""
    rows = np.arange(120_000)
    one, four = shuffled_batches(rows, 64), shuffled_batches(rows, 64, workers=4)
    order = np.concatenate([one(update) for update in range(1875)])
    assert sorted(order) == list(range(120_000))
    np.testing.assert_array_equal(four(0), order[:64])
    np.testing.assert_array_equal(four(1), order[30_000:30_064])
    np.testing.assert_array_equal(four(4), order[64:128])
    np.testing.assert_array_equal(four(1872), four(0))
    assert not np.array_equal(four(1871), four(0))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (np.full((4, 16), 12), "go from 12 to 12"),
        (np.full((4, 16), -1), "go from -1"),
        (np.zeros((4, 15)), r"shape \(4, 15\)"),
        (np.zeros((0, 16)), "n > 0"),
    ],
)
def test_wrong_tokens_are_refused(tokens, message):
    with pytest.raises(ValueError, match=message):
        GPT2Pretraining(SMALL_GPT2, GPT2_BATCHES).update(tokens)


def test_wrong_settings_are_refused():
    for changes, message in (
        ({"objective": "previous"}, "objective='previous' is unknown"),
        ({"decay": "cosine"}, "decay='cosine' is unknown"),
        ({"sequence_length": 64}, "do not fit into 32 positions"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(SMALL_GPT2, **changes)
    with pytest.raises(ValueError, match="3 sequences do not fill one batch of 4"):
        shuffled_batches(GPT2_GOLDEN["dataset_rows"][:3], 4)


@pytest.mark.parametrize("updates", [60, pytest.param(200, marks=pytest.mark.slow)])
def test_twins_are_equal_in_float64(updates):
    config = replace(GPT2_GOLDEN_CONFIG, schedule_updates=400)
    fast, readable = (GPT2Pretraining(config, GPT2_BATCHES, logits=one) for one in (fast_logits, logits))
    for training in (fast, readable):
        training.model.double()
    losses = torch.tensor([[one.update(GPT2_BATCHES(update)) for one in (fast, readable)] for update in range(updates)])
    torch.testing.assert_close(losses[:, 0], losses[:, 1], rtol=0, atol=1e-10)
    assert losses[-1, 0] < losses[0, 0] - 0.5
    for one, other in zip(fast.model.parameters(), readable.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_a_loss_that_is_no_number_is_reported():
    training = GPT2Pretraining(SMALL_GPT2, GPT2_BATCHES)
    with torch.no_grad():
        training.model.transformer.ln_f.weight[0] = float("inf")
    with pytest.raises(FloatingPointError, match="a loss before update 10 is nan; lower the learning rate"):
        training.run(20)
    with pytest.raises(FloatingPointError, match="before update 10"):
        training.state_dict()
