import numpy as np
import pytest
import torch

from synthlib.dt.dropout import draw_dropouts
from synthlib.dt.model import DecisionTransformer, baseline_config, load_backbone, pretrained_config
from synthlib.machine.devices import chosen, put
from tests.common import DT_CASES, DT_GOLDEN, SMALL_DT, golden_inputs, golden_model, golden_weights


@pytest.mark.device
@pytest.mark.parametrize("case", DT_CASES)
def test_forward_equals_the_reference(case):
    inputs = put(chosen(), *golden_inputs())
    real = inputs[-1] > 0
    assert not real.all(), "the golden batch must contain padding"
    with torch.no_grad():
        got = golden_model(case).to(chosen())(*inputs)
    real = real.cpu()
    for name, ours in (
        ("action_preds", got.action),
        ("state_preds", got.observation),
        ("return_preds", got.return_to_go),
    ):
        np.testing.assert_allclose(
            ours.cpu()[real], DT_GOLDEN[f"{case}/{name}"][real], atol=2e-6, rtol=2e-6, err_msg=name
        )
    np.testing.assert_allclose(got.embeddings.cpu(), DT_GOLDEN[f"{case}/embed_ln_output"], atol=2e-6)


def test_padding_and_the_future_change_nothing():
    """A prediction may depend on its own step's observation and on what came before, on nothing else."""
    observations, actions, returns, timesteps, mask = golden_inputs()
    model = golden_model("share_true")
    row = int(mask.sum(1).argmin())
    first = int(mask[row].argmax())
    with torch.no_grad():
        before = model(observations, actions, returns, timesteps, mask).action[row, first]
        observations[row, :first], actions[row, :first], returns[row, :first] = 3.0, -2.0, 9.0
        actions[row, first:] += 1.0  # the action of a step is not visible to its own prediction
        observations[row, first + 1 :] -= 1.0
        after = model(observations, actions, returns, timesteps, mask).action[row, first]
        observations[row, first] += 1.0
        changed = model(observations, actions, returns, timesteps, mask).action[row, first]
    torch.testing.assert_close(after, before, rtol=0, atol=1e-7)
    assert (changed - before).abs().max() > 1e-3


def test_two_heads_split_the_width_as_gpt2_does():
    """Against Hugging Face's model, which has no time embedding: ours is given its position table instead."""
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        vocab_size=4, n_embd=32, n_layer=2, n_head=2, n_positions=64, activation_function="relu",
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
    )  # fmt: skip
    reference = GPT2Model(config).eval()
    ours = DecisionTransformer(
        pretrained_config(5, 3, **(SMALL_DT | {"layers": 2, "heads": 2, "timesteps": 64})), seed=1
    )
    load_backbone(ours, reference.state_dict())
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 12, 32, generator=generator)
    with torch.no_grad():
        expected = reference(inputs_embeds=x).last_hidden_state
        got = x + ours.time_embedding.weight[:12]
        for block in ours.h:
            got = block(got, torch.ones(3, 12))
        got = ours.ln_f(got)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def drawn(config, seed):
    return draw_dropouts(config, *golden_inputs()[3].shape, torch.Generator().manual_seed(seed))


def test_dropout_is_what_was_drawn_and_repeats_with_its_seed():
    model = DecisionTransformer(baseline_config(5, 3, width=32), seed=0)
    inputs = golden_inputs()
    with torch.no_grad():
        plain, again = model(*inputs).action, model(*inputs).action
        one, same, other = (model(*inputs, drawn(model.config, seed)).action for seed in (1, 1, 2))
    assert torch.equal(plain, again) and torch.equal(one, same)
    assert not torch.equal(one, other) and not torch.equal(one, plain)


def test_each_of_the_three_dropouts_acts():
    inputs = golden_inputs()
    for name in ("residual_dropout", "attention_dropout", "embedding_dropout"):
        model = DecisionTransformer(baseline_config(5, 3, **(SMALL_DT | {name: 0.5})), seed=0)
        with torch.no_grad():
            assert not torch.equal(model(*inputs, drawn(model.config, 0)).action, model(*inputs).action), name


