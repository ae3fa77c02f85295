"""Every matched control is its arms' own start: the same weights and the same switches, with no pre-training update."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.dt.pretraining import GPT2Pretraining, GPT2PretrainingConfig
from synthlib.generators.mdp import MDPConfig, generate
from synthlib.paper import paper_arms, score_table_numbers
from synthlib.study.params import ParameterError, artefact_names, load_artefact
from synthlib.study.plan import make_plan
from synthlib.study.presets import load_preset

PRINTED = {arm for number in score_table_numbers() for arm in paper_arms(number)}
SMALL_MDP = generate(MDPConfig(states=3, trajectories=1, length=3))
PRETRAINED = [
    (name, arm)
    for name in artefact_names()
    if (artefact := load_artefact(name)).control is not None
    for arm, settings in artefact.arms.items()
    if settings.get("pretraining") != "none" and settings.get("pretraining_updates") != 0
    if arm in PRINTED or arm in artefact.controls  # the arms that a reader adds have the start that they are given
]


@cache
def jobs(name):
    """{arm: one of its fine-tuning jobs, at the paper's size} of an artefact."""
    return {cell.arm: cell.job for cell in make_plan(name, "paper", None).cells}


def start(job):
    """{name: weight} that the job's pre-training begins with."""
    (pretraining,) = job.requires
    if pretraining.kind == "gpt2_pretraining":
        return _gpt2_start(GPT2PretrainingConfig(**pretraining.config["gpt2"]))
    config = pretraining.config
    config = CriticPretrainingConfig(**{**config, "mdp": MDPConfig(**config["mdp"]), "hidden": tuple(config["hidden"])})
    critics = CriticPretraining(replace(config, mdp=replace(config.mdp, states=3)), SMALL_MDP).critics()
    return {f"{q}.{name}": weight for q, critic in critics.items() for name, weight in critic.items()}


@cache
def _gpt2_start(config):
    weights = GPT2Pretraining(config, batches=None).weights()
    # Of a large token table the first rows are enough; the weights drawn after it depend on its size.
    return {name: weight[:10].clone() if name == "wte.weight" else weight for name, weight in weights.items()}


@pytest.mark.parametrize(("name", "arm"), PRETRAINED)
def test_a_control_is_its_arms_own_start_and_has_its_arms_switches(name, arm):
    artefact = load_artefact(name)
    control = artefact.control_of(arm)
    assert artefact.arms[control].get("pretraining_updates") == 0
    own, zero = jobs(name)[arm], jobs(name)[control]
    weights, untrained = start(own), start(zero)
    assert weights.keys() == untrained.keys()
    assert all(torch.equal(weights[key], untrained[key]) for key in weights)
    for switch in ("model", "training", "clusters", "cql"):
        assert own.config.get(switch) == zero.config.get(switch), switch


def test_another_vocabulary_and_a_wider_head_have_another_start():
    """What makes the controls of their own necessary."""
    table_3, table_29 = jobs("table3"), jobs("table29")
    first, other = start(table_3["S100"]), start(table_3["S10"])
    assert not torch.equal(first["h.0.attn.c_attn.weight"], other["h.0.attn.c_attn.weight"])
    usual, wider = start(table_29["CQL, matched"]), start(table_29["CQL+Mapping"])
    assert torch.equal(usual["q1.trunk.0.weight"], wider["q1.trunk.0.weight"])
    assert not torch.equal(usual["q2.trunk.0.weight"], wider["q2.trunk.0.weight"])


def test_every_artefact_of_the_paper_has_a_control():
    for name in artefact_names():
        arms = load_artefact(name).arms.values()
        assert any(settings.get("pretraining_updates") == 0 for settings in arms), name


def test_controls_that_no_arm_is_are_refused(own_params):
    path = own_params / "table3.yaml"
    path.write_text(path.read_text().replace('S10: "S10, matched"', 'S7: "S10, matched"'))
    with pytest.raises(ParameterError, match="controls names 'S7', not among its arms"):
        load_artefact("table3")


def test_a_preset_without_text_leaves_the_control_of_text_out_too():
    assert load_preset("overnight", "dt")["text"] == "none"
    assert make_plan("table26", "overnight", None).arms == [
        "DT",
        "DT, matched",
        "DT+20K more",
        "DT+80K more",
        "DT+Synthetic",
    ]
