"""Trainings through a local hub folder into an empty store: equal, whole, and without a pickle."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Model

from synthlib.cql.jobs import finetuning_job
from synthlib.errors import Failed
from synthlib.runs import hub
from synthlib.runs.policies import keep_policies, policy_of
from synthlib.runs.progress import misfits, read_progress
from synthlib.runs.store import Store
from synthlib.study.algorithms import training
from tests.common import small_dt_job, train, trained_dt

CQL_SETTINGS = {"updates": 8, "evaluate_every": 4, "episodes": 1, "pretraining_scale": 0.001, "mdp_trajectories": 2}
WHAT = {"kind": "runs", "table": "mine", "preset": "smoke"}


def pushed(folder, store, *jobs, what=WHAT):
    def fill(made):
        for job in jobs:
            hub.write_training(job, training(job), store, made)
        return "the card\n"

    return hub.push(fill, what, str(folder))


def pull(folder, store):
    with hub.pulled(str(folder)) as (verified, what):
        return hub.take_trainings(verified, store), what


@pytest.fixture
def dt(random_hopper_data, outputs):
    """(store, job) of a pre-trained DT run."""
    return trained_dt({"chain": {"states": 20}, "pretraining_updates": 4_000}, random_hopper_data, outputs)


def test_weights_alone_give_the_same_run_in_an_empty_store(dt, tmp_path):
    store, job = dt
    (pretraining,) = job.requires
    assert pretraining.updates == 4
    pushed(tmp_path / "hub", store, pretraining)
    empty = Store(tmp_path / "empty")
    (result, what) = pull(tmp_path / "hub", empty)
    assert what == WHAT and result.new == [empty.folder(pretraining)] and empty.is_done(pretraining)
    for name, tensor in store.weights(pretraining).items():
        assert torch.equal(tensor, empty.weights(pretraining)[name])
    train(job, empty)  # fine-tuned here, from what was pulled
    assert empty.evaluations(job).equals(store.evaluations(job)) and empty.losses(job).equals(store.losses(job))
    assert pull(tmp_path / "hub", empty)[0].known == [empty.folder(pretraining)]


def test_transformers_reads_the_pushed_gpt2_and_an_arm_starts_from_it(dt, tmp_path, random_hopper_data, outputs):
    store, job = dt
    (pretraining,) = job.requires
    pushed(tmp_path / "hub", store, pretraining)
    folder = tmp_path / "hub" / "trainings" / "gpt2_pretraining" / pretraining.key / "4"
    theirs, ours = GPT2Model.from_pretrained(folder).state_dict(), store.weights(pretraining)
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[name], ours[name]) for name in ours)
    again = small_dt_job({"weights": str(folder)}, random_hopper_data)
    for one in (*again.requires, again):
        train(one, store)
    assert store.evaluations(again).equals(store.evaluations(job))


def test_runs_and_policies_arrive_with_their_checksums(dt, tmp_path):
    store, job = dt
    keep_policies([(job, training(job))], store)
    pushed(tmp_path / "hub", store, *job.requires, job)
    empty = Store(tmp_path / "empty")
    pull(tmp_path / "hub", empty)
    folder = empty.folder(job)
    assert empty.is_done(job) and empty.evaluations(job).equals(store.evaluations(job))
    assert not misfits(folder, read_progress(folder)) and "policy_12.pt" in read_progress(folder)["weights"]
    ours, theirs = (policy_of(job, training(job), one) for one in (store, empty))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert "host" not in json.loads((folder / "environment.json").read_text())


def test_critics_arrive_as_cql_takes_them(random_hopper_data, outputs, tmp_path):
    store, empty = Store(outputs / "store"), Store(tmp_path / "empty")
    job = finetuning_job({"pretraining_updates": 4_000}, "hopper-medium", 3, CQL_SETTINGS, random_hopper_data)
    for one in (*job.requires, job):
        train(one, store)
    pushed(tmp_path / "hub", store, *job.requires)
    pull(tmp_path / "hub", empty)
    train(job, empty)
    assert empty.evaluations(job).equals(store.evaluations(job)) and empty.losses(job).equals(store.losses(job))


def test_nothing_on_a_hub_is_a_pickle_and_no_path_is_in_it(dt, tmp_path, random_hopper_data):
    store, job = dt
    keep_policies([(job, training(job))], store)
    pushed(tmp_path / "hub", store, *job.requires, job)
    files = [path for path in (tmp_path / "hub").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".csv", ".md", ".safetensors"}
    for path in files:
        if path.suffix != ".safetensors":
            assert random_hopper_data.removeprefix("path:") not in path.read_text()
    assert (tmp_path / "hub" / "README.md").read_text() == "the card\n"


def test_pushing_again_replaces_and_another_table_is_refused(dt, tmp_path):
    store, job = dt
    pushed(tmp_path / "hub", store, *job.requires, job)
    pushed(tmp_path / "hub", store, *job.requires)
    assert not (tmp_path / "hub" / "trainings" / "dt" / job.key / "training.json").exists()
    empty = Store(tmp_path / "empty")
    assert len(pull(tmp_path / "hub", empty)[0].new) == 1
    with pytest.raises(Failed, match=r"has something else \(runs, smoke, mine\); name another place with HUB="):
        pushed(tmp_path / "hub", store, job, what=WHAT | {"table": "yours"})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    with pytest.raises(Failed, match="has files of something else"):
        pushed(tmp_path / "full", store, job)


@pytest.fixture
def weights_on_hub(dt, tmp_path):
    """(folder of a hub with one pre-training, the file of its weights there)."""
    store, job = dt
    (pretraining,) = job.requires
    pushed(tmp_path / "hub", store, pretraining)
    return tmp_path / "hub", tmp_path / "hub" / "trainings" / pretraining.kind / pretraining.key / "4/model.safetensors"


def test_what_is_damaged_or_strange_is_refused_before_anything_is_taken(weights_on_hub, tmp_path):
    folder, weights = weights_on_hub
    manifest, empty = folder / "manifest.json", Store(tmp_path / "empty")
    whole, content = manifest.read_text(), weights.read_bytes()

    def refused():
        with pytest.raises(Failed) as error:
            pull(folder, empty)
        assert not empty.root.exists()
        return str(error.value)

    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "4/model.safetensors" in refused() and "does not have its checksum" in refused()
    weights.write_bytes(content)
    for name in ("../../escaped.pt", "trainings/dt/0123456789abcdef/weights_4.pt", "trainings/dt/x/run.py"):
        manifest.write_text(json.dumps({"what": WHAT, "files": {name: "0"}}))
        assert f"{name!r}, which is no file of a training" in refused()
    manifest.write_text('{"what": 3}')
    assert "manifest.json" in refused() and "is damaged" in refused()
    manifest.unlink()
    assert "it is nothing that make push- wrote" in refused()
    manifest.write_text(whole)
    (weights.parent / "config.yaml").write_text("")
    assert "config.yaml is not in manifest.json" in refused()
    (weights.parent / "config.yaml").unlink()
    assert len(pull(folder, empty)[0].new) == 1
    with pytest.raises(Failed, match="there is no folder"):
        pull(tmp_path / "no", empty)


def test_a_training_under_another_key_is_refused(weights_on_hub, tmp_path):
    folder, weights = weights_on_hub
    described = weights.parent.parent / "training.json"
    config = json.loads(described.read_text())
    config["gpt2"]["seed"] += 1
    described.write_text(json.dumps(config))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][str(described.relative_to(folder))] = hub._sha256(described)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Failed, match="does not fit its own key and checksums"):
        pull(folder, Store(tmp_path / "empty"))


def test_weights_of_another_shape_fail_where_they_are_used(weights_on_hub, dt, tmp_path):
    """A hub's checksums are those of its author: what the weights are is seen when a model starts from them."""
    folder, weights = weights_on_hub
    tensors = load_file(weights)
    tensors["wpe.weight"] = tensors["wpe.weight"][:8].clone()
    save_file(tensors, weights)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][str(weights.relative_to(folder))] = hub._sha256(weights)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    empty = Store(tmp_path / "empty")
    pull(folder, empty)
    with pytest.raises(ValueError, match=r"pre-trained wpe.weight has shape \(8, 16\), the model needs \(1024, 16\)"):
        train(dt[1], empty)