def test_dropout_factors():
    """Each with its own probability, none twice, and of mean 1."""
    config = baseline_config(17, 6, heads=2)
    dropouts = draw_dropouts(config, 8, 20, torch.Generator().manual_seed(0))
    tables = [dropouts.embedding, *dropouts.attention, *dropouts.mixed, *dropouts.fed]
    shapes = [(8, 60, 128)] + 3 * [(8, 2, 60, 60)] + 6 * [(8, 60, 128)]
    assert [tuple(table.shape) for table in tables] == shapes
    for table, probability in zip(tables, 4 * [0.1] + 6 * [0.2], strict=True):
        assert (table == 0).float().mean().item() == pytest.approx(probability, abs=0.005)
        assert table.max().item() == pytest.approx(1 / (1 - probability))
    assert len({tuple(table.flatten()[:100].tolist()) for table in tables}) == 10
    without = draw_dropouts(config, 8, 20, None)
    assert without.embedding is None and set(without.mixed) == {None}


def test_initial_weights_follow_the_seed_and_the_two_configurations():
    before = torch.get_rng_state()
    one, same, other = (DecisionTransformer(baseline_config(17, 6), seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.h[0].mlp.c_fc.weight, same.h[0].mlp.c_fc.weight)
    assert not torch.equal(one.h[0].mlp.c_fc.weight, other.h[0].mlp.c_fc.weight)
    control = DecisionTransformer(pretrained_config(17, 6), 5)
    # Faithfulness 3.5: the baseline's time embedding starts 50 times larger.
    assert one.time_embedding.weight.std().item() == pytest.approx(1.0, rel=0.02)
    assert control.time_embedding.weight.std().item() == pytest.approx(0.02, rel=0.02)
    for model in (one, control):
        assert model.h[1].attn.c_attn.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert model.h[1].mlp.c_proj.weight.std().item() == pytest.approx(0.02 / 6**0.5, rel=0.02)
        assert model.embed_state.weight.abs().max() <= 17**-0.5
    assert not hasattr(control, "predict_action")


def test_parameter_count_of_the_paper():
    """Blocks and final norm 595,072, position table 131,072 (faithfulness 2.1)."""
    model = DecisionTransformer(pretrained_config(17, 6), seed=0)
    counts = {name: p.numel() for name, p in model.backbone().items()}
    assert counts.pop("wpe.weight") == 131_072
    assert sum(counts.values()) == 595_072


def test_time_before_norm_is_the_other_order():
    inputs = golden_inputs()
    after = golden_model("share_true")
    before = DecisionTransformer(pretrained_config(5, 3, time_before_norm=True, **SMALL_DT), seed=0)
    before.load_state_dict(after.state_dict())
    with torch.no_grad():
        _, x = before.embed(*inputs[:4])
        _, other = after.embed(*inputs[:4])
    assert not torch.allclose(x, other)
    # A norm with unit weights leaves tokens of mean 0 and variance 1; the authors' order does not.
    variance = ((x - after.embed_ln.bias) / after.embed_ln.weight).var(-1, correction=0)
    torch.testing.assert_close(variance, torch.ones(4, 60), rtol=0, atol=1e-2)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda w: w.pop("h.1.attn.c_attn.weight"), "have no 'h.1.attn.c_attn.weight'"),
        (lambda w: w.update({"wpe.weight": torch.zeros(512, 32)}), "has shape"),
        (lambda w: w["ln_f.bias"].fill_(float("nan")), "holds NaN"),
        (lambda w: w.update({"h.3.ln_1.weight": torch.zeros(32)}), "more than 3 layers"),
    ],
)
def test_unfitting_weights_are_refused(break_it, message):
    weights = golden_weights()
    model = DecisionTransformer(pretrained_config(5, 3, **SMALL_DT), seed=0)
    load_backbone(model, weights)
    break_it(weights)
    with pytest.raises(ValueError, match=message):
        load_backbone(model, weights)


def test_loading_leaves_heads_and_embeddings_alone():
    model = DecisionTransformer(pretrained_config(5, 3, **SMALL_DT), seed=0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    load_backbone(model, golden_weights())
    for name, p in model.named_parameters():
        changed = not torch.equal(p, before[name])
        assert changed == (not name.startswith(("embed_", "predict_"))), name
