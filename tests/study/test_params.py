"""What does not fit in params/ is refused when it is read: by name, type, range and relation, in one sentence."""

import re
from dataclasses import fields

import pytest
import yaml

from synthlib.__main__ import main
from synthlib.cql.agent import CQLConfig
from synthlib.cql.algorithm import ALGORITHM as CQL
from synthlib.cql.weight_controls import WeightControl
from synthlib.dt.algorithm import ALGORITHM as DT
from synthlib.dt.finetuning import DTTrainingConfig
from synthlib.dt.model import DTConfig
from synthlib.dt.pretraining import GPT2PretrainingConfig
from synthlib.generators.markov_chain import ChainConfig
from synthlib.generators.mdp import MDPConfig
from synthlib.paths import ROOT
from synthlib.study.params import ParameterError, artefact_names, load_artefact
from synthlib.study.plan import make_plan
from synthlib.study.presets import can_train, load_preset, presets


def preset(section, **values):
    return "presets", lambda file: file["quick"][section].update(values)


def arm(table, name, settings):
    return table, lambda file: file["arms"].update({name: settings})


def field(table, **values):
    return table, lambda file: file.update(values)


def figure(table, name, **values):
    return table, lambda file: file["figures"][name].update(values)


PRESETS = {  # what is changed, and what the sentence says after "params/presets.yaml, quick, "
    "a number that YAML reads as text": (
        preset("dt", pretraining_learning_rate="1e-3"),
        "dt: pretraining_learning_rate must be a number above 0, not the text '1e-3'; as a number it is written 0.001",
    ),
    "a number in quotes": (
        preset("cql", updates="600"),
        "cql: updates must be a whole number of at least 1, not the text '600'; as a number it is written 600",
    ),
    "evaluations further apart than the end": (
        preset("cql", updates=40, evaluate_every=100),
        "cql: updates must be a multiple of evaluate_every, and at least 4 times as large, for the final score is the "
        "mean of the last 4 evaluations; not updates 40 with evaluate_every 100",
    ),
    "a rest after the last evaluation": (preset("dt", updates=450), "dt: updates must be a multiple of evaluate_every"),
    "three evaluations": (preset("dt", updates=300), "not updates 300 with evaluate_every 100"),
    "half an update": (preset("cql", updates=600.5), "cql: updates must be a whole number of at least 1, not 600.5"),
    "no episodes": (preset("cql", episodes=0), "cql: episodes must be a whole number of at least 1, not 0"),
    "true for one": (preset("cql", episodes=True), "cql: episodes must be a whole number of at least 1, not True"),
    "nothing": (
        preset("dt", warmup_updates=None),
        "dt: warmup_updates must be a whole number of at least 1, not nothing",
    ),
    "a negative scale": (preset("dt", pretraining_scale=-1), "dt: pretraining_scale must be a number above 0, not -1"),
    "not a number": (preset("cql", pretraining_scale=float("nan")), "cql: pretraining_scale must be a number above 0"),
    "infinity": (
        preset("dt", pretraining_learning_rate=float("inf")),
        "pretraining_learning_rate must be a number above",
    ),
    "one token": (
        preset("dt", pretraining_sequence_length=1),
        "dt: pretraining_sequence_length must be a whole number from 2 to 1024, not 1",
    ),
    "less data than a batch": (
        preset("dt", pretraining_sequences=20),
        "dt: pretraining_sequences must be at least pretraining_batch_size 32, not 20",
    ),
    "an unknown text": (
        preset("dt", text="wikitext"),
        "dt: text must be small-wiki, wikitext-103, none or path:DIR, not the text 'wikitext'",
    ),
    "a small vocabulary": (
        preset("dt", text_vocabulary=100),
        "dt: text_vocabulary must be a whole number of at least 257, not 100",
    ),
    "one data set without a list": (
        preset("cql", datasets="hopper-medium"),
        "cql: datasets must be all, or a list of different data sets, not the text 'hopper-medium'",
    ),
    "a data set twice": (preset("cql", datasets=["hopper-medium"] * 2), "cql: datasets must be all, or a list of diff"),
    "no data set": (preset("cql", datasets=[]), "cql: datasets must be all, or a list of different data sets, not []"),
    "an unknown data set": (preset("cql", datasets=["hoper-medium"]), "cql: no data set called ['hoper-medium']"),
    "seeds as text": (preset("cql", seeds="2"), "cql: seeds must be 1 to 20, not '2'"),
    "half a seed": (preset("dt", seeds=2.0), "dt: seeds must be 1 to 20, not 2.0"),
    "no seed": (preset("dt", seeds=[]), "dt: seeds must be different ones of 42, 666,"),
    "nothing to expect": (preset("expect", time=""), "expect: time must be a text, not the text ''"),
    "an empty check of the data": (preset("data_page", rows=0), "data_page: rows must be a whole number of at least 1"),
    "an unknown effort": (preset("data_page", seeds=4), "data_page: unknown ['seeds']; known: episodes, rows, updates"),
    "a section that nothing reads": (
        ("presets", lambda file: file["quick"].update(cqll={})),
        "unknown sections ['cqll']; known: expect, data_page, dt, cql",
    ),
    "a section without keys": (
        ("presets", lambda file: file["quick"].update(cql=[1])),
        "cql must be a mapping with keys among datasets, seeds, ",
    ),
    "no effort at all": (
        ("presets", lambda file: file["quick"].pop("data_page")),
        "missing 'data_page', with rows, updates, episodes",
    ),
}
ARTEFACTS = {  # what is changed, and what the sentence says after "params/<name>.yaml"
    "a table that the paper lacks": (
        field("table6", paper_table=60),
        ": paper_table must be a whole number from 1 to 29",
    ),
    "a metric": (
        field("table6", metric="mean"),
        ": metric must be final, best, updates, loss or similarity, not the text",
    ),
    "a notebook": (
        field("table6", notebook="07.ipynb"),
        ": there is no notebook '07.ipynb'; there are: 00_start_here.ipynb,",
    ),
    "no title": (field("table6", title=None), ": title must be a text, not nothing"),
    "no arms": (field("table6", arms={}), ": arms must be a mapping of arms, not {}"),
    "arms in a list": (field("table6", arms=["CQL"]), ": arms must be a mapping of arms, not ['CQL']"),
    "a number for a name": (arm("table6", 10, {}), ": the name of an arm must be a text; put 10 in quotes"),
    "a twin of nothing": (field("table18", like="table100"), ": like must be one of cql_pretraining_seeds,"),
    "a circle": (field("table1", like="table18"), ": like 'table1' goes round in a circle"),
    "nothing to be relative to": (
        field("table11", baseline=None),
        ": baseline must be an arm, not null: metric updates",
    ),
    "authors of no arm": (field("table26", authors={"BC": "dt"}), ": authors names 'BC', which is not among its arms"),
    "a share of the data": (
        field("figure11", data_ratios=[0.1, 1.5]),
        ": data_ratios must be a list of different values",
    ),
    "no settings": (arm("table6", "S=10", None), ", arm 'S=10' must be a mapping with keys among length, "),
    "a misspelt start": (
        arm("table6", "CQL", {"pretraining": "non"}),
        ", arm 'CQL': pretraining must be none, not the text",
    ),
    "a negative number": (
        arm("table8", "1K", {"pretraining_updates": -1}),
        ", arm '1K': pretraining_updates must be a whole",
    ),
    "a length of nothing": (arm("table26", "DT", {"length": 0}), ", arm 'DT': length must be a number above 0, not 0"),
    "no seeds": (arm("table26", "DT", {"seeds": 0}), ", arm 'DT': seeds must be 1 to 20, not 0"),
    "seeds of other scripts": (
        arm("table29", "CQL+Identity", {"seeds": [0, 1, 16]}),
        ", arm 'CQL+Identity': seeds must be different ones of 42, 666, 1024, 2048, 4069, 0, 1, ",
    ),
    "more seeds than there are": (field("table28", seeds=21), ": seeds must be 1 to 20, not 21"),
    "a misspelt way of counting": (
        field("table13", counting="as_table13"),
        ": counting must be from_one or as_table_13, not the text 'as_table13'",
    ),
    "Q values of DT": (field("table1", q_values=True), ": only cql logs Q values, not dt; leave q_values out"),
    "counting where nothing is counted": (
        field("table6", counting="as_table_13"),
        ": counting is for metric updates, not for metric final; leave it out",
    ),
    "a target return as text": (
        arm("table1", "DT", {"target_return": "6e3"}),
        ", arm 'DT': target_return must be a number, or a mapping of names, each to a number, not the text '6e3'; as a",
    ),
    "no loader": (arm("table1", "DT+Wiki", {"loader_workers": 0}), ", arm 'DT+Wiki': loader_workers must be a whole"),
    "half a state": (
        arm("table6", "S=10", {"mdp": {"states": 0.5}}),
        ", arm 'S=10': mdp: states must be a whole number",
    ),
    "a setting of CQL": (
        arm("table6", "S=10", {"cql": {"discount": "0.9"}}),
        ", arm 'S=10': cql: discount must be a number of",
    ),
    "layers as one number": (
        arm("table6", "S=10", {"cql": {"hidden": 256}}),
        ", arm 'S=10': cql: hidden must be a list of",
    ),
    "a setting of DT": (
        arm("table1", "DT", {"model": {"layers": 0}}),
        ", arm 'DT': model: layers must be a whole number",
    ),
    "a kind of figure": (
        figure("table1", "figure1", kind="curve"),
        ", figure figure1: kind must be one of curves, shares,",
    ),
    "what a figure draws": (
        figure("table1", "figure1", values=["scores"]),
        ", figure figure1: values must be a list of",
    ),
    "a key of a figure": (
        figure("table1", "figure1", smooth=3),
        ", figure figure1: unknown ['smooth']; known: arms, columns, kind,",
    ),
    "an arm of a figure": (
        figure("table1", "figure1", arms=["BC"]),
        ", figure figure1: no arm 'BC' in this table; there are",
    ),
    "what is shifted": (
        figure("table7", "figure2", shift=["tau=1"]),
        ", figure figure2: shift names 'tau=1', which the figure",
    ),
    "what a figure ends with": (
        figure("table29", "figure15", until="CQL+100K more"),
        ", figure figure15: until names 'CQL+100K more', which the figure",
    ),
    "an arm of a panel": (
        figure("figure16", "figure16", panels={"State space": {"S=1": "S=1"}}),
        ", figure figure16: no arm 'S=1' in this table; there are: CQL; CQL, matched;",
    ),
    "shares of the updates": (
        figure("figure16", "figure16", shares=[10, 100]),
        ", figure figure16: shares must be a list of",
    ),
}


