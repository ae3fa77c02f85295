"""The page of Tables 9, 10, 15, 16 and 17: every printed line, our values from the code, and marks that follow them."""

import inspect
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from synthlib import tasks
from synthlib.cql.agent import CQL, CQLConfig, Target
from synthlib.cql.pretraining import CriticPretrainingConfig
from synthlib.dt import evaluation
from synthlib.dt.finetuning import DTTrainingConfig
from synthlib.dt.model import DTConfig, FeedForward
from synthlib.dt.pretraining import GPT2PretrainingConfig
from synthlib.generators.mdp import MDPConfig
from synthlib.paper import paper_hyperparameters
from synthlib.report import probes, settings_page
from synthlib.report.contradictions import TABLE, all_contradictions, as_html, as_text, contradictions_of
from synthlib.report.our_settings import ARTEFACTS, differing_flags, our_settings
from synthlib.report.settings_page import (
    AGREE,
    AS_EXECUTED,
    AS_PRINTED,
    NUMBERS,
    OURS_ALONE,
    THREE_WAYS,
    SettingsTable,
    finding,
    mark,
    same,
    save,
)
from synthlib.study.algorithms import algorithm
from synthlib.study.checks import ARM, OPTIONAL, check
from synthlib.study.params import load_artefact
from synthlib.study.presets import can_train, presets
from tests.common import SHARED

PAPER = SHARED / "paper" / "2310.00771.txt"
DEPARTURES = {
    (9, "Steps"): AS_EXECUTED,
    (9, "Learning rate decay"): AS_EXECUTED,
    (10, "Return-to-go conditioning"): AS_PRINTED,
    (10, "Dropout"): THREE_WAYS,
    (10, "Learning rate"): AS_EXECUTED,
    (10, "Weight decay"): AS_EXECUTED,
    (16, "Seeds"): AS_EXECUTED,
}


@pytest.fixture(scope="module")
def tables():
    return {number: SettingsTable(number, "quick") for number in NUMBERS}


def line_of(number, name):
    """A line as the code gives it now."""
    return next(line for line in SettingsTable(number, "paper").lines if line.name == name)


def edit(monkeypatch, kind, **defaults):
    """Change the default of fields, as an edit of the dataclass would."""
    signature = inspect.signature(kind.__init__)
    optional = [name for name, one in signature.parameters.items() if one.default is not inspect.Parameter.empty]
    values = dict(zip(optional, kind.__init__.__defaults__, strict=True))
    assert defaults.keys() <= values.keys()
    monkeypatch.setattr(kind.__init__, "__defaults__", tuple((values | defaults).values()))


@pytest.mark.parametrize("number", NUMBERS)
def test_every_printed_line_is_in_the_table(number, tables):
    table, printed = tables[number], paper_hyperparameters(number)
    assert [line.name for line in table.lines] == printed["name"].tolist()
    text, html = table.text(), table.html()
    for row in printed.itertuples():
        assert f"\n  {row.name} " in text
        assert f"<th scope='row' style='text-align: left; vertical-align: top'>{row.name}</th><td" in html
    for one in contradictions_of(number):
        assert re.search(rf"^ +{one.number}  {re.escape(one.issue[:30])}", text, re.MULTILINE)
    assert repr(table) == text and table._repr_html_() == html
    assert max(map(len, text.splitlines())) <= 110


def test_where_print_programs_and_ours_differ(tables):
    found = {(number, line.name): line.mark for number, table in tables.items() for line in table.lines}
    assert {key: words for key, words in found.items() if words != AGREE} == DEPARTURES
    assert len(found) == 69 and set(found.values()) == {AGREE, *DEPARTURES.values()}
    assert finding(list(tables.values())) == (
        "Tables 9, 10, 15, 16, 17: 69 lines: 62 all agree; 5 ours as executed, not as printed; 1 ours as printed, not "
        "as executed; 1 all three differ. Of 34 contradictions between text, tables and programs, a reader can choose "
        f"the other side of {sum(one.choose is not None for one in all_contradictions())}."
    )


