"""A GPT-2 of somebody else's in a Hugging Face folder, as the start of a Decision Transformer."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

from synthlib.dt.jobs import loaded_model, untrained_model
from synthlib.dt.pretraining_jobs import describe_pretraining
from synthlib.runs.store import Store
from tests.common import SMALL_ARM, small_dt_job, train, trained_dt

SHAPE = {"n_embd": 16, "n_layer": 1, "n_head": 1}
ALL = {"vocab_size": 50, "activation_function": "relu", "bos_token_id": None, "eos_token_id": None} | SHAPE


def saved(folder, kind=GPT2LMHeadModel, **changes):
    torch.manual_seed(7)
    kind(GPT2Config(**(ALL | changes))).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def gpt2(tmp_path):
    """A folder as ``save_pretrained`` of a language model writes it, of the shape of SMALL_ARM."""
    return saved(tmp_path / "gpt2")


@pytest.mark.parametrize("kind", [GPT2LMHeadModel, GPT2Model])
def test_the_model_starts_from_the_weights_of_the_folder(kind, tmp_path, random_hopper_data, outputs):
    folder = saved(tmp_path / "gpt2", kind)
    store, job = Store(outputs / "store"), small_dt_job({"weights": folder}, random_hopper_data)
    (pretraining,) = job.requires
    train(pretraining, store)
    theirs, model, untrained = GPT2Model.from_pretrained(folder).state_dict(), loaded_model(job, store), {}
    for name, parameter in model.backbone().items():
        assert torch.equal(parameter, theirs[name]), name
        untrained[name] = untrained_model(job).backbone()[name]
    assert not torch.equal(untrained["wpe.weight"], theirs["wpe.weight"])


def test_it_trains_beside_its_matched_control(gpt2, random_hopper_data, outputs):
    store, job = trained_dt({"weights": gpt2}, random_hopper_data, outputs)
    _, control = trained_dt({"weights": gpt2, "pretraining_updates": 0}, random_hopper_data, outputs)
    assert store.is_done(job) and store.is_done(control) and len(store.evaluations(control)) == 3
    assert {**job.config, "backbone": 0} == {**control.config, "backbone": 0}
    # The control starts as a GPT-2 of this vocabulary starts that is trained here.
    ours = trained_dt({"chain": {"states": 50}, "pretraining_updates": 0}, random_hopper_data, outputs)[1]
    assert control.key != ours.key
    assert all(map(torch.equal, *(store.weights(one.requires[0]).values() for one in (control, ours))))


def test_the_identity_is_the_content_and_not_the_folder(gpt2, tmp_path, random_hopper_data, outputs):
    def key(folder, **arm):
        return small_dt_job({"weights": str(folder), **arm}, random_hopper_data).key

    first = key(gpt2)
    shutil.copytree(gpt2, tmp_path / "copy")
    assert key(tmp_path / "copy") == first == small_dt_job({"weights": gpt2}, random_hopper_data, **ANOTHER_SIZE).key
    tensors = load_file(tmp_path / "copy" / "model.safetensors")
    tensors["transformer.wpe.weight"][0, 0] += 1
    save_file(tensors, tmp_path / "copy" / "model.safetensors", {"format": "pt"})
    assert len({key(tmp_path / "copy"), first, key(gpt2, pretraining_updates=0)}) == 3
    assert key(tmp_path / "copy", pretraining_updates=0) == key(gpt2, pretraining_updates=0)


ANOTHER_SIZE = {"pretraining_scale": 0.5, "pretraining_sequence_length": 4, "pretraining_batch_size": 1}


def test_a_relative_folder_counts_from_the_folder_of_ones_own_tables(gpt2, tmp_path, random_hopper_data, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_PARAMS", str(tmp_path))
    assert small_dt_job({"weights": "gpt2"}, random_hopper_data).requires[0].context == {"folder": gpt2}


def test_the_description_says_which_activation_is_not_used(tmp_path, random_hopper_data, gpt2):
    (plain,) = small_dt_job({"weights": gpt2}, random_hopper_data).requires
    assert describe_pretraining(plain.config).endswith("of somebody else, 50 tokens")
    other = saved(tmp_path / "other", activation_function="gelu_new")
    (odd,) = small_dt_job({"weights": other}, random_hopper_data).requires
    assert describe_pretraining(odd.config).endswith("50 tokens, trained with gelu_new, used with relu")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_embd": 32}, "do not fit a model with width 16; say model: {width: 32}"),
        ({"n_layer": 2, "n_head": 2}, "with layers 1, heads 1; say model: {layers: 2, heads: 2}"),
        ({"n_positions": 512}, "with timesteps 1024; say model: {timesteps: 512, time_limit: 512}"),
        ({"layer_norm_epsilon": 1e-6}, "has layer_norm_epsilon 1e-06; here it can only be 1e-05"),
        ({"scale_attn_by_inverse_layer_idx": True}, "can only be False"),
    ],
)
def test_another_shape_is_a_sentence_before_anything_trains(changes, said, tmp_path, random_hopper_data):
    folder = saved(tmp_path / "gpt2", **changes)
    with pytest.raises(ValueError) as refused:
        small_dt_job({"weights": folder}, random_hopper_data)
    assert said in str(refused.value)


def test_what_the_sentence_says_helps(tmp_path, random_hopper_data, outputs):
    folder = saved(tmp_path / "gpt2", n_embd=32, n_head=2, n_positions=512)
    model = {"model": {"width": 32, "heads": 2, "layers": 1, "timesteps": 512, "time_limit": 512}}
    store, job = trained_dt(SMALL_ARM | model | {"weights": folder}, random_hopper_data, outputs)
    assert store.is_done(job)


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ({"chain": {"states": 9}}, "an arm with them cannot have chain as well"),
        ({"gpt2": {"heads": 1}, "objective": "identity"}, "cannot have gpt2, objective as well"),
        ({"pretraining_updates": 5}, "pretraining_updates can only be 0"),
        ({"pretraining_seed": 5}, "pretraining_seed is for their matched control"),
        ({"pretraining": "none"}, "an arm with pretraining: none cannot have weights as well"),
    ],
)
def test_what_contradicts_weights_is_a_sentence(arm, said, gpt2, random_hopper_data):
    with pytest.raises(ValueError, match=said):
        small_dt_job({"weights": gpt2, **arm}, random_hopper_data)


def test_a_folder_that_cannot_be_read_is_a_sentence(gpt2, tmp_path, random_hopper_data):
    def refused(folder):
        with pytest.raises(ValueError) as error:
            small_dt_job({"weights": str(folder)}, random_hopper_data)
        return str(error.value)

    assert f"there is no folder {tmp_path / 'no'}" in refused(tmp_path / "no")
    (tmp_path / "empty").mkdir()
    assert "has no config.json; it must be a folder that save_pretrained" in refused(tmp_path / "empty")
    file = tmp_path / "gpt2" / "model.safetensors"
    file.rename(tmp_path / "kept")
    assert "has no model.safetensors" in refused(gpt2)
    (tmp_path / "gpt2" / "pytorch_model.bin").write_bytes(b"")
    assert "as a pickle, which can run any code" in refused(gpt2)
    (tmp_path / "gpt2" / "pytorch_model.bin").unlink()
    (tmp_path / "gpt2" / "model-00001-of-00002.safetensors").write_bytes(b"")
    assert "has its weights in several files" in refused(gpt2)
    (tmp_path / "kept").rename(file)
    config = json.loads((tmp_path / "gpt2" / "config.json").read_text())
    (tmp_path / "gpt2" / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    assert "is of a model of type 'llama'; only gpt2" in refused(gpt2)
    (tmp_path / "gpt2" / "config.json").write_text("{")
    assert "config.json is damaged" in refused(gpt2)


def test_a_file_that_was_changed_or_is_damaged_fails_in_words(gpt2, tmp_path, random_hopper_data, outputs):
    file = tmp_path / "gpt2" / "model.safetensors"
    (planned,) = small_dt_job({"weights": gpt2}, random_hopper_data).requires
    tensors = load_file(file)
    save_file({name: tensor for name, tensor in tensors.items() if "ln_f.bias" not in name}, file, {"format": "pt"})
    with pytest.raises(ValueError, match="was changed after its runs had been planned"):
        train(planned, Store(outputs / "store"))
    (lacking,) = small_dt_job({"weights": gpt2}, random_hopper_data).requires
    with pytest.raises(ValueError, match=r"the weights have no 'ln_f.bias', which config.json beside them promises"):
        train(lacking, Store(outputs / "store"))
    file.write_bytes(file.read_bytes()[:1000])
    (cut,) = small_dt_job({"weights": gpt2}, random_hopper_data).requires
    with pytest.raises(ValueError, match="is damaged, or no safetensors file"):
        train(cut, Store(outputs / "store"))
