import pytest
import torch
from transformers import GPT2LMHeadModel

from synthlib.dt.pretraining import GPT2PretrainingConfig, huggingface_config, logits
from synthlib.dt.pretraining_fast import fast_logits
from synthlib.kernels.twins import best


def language_model(**dropouts):
    """A small model; ``dropouts`` are Hugging Face's names, all 0 unless given."""
    shape = GPT2PretrainingConfig(12, dropout=0.0, width=16, layers=2, positions=80, sequence_length=80)
    config = huggingface_config(shape)
    config.update(dropouts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GPT2LMHeadModel(config)


TOKENS = torch.randint(12, (3, 70), generator=torch.Generator().manual_seed(1))


def test_the_fast_pass_is_for_one_head():
    assert best(logits, GPT2PretrainingConfig(12)) is fast_logits
    assert best(logits, GPT2PretrainingConfig(12, heads=2)) is logits


@pytest.mark.parametrize("block", [16, 35, 70, 256])
def test_twins_have_the_same_logits_and_gradients(block):
    """Blocks that divide the sequence, that do not, and that are longer than it; in float64."""
    model = language_model().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    slow, fast = logits(model, TOKENS), fast_logits(model, TOKENS, None, block)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    gradients = [torch.autograd.grad(x.square().mean(), model.parameters()) for x in (slow, fast)]
    for name, one, other in zip(dict(model.named_parameters()), *gradients, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-7, atol=1e-11, msg=name)


def test_dropout_only_with_a_generator():
    model = language_model(resid_pdrop=0.5)
    with torch.no_grad():
        plain, again = fast_logits(model, TOKENS), fast_logits(model, TOKENS)
        one, same = (fast_logits(model, TOKENS, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(plain, again) and torch.equal(one, same) and not torch.equal(one, plain)


@pytest.mark.parametrize("length", [70, 600])
def test_twins_draw_the_same_dropout_masks(length):
    """Every kind of dropout at once; 600 tokens are three blocks of queries, the last one shorter."""
    dropouts = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.3)
    model = language_model(**dropouts, n_positions=length).double().train()
    tokens = torch.randint(12, (2, length), generator=torch.Generator().manual_seed(1))
    before = torch.get_rng_state()
    slow, fast = (twin(model, tokens, torch.Generator().manual_seed(3)) for twin in (logits, fast_logits))
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.allclose(slow, logits(model, tokens, torch.Generator().manual_seed(4)))
    without, in_evaluation = logits(model, tokens), logits(model.eval(), tokens, torch.Generator().manual_seed(3))
    torch.testing.assert_close(without, in_evaluation, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("place", ["embd_pdrop", "attn_pdrop", "resid_pdrop"])
def test_dropout_spreads_the_logits_as_hugging_faces_does(place):
    """Variance over the masks of each logit, averaged: the same for each of the three dropouts by itself."""
    model = language_model(**{place: 0.3}).train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for name, parameter in model.named_parameters():
            if name.endswith("weight") and "ln" not in name:
                parameter.mul_(8)
        torch.manual_seed(0)
        slow = torch.stack([model(TOKENS).logits for _ in range(150)])
        fast = torch.stack([fast_logits(model, TOKENS, generator) for _ in range(150)])
    assert (fast.var(0).mean() / slow.var(0).mean()).item() == pytest.approx(1, abs=0.06)
    assert slow.var(0).mean() > 0.001
    error = ((slow.var(0) + fast.var(0)) / 150).sqrt()
    assert ((slow.mean(0) - fast.mean(0)) / error).square().mean().item() == pytest.approx(1, abs=0.5)