def test_a_line_names_its_contradictions_and_items():
    assert line_of(16, "Seeds").see == "contradictions 13, 21; faithfulness 6.5"
    assert line_of(16, "Number of sampled actions").contradictions == (11,)
    assert line_of(9, "Learning rate").see == ""


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("3e-4", "0.0003", True),
        ("100K (default)", "100000", True),
        ("20 (HalfCheetah, Hopper)", "20 HalfCheetah, Hopper", True),
        ("65536 tokens / 64 sequences", "65536 tokens/64 sequences", True),
        ("0-14, 42", "0-14, 43", False),
        ("-1 * Action Dim", "1 * Action Dim", False),
        ("(1.629008, 4592.3)", "(1.629009, 4592.3)", False),
        ("1e-4 everywhere", "0 for backbone, 1e-4 elsewhere", False),
        ("ReLU", "GELU", False),
        ("True", "False", False),
        ("1.0", "1", True),
    ],
)
def test_values_are_compared_by_words_and_numbers(first, second, equal):
    assert same(first, second) == same(second, first) == equal


def test_the_mark_says_which_of_three_values_are_equal():
    marks = [mark(*three) for three in ("111", "122", "121", "112", "123")]
    assert marks == [AGREE, AS_EXECUTED, AS_PRINTED, OURS_ALONE, THREE_WAYS]


@pytest.mark.parametrize(
    ("kind", "change", "number", "name", "value", "words"),
    [
        (GPT2PretrainingConfig, {"layers": 4}, 9, "Number of layer", "4", OURS_ALONE),
        (GPT2PretrainingConfig, {"dropout": 0.3}, 9, "Dropout", "0.3", OURS_ALONE),
        (GPT2PretrainingConfig, {"decay": "constant"}, 9, "Learning rate decay", None, AS_PRINTED),
        (
            GPT2PretrainingConfig,
            {"schedule_speedup": 2},
            9,
            "Learning rate decay",
            "Linear warmup for first 5000 training steps, then linear decay to 0 at 40000",
            THREE_WAYS,
        ),
        (DTTrainingConfig, {"decayed": "not_backbone"}, 10, "Weight decay", None, AS_PRINTED),
        (DTTrainingConfig, {"gradient_clip": 1.0}, 10, "Grad norm clip", "1.0", OURS_ALONE),
        (DTConfig, {"attention_dropout": 0.2, "embedding_dropout": 0.2}, 10, "Dropout", "0.2", AS_PRINTED),
        (DTConfig, {"heads": 2}, 10, "Number of attention heads", "2", OURS_ALONE),
        (CriticPretrainingConfig, {"learning_rate": 1e-3}, 15, "Q nets learning rate", "0.001", OURS_ALONE),
        (MDPConfig, {"policy_temperature": 0.5}, 15, "Policy distribution temperature", "0.5", OURS_ALONE),
        (CQLConfig, {"sampled_actions": 10}, 16, "Number of sampled actions", "10", OURS_ALONE),
        (CQLConfig, {"hidden": (256, 256, 256)}, 16, "Policy net hidden layers", "3", OURS_ALONE),
    ],
)
def test_our_value_and_the_mark_follow_the_code(monkeypatch, kind, change, number, name, value, words):
    edit(monkeypatch, kind, **change)
    if number == 10 and "heads" in change:
        edit(monkeypatch, GPT2PretrainingConfig, **change)  # a model with other heads refuses its pre-training
    line = line_of(number, name)
    assert line.mark == words
    assert line.ours == value if value else same(line.ours, line.printed)


def test_returns_follow_the_code(monkeypatch):
    monkeypatch.setitem(tasks.REFERENCE_RETURNS, "hopper", (0.0, 3234.3))
    assert line_of(17, "hopper-v2").ours == "(0.0, 3234.3)" and line_of(17, "hopper-v2").mark == OURS_ALONE
    monkeypatch.setitem(evaluation.TARGET_RETURNS, "hopper", 1800.0)
    line = line_of(10, "Return-to-go conditioning")
    assert line.ours == "6000 HalfCheetah; 1800 Hopper; 5000 Walker, Ant" and line.mark == THREE_WAYS


def test_an_arm_of_its_own_kind_is_named(monkeypatch):
    monkeypatch.setattr(
        "synthlib.dt.jobs.pretrained_training", lambda **fields: DTTrainingConfig(**fields, batch_size=32)
    )
    assert our_settings(10, "smoke")["Batch size"] == ("64 (DT); 32 (DT+Wiki, DT+Synthetic)")