@pytest.mark.parametrize("case", PRESETS)
def test_what_does_not_fit_in_a_preset_is_told_before_anything_is_trained(case, spoil, capsys):
    (name, change), said = PRESETS[case]
    spoil(name, change)
    assert main(["plan", "table6" if said.startswith("cql") else "table1", "--preset", "quick"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: params/presets.yaml, quick") and said in error and error.count("\n") == 1


@pytest.mark.parametrize("case", ARTEFACTS)
def test_what_does_not_fit_in_a_description_is_told_before_anything_is_trained(case, spoil, capsys):
    (name, change), said = ARTEFACTS[case]
    spoil(name, change)
    assert main(["plan", name, "--preset", "smoke"]) == 1
    error = capsys.readouterr().err
    assert re.match(r"error: params/\w+\.yaml", error) and f".yaml{said}" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("table", "name", "settings", "said"),
    [
        ("table6", "S=10", {"mdp": {"kind": "iid", "policy_temperature": 2.0}}, "mean nothing for kind='iid'"),
        (
            "table1",
            "DT",
            {"pretraining": "none", "chain": {}},
            "pretraining: none cannot have chain as well",
        ),
        ("table1", "DT+Wiki", {"text": "wiki", "chain": {}}, "without chain, generator or objective"),
        ("table1", "DT+Synthetic", {"loader_workers": 4}, "loader_workers is for text: a chain's sequences are"),
        ("table1", "DT", {"pretraining": "none", "loader_workers": 4}, "none cannot have loader_workers as well"),
        (
            "table1",
            "DT",
            {"target_return": {"Ant": 4800}},
            "target_return names 'Ant', which is no environment; there are: halfcheetah, hopper, walker2d, ant",
        ),
        (
            "table1",
            "DT, matched",
            {"pretraining_updates": 0, "model": {"heads": 3}},
            "width 128 cannot be divided",
        ),
        ("table6", "S=10", {"length": 0.5}, "length 0.5 of the preset's 40 updates is 20, evaluated every 10; a final"),
    ],
)
def test_settings_of_an_arm_that_contradict_each_other_are_told_with_file_and_arm(table, name, settings, said, spoil):
    spoil(*arm(table, name, settings))
    with pytest.raises(
        ParameterError, match=re.escape(f"params/{table}.yaml, arm {name!r}: ") + f".*{re.escape(said)}"
    ):
        make_plan(table, "smoke", None)


def test_what_is_wrong_with_the_data_is_no_matter_of_an_arm(random_hopper_data, tmp_path):
    with pytest.raises(ValueError, match=r"^data source 'path:") as told:
        make_plan("table6", "smoke", f"path:{tmp_path / 'nothing'}")
    assert not isinstance(told.value, ParameterError)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quick: {dt: {updates: 1, updates: 2}}", "params/presets.yaml, line 1: 'updates' stands twice"),
        ("quick:\n  dt: [1, 2", "params/presets.yaml, line 2: did not find expected ',' or ']'"),
        ("", "params/presets.yaml must hold a mapping, not nothing"),
        ("quick: 3", "params/presets.yaml: a preset is a name and a mapping of sections, not 'quick'"),
    ],
)
def test_a_file_that_is_no_yaml_or_says_a_thing_twice_is_named_with_its_line(text, said, own_params, capsys):
    (own_params / "presets.yaml").write_text(text)
    assert main(["plan", "table6"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {said}")


def test_an_unknown_preset_is_told_for_all_tables_too(capsys):
    assert main(["run", "all", "--preset", "huge"]) == 1
    assert "no preset called 'huge'; there are: smoke, quick" in capsys.readouterr().err


def test_everything_in_the_repository_fits():
    assert all(load_artefact(name).arms for name in artefact_names())
    for name in presets():
        for algorithm in ("cql", "dt"):
            assert not can_train(name, algorithm) or load_preset(name, algorithm)["updates"]


@pytest.mark.parametrize(
    ("algorithm", "key", "config", "set_by_the_job"),
    [
        (CQL, "mdp", MDPConfig, set()),
        (CQL, "cql", CQLConfig, set()),
        (CQL, "critic_weights", WeightControl, set()),
        (DT, "chain", ChainConfig, set()),
        (DT, "model", DTConfig, {"observation_width", "action_width"}),
        (DT, "training", DTTrainingConfig, set()),
        (DT, "gpt2", GPT2PretrainingConfig, set()),
    ],
)
def test_an_arm_may_set_every_field_of_a_configuration(algorithm, key, config, set_by_the_job):
    assert set(algorithm.arm_keys[key].keys) == {field.name for field in fields(config)} - set_by_the_job


def test_a_folder_of_text_in_a_preset_counts_from_the_repository(spoil, monkeypatch, tmp_path):
    spoil(*preset("dt", text="path:my text"))
    monkeypatch.chdir(tmp_path)
    assert load_preset("quick", "dt")["text"] == f"path:{ROOT / 'my text'}"


def test_numbers_may_be_written_as_yaml_reads_them(own_params):
    text = (own_params / "presets.yaml").read_text()
    rates = yaml.safe_load("[0.001, 1.0e-3, .001]")
    for rate in ("1.0e-3", ".001"):
        changed = text.replace("pretraining_learning_rate: 0.001", f"pretraining_learning_rate: {rate}")
        (own_params / "presets.yaml").write_text(changed)
        assert load_preset("quick", "dt")["pretraining_learning_rate"] in rates
