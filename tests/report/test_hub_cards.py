"""What `make push-` and `make pull` say and write: the card in the hub's format, and the same table elsewhere."""

from pathlib import Path

import torch
import yaml

from synthlib.__main__ import main
from synthlib.paths import store_root
from synthlib.report.hub_cards import card_of_runs
from synthlib.runs.store import Store
from synthlib.study.plan import Selection, make_plan

ARMS = ["--arms", "CQL;CQL, matched"]
HOPPER = Selection(datasets=("hopper-medium",))
SIZE = ["--preset", "smoke"]


def finish(name="cql_start", arms=("CQL", "CQL, matched")):
    """Store rows for all runs of these arms, as if they had been trained."""
    store, cells = Store(store_root()), make_plan(name, "smoke", "replica", arms).cells
    for number, cell in enumerate(cells):
        for job in (*cell.job.requires, cell.job):
            if store.is_done(job):
                continue
            session = store.open(job)
            rows = [
                {"updates": n, "score": 10.0 * number + n, "return_mean": 3.0 * n, "length_mean": 9.0}
                for n in (10, 20, 30, 40)
            ]
            session.save({}, job.updates, [] if job.keep else rows)
            for updates in job.keep:
                session.save_weights(updates, {name: {"weight": torch.ones(2)} for name in ("q1", "q2")})
            session.release()


def shown(capsys):
    capsys.readouterr()
    assert main(["show", "cql_start", *SIZE, *ARMS]) == 0
    return capsys.readouterr().out.split("the same as CSV")[0]


def front_matter(text):
    _, front, rest = text.split("---\n", 2)
    return yaml.safe_load(front), rest


def test_the_table_is_equal_at_the_other_end_and_the_card_says_it(outputs, tmp_path, capsys, monkeypatch):
    finish()
    here = shown(capsys)
    assert main(["push", "cql_start", *SIZE, *ARMS, "--hub", str(tmp_path / "hub")]) == 0
    assert f"finished trainings and their card in {tmp_path / 'hub'}" in capsys.readouterr().out
    front, words = front_matter((tmp_path / "hub" / "README.md").read_text())
    assert (front["license"], front["pipeline_tag"]) == ("mit", "reinforcement-learning")
    assert "cql" in front["tags"] and "arxiv:2310.00771" in front["tags"]
    ((result,), model) = front["model-index"][0]["results"], front["model-index"][0]["name"]
    assert model == "cql_start-smoke" and result["dataset"]["type"] == "hopper-medium-expert"
    plain, matched = result["metrics"]
    # Two runs of 25 and 45: the half width is 12.706 times 10.
    assert plain["value"] == 35 and plain["args"] == {"arm": "CQL", "n": 2, "interval_95": [-92.06, 162.06]}
    assert matched["args"]["arm"] == "CQL, matched" and matched["value"] == 45
    assert "| hopper-medium-expert | CQL | 35.0 | [-92.1, 162.1] | 2 |" in words
    for said in ("preset: `smoke`; 40 updates", "data: replica; hopper-medium-expert (SHA-256 ", "not comparable"):
        assert said in words
    assert "CQL: cql on hopper-medium-expert, seed 42" in words and "GPT" not in words
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path / "elsewhere"))
    assert main(["pull", "--hub", str(tmp_path / "hub")]) == 0
    assert "5 trainings pulled into" in capsys.readouterr().out
    assert shown(capsys) == here


def test_the_card_of_a_gpt2_says_where_it_is(outputs):
    plan = make_plan("table1", "smoke", "replica", ["DT+Synthetic"])
    (job, *_) = [job for job in plan.jobs() if job.kind == "gpt2_pretraining"]
    folder = Path("trainings", job.kind, job.key)
    assert f'subfolder="{folder}/{job.updates}"' in card_of_runs(plan, None, [job], [folder], "mit")


def test_what_is_missing_is_a_sentence(outputs, tmp_path, capsys):
    def refused(*arguments):
        assert main(list(arguments)) == 1
        return capsys.readouterr().err

    hub = ["--hub", str(tmp_path / "hub")]
    assert "nothing of table6 is finished in preset smoke: make run-table6 trains it" in refused(
        "push", "table6", *SIZE, *hub
    )
    assert "Say HUB=folder, or HUB=hf://user/name: make push-table6 HUB=..." in refused("push", "table6", *SIZE)
    assert "make pull HUB=..." in refused("pull")
    assert "which data sets? Say DATASETS=" in refused("push-data", *hub)
    assert not (tmp_path / "hub").exists()


def test_data_are_pushed_with_their_card_and_pulled(outputs, tmp_path, capsys, random_hopper_data):
    data = ["--data", random_hopper_data, "--datasets", "hopper-medium", "--hub", str(tmp_path / "hub")]
    assert main(["push-data", *data]) == 1
    assert "say under which licence your data are, with LICENSE=" in capsys.readouterr().err
    assert main(["push-data", *data, "--license", "cc-by-4.0"]) == 0
    front, words = front_matter((tmp_path / "hub" / "README.md").read_text())
    assert (front["license"], front["size_categories"]) == ("cc-by-4.0", ["n<1K"])
    assert "* hopper-medium: a return of -20.2723 scores 0, a return of 3234.3 scores 100" in words
    assert "### hopper-medium (as supplied)" in words and "| ended by itself | 30 of 30 |" in words
    capsys.readouterr()
    assert main(["pull", "--hub", str(tmp_path / "hub"), "--to", str(tmp_path / "mine")]) == 0
    assert f"train on them with DATA=path:{tmp_path / 'mine'}" in capsys.readouterr().out
    sources = random_hopper_data, f"path:{tmp_path / 'mine'}"
    before, after = (make_plan("cql_start", "smoke", source, selection=HOPPER) for source in sources)
    assert [cell.job.key for cell in before.cells] == [cell.job.key for cell in after.cells]