def test_an_arm_that_a_reader_adds_changes_no_line(monkeypatch):
    usual = load_artefact("table6")
    own = replace(usual, arms={"mine": {"cql": {"sampled_actions": 10}}} | usual.arms)
    for place in ("report.our_settings.load_artefact", "study.plan.find_artefact"):
        monkeypatch.setattr(f"synthlib.{place}", lambda name: own)
    assert our_settings(16, "smoke")["Number of sampled actions"] == "3"


def test_a_nonlinearity_is_found_by_its_values(monkeypatch):
    assert probes.nonlinearity(DTConfig(3, 2)) == "ReLU"
    monkeypatch.setattr(FeedForward, "forward", lambda self, x: self.c_proj(nn.functional.gelu(self.c_fc(x))))
    assert probes.nonlinearity(DTConfig(3, 2)) == "f(-1) = -0.159, f(2) = 1.955"


def with_entropy(agent, batch, noise):
    target = agent.usual_target(batch, noise)
    return target._replace(y=target.y - agent.log_alpha.exp() * agent.policy.sample(batch.next_observations, noise)[1])


def with_maximum(agent, batch, noise):
    values = [agent.usual_target(batch, one) for one in (noise, -noise)]
    return Target(*(torch.maximum(*pair) for pair in zip(*values, strict=True)))


def clipped(agent, q, observations, sampled, q_data):
    return agent.usual_loss(q, observations, sampled, q_data.clamp(-200, 200))


def unweighted(agent, q, observations, sampled, q_data):
    return agent.usual_loss(q, observations, sampled._replace(log_densities=0 * sampled.log_densities), q_data)


@pytest.mark.parametrize(
    ("method", "usual", "changed", "name", "value"),
    [
        ("td_target", "usual_target", with_entropy, "Entropy in Q target", "True"),
        ("td_target", "usual_target", with_maximum, "Max target backup", "True"),
        ("conservative_loss", "usual_loss", clipped, "Q difference clip", "True"),
        ("conservative_loss", "usual_loss", unweighted, "Importance sampling", "False"),
        (
            "alpha_loss",
            "usual",
            lambda agent, log_pi: agent.usual(log_pi - agent.action_width),
            "Target entropy",
            "-2 *",
        ),
        (
            "policy_loss",
            "usual",
            lambda agent, states, actions, log_pi: agent.usual(states, actions, log_pi / 2),
            "Policy update alpha multiplier",
            "0.5",
        ),
    ],
)
def test_a_switch_without_a_setting_is_found_by_what_it_does(monkeypatch, method, usual, changed, name, value):
    before = probes.switches(CQLConfig())
    assert {row.name: row.printed for row in paper_hyperparameters(16).itertuples() if row.name in before} == before
    monkeypatch.setattr(CQL, usual, getattr(CQL, method), raising=False)
    monkeypatch.setattr(CQL, method, changed)
    after = probes.switches(CQLConfig())
    assert after[name].startswith(value)
    assert {other for other in before if before[other] != after[other]} == {name}


def test_a_trained_weight_of_the_conservative_loss_is_found(monkeypatch):
    usual = CQL._make_optimiser

    def with_another(agent):
        usual(agent)
        agent.moments["log_alpha_prime"] = {}

    monkeypatch.setattr(CQL, "_make_optimiser", with_another)
    assert probes.switches(CQLConfig())["Lagrange"] == "True"


def test_optimiser_loss_and_distribution_are_asked(monkeypatch):
    weight = nn.Parameter(torch.zeros(1))
    assert probes.name_of(torch.optim.SGD([weight])) == "SGD"
    assert probes.name_of(torch.optim.AdamW([weight])) == "AdamW"
    assert probes.distribution(torch.randn(50, 5, generator=torch.Generator().manual_seed(0)).numpy()).endswith(
        "uniform"
    )
    training = probes.critic_training(CriticPretrainingConfig(5, 3, MDPConfig(states=10)))
    assert probes.criterion(training) == "MSE"
    monkeypatch.setattr("synthlib.cql.pretraining.F.mse_loss", nn.functional.l1_loss)
    assert probes.criterion(training) == "not MSE"


def test_the_arms_of_table_1_differ_in_more_than_their_weights():
    flags = differing_flags("paper")
    assert flags.loc["eps", ["DT", "DT, matched", "DT+Synthetic"]].tolist() == ["1e-08", "1e-06", "1e-06"]
    assert set(flags.loc["tied_projections", ["DT", "DT+Synthetic"]]) == {"False", "True"}
    assert "learning_rate" not in flags.index


