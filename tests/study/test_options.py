"""Every option of contradictions.yaml can be chosen as it says: the parameter is accepted and changes what is run."""

from copy import deepcopy

import pytest

from synthlib.report.contradictions import TABLE, all_contradictions
from synthlib.study.params import ParameterError, load_artefact
from synthlib.study.plan import make_plan

CHOICES = {one.number: one for one in all_contradictions() if one.choose is not None}
OF_ARMS = {number: one for number, one in CHOICES.items() if TABLE not in one.choose}
TABLES = {"dt": "table1", "cql": "table6"}  # where a test puts an arm of its own
CHANGED = {24: "table13"}


def runs(table, arms):
    """What a table would train at the paper's size: {arm: {(data set, seed, key, updates of pre-training)}}."""
    found = {}
    for cell in make_plan(table, "paper", None, arms).cells:
        pretraining = tuple((job.key, job.updates) for job in cell.job.requires)
        found.setdefault(cell.arm, set()).add((cell.dataset, cell.seed, cell.job.key, pretraining))
    return found


def misspelt(settings):
    """The same settings, the innermost first key with another letter."""
    settings = deepcopy(settings)
    inner = settings
    while isinstance(first := inner[next(iter(inner))], dict) and next(iter(inner)) != "target_return":
        inner = first
    key = next(iter(inner))
    inner[f"{key}s"] = inner.pop(key)
    return settings


@pytest.mark.parametrize("number", OF_ARMS)
def test_an_arm_that_takes_an_option_makes_other_runs(number, spoil):
    one = OF_ARMS[number]
    ((algorithm, settings),) = one.choose.items()
    table = TABLES[algorithm]
    spoil(table, lambda fields: fields["arms"].update({"default": one.start, "chosen": settings}))
    found = runs(table, ("default", "chosen"))
    assert found["default"] != found["chosen"] and found["chosen"]
    spoil(table, lambda fields: fields["arms"].update({"chosen": misspelt(settings)}))
    with pytest.raises(ParameterError, match=rf"params/{table}\.yaml, arm 'chosen'.*unknown \['"):
        make_plan(table, "paper", None)


def test_every_option_of_a_table_is_tested():
    assert OF_ARMS.keys() | CHANGED.keys() == CHOICES.keys()


@pytest.mark.parametrize("number", CHANGED)
def test_a_table_that_takes_an_option_says_something_else(number, spoil):
    table, lines = CHANGED[number], CHOICES[number].choose[TABLE]
    before = load_artefact(table)
    spoil(table, lambda fields: fields.update(lines))
    after = load_artefact(table)
    assert all(getattr(after, key) == value != getattr(before, key) for key, value in lines.items())
    spoil(table, lambda fields: fields.update(misspelt(lines)))
    with pytest.raises(ParameterError, match=rf"params/{table}\.yaml: unknown \['"):
        load_artefact(table)