def test_data_arrive_and_a_file_of_the_same_name_is_not_replaced(tmp_path):
    def fill(made):
        (made / "data").mkdir()
        (made / "data" / "hopper_mine.hdf5").write_bytes(b"data")
        return "card"

    hub.push(fill, {"kind": "data"}, str(tmp_path / "hub"))
    with hub.pulled(str(tmp_path / "hub")) as (folder, what):
        assert what == {"kind": "data"}
        (path,) = hub.take_data(folder, tmp_path / "here")
        assert path.read_bytes() == b"data" and hub.take_data(folder, tmp_path / "here") == [path]
        path.write_bytes(b"mine")
        with pytest.raises(Failed, match="is there and is another file; move it away"):
            hub.take_data(folder, tmp_path / "here")
    assert path.read_bytes() == b"mine"


def test_an_address_on_the_hub_is_a_user_and_a_name():
    assert hub._repository("hf://me/mine") == {"repo_id": "me/mine", "repo_type": "model"}
    assert hub._repository("hf://datasets/me/mine") == {"repo_id": "me/mine", "repo_type": "dataset"}
    for wrong in ("hf://mine", "hf://a/b/c", "hf://"):
        with pytest.raises(ValueError, match="is no address; say a folder, hf://user/name or hf://datasets/user/name"):
            hub._repository(wrong)