@pytest.mark.parametrize("preset", presets())
def test_every_preset_has_its_values(preset):
    for number, artefact in ARTEFACTS.items():
        if can_train(preset, load_artefact(artefact).algorithm):
            assert set(our_settings(number, preset)) == set(paper_hyperparameters(number)["name"])


def test_what_the_reader_s_preset_changes(tables):
    here = {line.name: line.here for line in tables[16].lines if line.is_other_here}
    assert here == {"Epochs": "6", "Updates per epoch": "100", "Seeds": "0, 42, 666, 1024, 2048, 4069"}
    text = tables[16].text()
    assert "  Epochs                                                  200\n" in text and "quick     6\n" in text
    untrained = SettingsTable(9, "scouting")
    assert untrained.caption().endswith("Preset scouting has no size for dt.")
    assert (
        all(line.here is None for line in untrained.lines)
        and "<td style='text-align: left; vertical-align: top'>-<" in untrained.html()
    )
    assert "preset paper" not in SettingsTable(17, "paper").caption()
    assert "ours, preset" not in SettingsTable(15, "paper").html().replace("ours, preset paper", "")


def test_a_line_of_ours_that_is_not_printed_is_noticed(monkeypatch):
    monkeypatch.setattr(settings_page, "our_settings", lambda number, preset: {"Colour": "red"})
    with pytest.raises(KeyError, match=r"Table 17: .*'Colour'.* is on one side only"):
        SettingsTable(17, "paper").lines  # noqa: B018


def test_the_files_have_every_line_and_contradiction(tables, tmp_path):
    save(tables.values(), tmp_path / "new")
    lines = (tmp_path / "new" / "settings.csv").read_text().splitlines()
    assert len(lines) == 1 + 69 and lines[0].startswith("table,line,printed,executed,ours (paper),ours (quick),mark")
    assert (tmp_path / "new" / "contradictions.csv").read_text().count("\n") == 1 + 34


def test_every_contradiction_is_on_the_page():
    found = all_contradictions()
    html, text = as_html(found, "all"), as_text(found)
    for one in found:
        assert f">{one.number}</th>" in html
        assert re.search(rf"^ {{2,3}}{one.number}  {re.escape(one.issue[:30])}", text, re.MULTILINE)
    assert len(found) == 34


@pytest.mark.parametrize("one", all_contradictions(), ids=lambda one: one.number)
def test_a_parameter_chooses_the_option(one):
    """It is known to params/, and changes the trainings; the default is not the option already."""
    assert (one.choose is None) == (one.option is None)
    for number, names in one.concerns.items():
        assert 1 <= number <= 29
        assert not names or set(names) <= set(paper_hyperparameters(number)["name"])
    if one.choose is not None:
        ((name, arm),) = one.choose.items()
        known = OPTIONAL if name == TABLE else {**ARM, **algorithm(name).arm_keys}
        check(arm, known, "contradictions.yaml")
        assert one.effect and one.parameter
        for setting, (before, after) in one.effect.items():
            assert before != after and setting in one.now


@pytest.mark.skipif(not PAPER.exists(), reason="the paper's text is not beside this checkout")
@pytest.mark.parametrize("number", NUMBERS)
def test_the_lines_are_those_of_the_paper(number):
    """Names and values stand in the text of the table, one after the other."""
    text = PAPER.read_text().split(f"\nTable {number}: ", 1)[1]
    text = re.split(r"\n(?:Table \d+: |\d+\n+--- PAGE|Implementation & Experiment)", text)[0]
    text = (
        re.sub(r"(\d)?×?10−(\d)", lambda power: f"{power[1] or 1}e-{power[2]}", text)
        .replace("∼", "-")
        .replace("·", "*")
    )

    def squeezed(words):
        return re.sub(r"[\s,;()/α]", "", words.replace("alpha", ""))

    rest = squeezed(text)
    for row in paper_hyperparameters(number).itertuples():
        wanted = squeezed(row.name) + squeezed(row.printed)
        found = re.search(re.escape(wanted) + r"(?![\d.])", rest)
        assert found, (row.name, row.printed)
        rest = rest[found.end() :]
