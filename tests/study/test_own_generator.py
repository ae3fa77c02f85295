"""A table and a generator of one's own, in a folder outside the repository: planned, trained, and new when edited."""

import os
import subprocess
import sys

import pytest

from synthlib.paths import ROOT
from synthlib.study import params
from synthlib.study.catalogue import artefacts_of, printed_artefacts
from synthlib.study.figures import find_artefact
from synthlib.study.params import ParameterError, artefact_names, load_artefact
from synthlib.study.plan import make_plan
from synthlib.study.summary import PlanSummary
from tests.common import OWN_GENERATORS

CODE = OWN_GENERATORS.replace("vocabulary=2", "vocabulary=100")  # as many words as the chain's states
TABLE = """
like: {like}
title: My own data
arms:
{arms}
"""
DT_ARMS = """
  DT: {pretraining: none}
  DT, matched: {pretraining_updates: 0}
  Mine: {generator: "my_data:coin", parameters: {bias: 0.7}}
  Mine, mapping: {generator: "my_data:coin", objective: mapping}
"""
CQL_ARMS = """
  CQL: {pretraining: none}
  CQL, matched: {pretraining_updates: 0}
  Mine: {generator: "my_data:drift"}
  Mine, numbered: {generator: "my_data:ring", parameters: {states: 7}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of one's own with the tables mine_dt and mine_cql, and the file of their generators."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "my_data.py").write_text(CODE)
    (own / "mine_dt.yaml").write_text(TABLE.format(like="dt_start", arms=DT_ARMS))
    (own / "mine_cql.yaml").write_text(TABLE.format(like="cql_start", arms=CQL_ARMS))
    monkeypatch.setenv("SYNTHLIB_PARAMS", str(own))
    path = list(sys.path)
    yield own
    sys.path[:] = path
    sys.modules.pop("my_data", None)


def keys(name):
    """{arm: key of its first run}"""
    return {cell.arm: cell.job.key for cell in reversed(make_plan(name, "smoke", "replica").cells)}


def synthlib(*arguments, folder, **variables):
    command = [sys.executable, "-m", "synthlib", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_table_of_ones_own_stands_beside_the_others(folder):
    assert {"mine_dt", "mine_cql", "table1", "table6"} <= set(artefact_names())
    assert load_artefact("mine_dt").metric == "final" and load_artefact("mine_dt").control == "DT, matched"
    assert len(set(keys("mine_dt").values())) == len(set(keys("mine_cql").values())) == 4


def test_a_table_that_names_no_page_has_the_page_of_any_table(folder):
    (folder / "mine_too.yaml").write_text((folder / "mine_dt.yaml").read_text().replace("like: dt_start\n", ""))
    with open(folder / "mine_too.yaml", "a") as file:
        file.write("algorithm: dt\npaper_table: null\nmetric: final\nbaseline: DT\ncontrol: DT, matched\n")
    assert load_artefact("mine_too").notebook == params.ANY_TABLE


def test_edited_code_makes_new_runs_and_leaves_those_of_others(folder):
    before = keys("mine_dt"), keys("mine_cql"), keys("table1")
    (folder / "my_data.py").write_text(CODE.replace("< bias", "<= bias"))
    sys.modules.pop("my_data")  # as in another process
    after = keys("mine_dt"), keys("mine_cql"), keys("table1")
    for old, new in zip(before, after, strict=True):
        changed = {arm for arm in old if old[arm] != new[arm]}
        assert changed == {arm for arm in old if arm.startswith("Mine")}


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        (
            '{generator: "my_data:coin", parameters: {bais: 0.7}}',
            "/own/mine_dt.yaml, arm 'Mine': my_data:coin has no parameter 'bais'; it has: vocabulary, bias",
        ),
        ("{parameters: {bias: 0.7}}", "parameters are those of a generator: name it with generator: my_module:name"),
        ('{generator: "my_data:coin", chain: {states: 9}}', "an arm has a chain or a generator, not both"),
        ('{generator: "my_data:coin", text: wiki}', "pre-training on text is text: wiki, without chain, generator"),
        (
            '{generator: "my_data:coin", pretraining: none}',
            "an arm with pretraining: none cannot have generator as well",
        ),
        ("{generator: 3}", "generator must be a text, not 3"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_trains(arm, said, folder):
    arms = DT_ARMS.replace('{generator: "my_data:coin", parameters: {bias: 0.7}}', arm)
    (folder / "mine_dt.yaml").write_text(TABLE.format(like="dt_start", arms=arms))
    with pytest.raises(ParameterError) as refused:
        make_plan("mine_dt", "smoke", "replica")
    assert said in str(refused.value)


def test_cql_refuses_an_mdp_beside_a_generator(folder):
    arms = CQL_ARMS.replace('{generator: "my_data:drift"}', '{generator: "my_data:drift", mdp: {states: 9}}')
    (folder / "mine_cql.yaml").write_text(TABLE.format(like="cql_start", arms=arms))
    with pytest.raises(ParameterError, match="arm 'Mine': an arm has an mdp or a generator, not both"):
        make_plan("mine_cql", "smoke", "replica")


def test_a_folder_that_is_not_there_and_a_name_that_is_taken_are_refused(folder, monkeypatch):
    (folder / "table1.yaml").write_text("like: table2\n")
    with pytest.raises(ParameterError, match="there is a table1 in params/ already; choose another name"):
        artefact_names()
    monkeypatch.setenv("SYNTHLIB_PARAMS", str(folder / "no"))
    with pytest.raises(ParameterError, match="SYNTHLIB_PARAMS: there is no folder"):
        artefact_names()


@pytest.mark.parametrize(
    "text",
    [
        "- a list\n",
        "no: [table\n",
        "reference_returns: [0, 40]\n",
        "like: table1\narms: {Mine: {width: 3}}\n",
        'like: table1\ntitle: Mine\narms: {Mine: {generator: "not_there:yet"}}\nbaseline: null\ncontrol: null\n',
    ],
)
def test_another_file_of_the_folder_that_is_no_right_table_stops_only_what_names_it(text, folder):
    (folder / "other.yaml").write_text(text)
    (folder / ".hidden.yaml").write_text(text)
    assert "mine_dt: My own data" in str(PlanSummary(make_plan("mine_dt", "smoke", "replica"), 1))
    assert find_artefact("figure5").name == "figure5" and len(printed_artefacts()) > 20
    assert {"mine_dt", "table1"} <= {artefact.name for artefact in artefacts_of("dt")}
    with pytest.raises(ParameterError, match=r"own/other\.yaml"):
        make_plan("other", "smoke", "replica")


def test_a_message_names_the_file_as_it_lies_where_the_command_is_typed(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "mine_dt.yaml").write_text("like: dt_star\n")
    with pytest.raises(ParameterError, match=r"^mine_dt\.yaml: like must be one of"):
        load_artefact("mine_dt")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mine_dt", "mine_cql"])
def test_it_is_trained_and_shown_from_an_own_folder(name, folder, outputs):
    variables = {"SYNTHLIB_OUTPUTS": str(outputs), "SYNTHLIB_PARAMS": "."}
    done = synthlib("run", name, "--preset", "smoke", "--workers", "1", folder=folder, **variables)
    assert done.returncode == 0, done.stderr
    shown = synthlib("show", name, "--preset", "smoke", folder=folder, **variables)
    assert shown.returncode == 0 and "Mine" in shown.stdout and "missing" not in shown.stdout, shown.stderr
    (folder / "my_data.py").write_text(CODE + "\n# edited\n")
    plan = synthlib("plan", name, "--preset", "smoke", folder=folder, **variables)
    assert "8 wanted: 4 done, 4 missing" in plan.stdout, plan.stdout + plan.stderr
