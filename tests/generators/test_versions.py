"""A generator of this package whose code changes counts its version up, or says here that its output stays the same.

A run's key holds the version and not the source, so published runs keep their keys while comments change. versions.yaml
has, for each generator, the version, the digest of its sources, and a sample of its output. When this test fails, it
prints what to do.
"""

import hashlib

import numpy as np
import pytest
import yaml

from synthlib.cql import pretraining
from synthlib.dt import pretraining_jobs
from synthlib.generators import brackets, dial_chain, markov_chain, mdp, smooth_dynamics, text
from synthlib.paths import ROOT
from synthlib.study.presets import load_preset
from tests.common import TESTS

RECORD = TESTS / "generators" / "versions.yaml"


def _chain():
    chains = [{}, {"kind": "iid"}, {"rows": "legacy"}, {"order": 2, "states": 200}, {"initial": "uniform"}]
    drawn = [
        markov_chain.stream(markov_chain.ChainConfig(**{"length": 32} | one), 0, range(3)).ravel() for one in chains
    ]
    return np.concatenate(drawn)


def _mdp():
    kinds = [{}, {"rows": "independent"}, {"kind": "iid"}, {"random_start": True}]
    configs = [mdp.MDPConfig(**{"states": 20, "trajectories": 2, "length": 40} | one) for one in kinds]
    return np.concatenate([np.concatenate([*mdp.generate(one)]) for one in configs])


def _text():
    lines = [f"word{number % 7} and word{number % 3}" for number in range(300)]
    return text.token_rows(text.train_tokenizer(lines, 300), lines, 16).ravel()


def _smooth():
    return np.concatenate([one.ravel() for one in smooth_dynamics.smooth_dynamics(0, 30, 4, 3)])


GUARDED = {
    "markov_chain": (lambda: markov_chain.VERSION, ("markov_chain", "markov_chain_fast"), _chain),
    "mdp": (lambda: mdp.VERSION, ("mdp", "mdp_fast"), _mdp),
    "text": (lambda: text.VERSION, ("text",), _text),
    "dial_chain": (
        lambda: dial_chain.dial_chain.version,
        ("dial_chain",),
        lambda: dial_chain.dial_chain(0, 5, 40, information=1.0).ravel(),
    ),
    "brackets": (lambda: brackets.brackets.version, ("brackets",), lambda: brackets.brackets(0, 5, 40).ravel()),
    "smooth_dynamics": (lambda: smooth_dynamics.smooth_dynamics.version, ("smooth_dynamics",), _smooth),
}


def state_of(name, folder=ROOT / "synthlib" / "generators"):
    """What is recorded of a generator: {version, source, sample}."""
    version, files, sample = GUARDED[name]
    source = hashlib.sha256("\0".join((folder / f"{file}.py").read_text() for file in files).encode()).hexdigest()
    values = sample().astype(float)
    numbers = [values.sum(), (values * np.arange(len(values))).sum(), *values[:3]]
    return {"version": version(), "source": source[:16], "sample": [round(float(number), 3) for number in numbers]}


def advice(name, now, recorded):
    """What to do when a generator is not as recorded; "" when it is."""
    counted = now["version"] > recorded["version"]
    same = now["sample"] == pytest.approx(recorded["sample"], rel=1e-5, abs=2e-3)
    line = f"then write into tests/generators/versions.yaml\n{name}: {now}"
    if now["version"] == recorded["version"] and now["source"] == recorded["source"] and same:
        return ""
    if not same and not counted:
        return f"{name} gives other data: count its version up, {line}"
    if same and not counted:
        return f"{name} has other code; if all of its output stays the same, say so, else count its version up; {line}"
    return f"{name} has version {now['version']} now; {line}"


@pytest.mark.parametrize("name", GUARDED)
def test_a_changed_generator_has_counted_up_or_says_that_its_output_stays(name):
    needed = advice(name, state_of(name), yaml.safe_load(RECORD.read_text())[name])
    assert not needed, needed


def test_the_guard_sees_other_code_and_other_data(tmp_path):
    recorded = yaml.safe_load(RECORD.read_text())["dial_chain"]
    source = (ROOT / "synthlib/generators/dial_chain.py").read_text()
    (tmp_path / "dial_chain.py").write_text(source + "# a comment\n")
    edited = state_of("dial_chain", tmp_path)
    assert "has other code; if all of its output stays the same" in advice("dial_chain", edited, recorded)
    other = edited | {"sample": [number + 1 for number in edited["sample"]]}
    assert "gives other data: count its version up" in advice("dial_chain", other, recorded)
    assert "has version 2 now" in advice("dial_chain", other | {"version": 2}, recorded)


def test_a_version_that_was_counted_up_makes_other_keys_and_is_read_back(monkeypatch):
    settings = load_preset("smoke", "dt")
    before = [pretraining_jobs.pretraining_job(arm, settings) for arm in ({}, {"text": "wiki"})]
    config = pretraining.CriticPretrainingConfig(11, 3, mdp.MDPConfig())
    identity = pretraining.identity_of(config)
    assert "version" not in before[0].config["data"] and "version" not in identity["mdp"]
    for module in (markov_chain, text, mdp):
        monkeypatch.setattr(module, "VERSION", 2)
    pretraining_jobs._text_identity.cache_clear()
    after = [pretraining_jobs.pretraining_job(arm, settings) for arm in ({}, {"text": "wiki"})]
    pretraining_jobs._text_identity.cache_clear()
    assert all(old.key != new.key for old, new in zip(before, after, strict=True))
    counted = pretraining.identity_of(config)
    assert counted["mdp"]["version"] == 2 and pretraining.config_of(counted) == config
    assert pretraining.config_of(identity) == config
    pretraining_jobs.start_pretraining(after[0])
