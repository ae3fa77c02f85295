"""What holds on a GPU, shown without one.

Tensors on torch's "meta" device have shapes and a place but no numbers. So every operation that would mix places is
seen, and whatever asks for a number (a GPU would have to be waited for) fails.
"""

import numpy as np
import pytest
import torch

from synthlib.__main__ import main
from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.agent_fast import FastCQL
from synthlib.cql.batches import Noise, draw_noise
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.cql.pretraining_fast import FastCriticPretraining
from synthlib.dt.clusters import ClusterTerm
from synthlib.dt.finetuning import DTTraining, baseline_training, dropout_generator, pretrained_training
from synthlib.dt.model import DecisionTransformer, baseline_config, predict_actions, pretrained_config
from synthlib.dt.model_fast import fast_predict_actions
from synthlib.dt.pretraining import GPT2Pretraining
from synthlib.dt.pretraining_fast import fast_logits
from synthlib.generators.mdp import MDPConfig
from synthlib.machine import devices
from synthlib.offline.datasets import Transitions
from tests.common import GPT2_BATCHES, META, SMALL_GPT2, OnePlace, window_batch


@pytest.mark.parametrize("predict", [predict_actions, fast_predict_actions])
@pytest.mark.parametrize("arm", ["baseline", "pretrained", "text"])
def test_an_update_of_a_decision_transformer_stays_on_the_device_and_asks_for_no_number(arm, predict):
    config, training = (baseline_config, baseline_training()) if arm == "baseline" else (pretrained_config, None)
    term = ClusterTerm.of(torch.randn(7, 32).to(META)) if arm == "text" else None
    training = training or pretrained_training(cluster_weight=0.1 if term else 0.0)
    model = DecisionTransformer(config(5, 3, width=32), 0).to(META)
    run = DTTraining(model, training, predict, term)
    with OnePlace():
        for _ in range(2):
            done = run.update(window_batch(), dropout_generator(0, run.updates, META))
    assert {value.device for value in done} == {META} and run.updates == 2


@pytest.mark.parametrize("kind", [CQL, FastCQL])
def test_an_update_of_cql_stays_on_the_device_and_asks_for_no_number(kind):
    agent = kind(5, 3, CQLConfig(hidden=(32, 32)), q_max=10.0, seed=0, device=META)
    batch = Transitions(torch.ones(16, 5), torch.ones(16, 3), torch.ones(16), torch.ones(16, 5), torch.zeros(16))
    noise = draw_noise(torch.Generator(), 16, 3, 3)
    with OnePlace():
        for _ in range(2):
            losses = agent.update(Transitions(*devices.put(META, *batch)), Noise(*devices.put(META, *noise)))
    assert {value.device for value in losses.values()} == {META}


@pytest.mark.parametrize("kind", [CriticPretraining, FastCriticPretraining])
def test_critic_pretraining_stays_on_the_device_and_asks_for_no_number(kind):
    config = CriticPretrainingConfig(5, 3, MDPConfig(states=10, trajectories=2), hidden=(32, 32))
    training = kind(config, device=META)
    with OnePlace():
        training.run(99)  # the hundredth is logged, as a number
    assert training.updates == 99


def test_gpt2_pretraining_stays_on_the_device_and_asks_for_no_number():
    # Hugging Face's own forward pass asks for a number.
    training = GPT2Pretraining(SMALL_GPT2, GPT2_BATCHES, fast_logits, device=META)
    with OnePlace():
        training.run(9)
    assert training.updates == 9


def test_mixing_places_is_noticed():
    with OnePlace(), pytest.raises(AssertionError, match="mixes"):
        torch.ones(2, 2) @ torch.ones(2, 2, device=META)


def test_arrays_become_tensors_where_the_networks_are():
    floats, whole = devices.put(META, np.ones((2, 3)), np.arange(4))
    assert floats.device == whole.device == META
    assert (floats.dtype, whole.dtype) == (torch.float32, torch.int64)


def test_masks_repeat_with_their_key():
    draws = [torch.rand(3, generator=devices.generator(devices.CPU, *key)) for key in ((1, 2), (1, 2), (1, 3))]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("name", ["tpu", "cuda:x"])
def test_an_unknown_device_is_refused(name, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_DEVICE", name)
    with pytest.raises(ValueError, match="say cpu, cuda, or cuda:1"):
        devices.chosen()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_before_anything_runs(monkeypatch, capsys, outputs):
    monkeypatch.setenv("SYNTHLIB_DEVICE", "cuda")
    assert main(["run", "table6", "--preset", "smoke"]) == 1
    assert "device 'cuda' was asked for, but torch" in capsys.readouterr().err
    assert not (outputs / "store").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("table", ["table1", "table6"])
def test_a_table_is_made_on_a_gpu(table, monkeypatch, capsys, outputs):
    monkeypatch.setenv("SYNTHLIB_DEVICE", "cuda")
    assert main(["run", table, "--preset", "smoke"]) == 0
    assert main(["show", table, "--preset", "smoke"]) == 0


def test_reduced_precision_is_asked_for_by_name_and_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    assert devices.describe(torch.device("cuda")) == "a card"
    monkeypatch.setenv("SYNTHLIB_TF32", "1")
    assert devices.describe(torch.device("cuda")) == "a card, TF32"
    assert devices.describe(devices.CPU) == "cpu"
