"""Fine-tuned policies: kept where they are asked for, played again with the score of the run, and filmed."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from synthlib.cql.jobs import finetuning_job
from synthlib.errors import Failed
from synthlib.machine.switches import KEEP_POLICY, keeps_policies
from synthlib.offline.film import VARIABLE, choose_library, write_gif
from synthlib.report.watch import play, watch
from synthlib.runs.policies import keep_policies, kept_policy, policy_of, said_of
from synthlib.runs.progress import misfits, read_progress
from synthlib.runs.publish import fill_record
from synthlib.runs.store import Store
from synthlib.study.algorithms import training
from synthlib.study.plan import Cell, make_plan
from tests.common import small_dt_job, train

CQL_SETTINGS = {"updates": 8, "evaluate_every": 4, "episodes": 1, "pretraining_scale": 0.001, "mdp_trajectories": 2}


@pytest.fixture(autouse=True)
def same_opengl(monkeypatch):
    """The choice of a library is for one process: the next test makes its own."""
    monkeypatch.setenv(VARIABLE, os.environ.get(VARIABLE, ""))


@pytest.fixture(params=["cql", "dt"])
def finished(request, random_hopper_data, outputs):
    """(store, cell) of a finished run that was evaluated with one episode each time."""
    if request.param == "cql":
        job = finetuning_job({"pretraining": "none"}, "hopper-medium", 3, CQL_SETTINGS, random_hopper_data)
    else:
        job = small_dt_job({"pretraining": "none"}, random_hopper_data, seed=42, episodes=1)
    store = Store(outputs / "store")
    train(job, store)
    return store, Cell("an arm", "hopper-medium", job.config["seed"], 1.0, job)


def keep(store, *jobs):
    return keep_policies([(job, training(job)) for job in jobs], store)


def test_the_kept_policy_plays_the_last_evaluation_again(finished):
    store, cell = finished
    assert kept_policy(cell.job, store) is None
    there, lacking = keep(store, cell.job)
    assert there == [kept_policy(cell.job, store)] and not lacking
    (store.folder(cell.job) / "checkpoint.pt").unlink()
    episode = play(cell, draw=False)
    last = store.evaluations(cell.job).iloc[-1]
    assert (episode.raw_return, episode.steps) == (pytest.approx(last["return_mean"], rel=1e-6), last["length_mean"])
    assert episode.score == pytest.approx(episode.at_the_end, rel=1e-6) and episode.at_the_end == last["score"]


def test_a_policy_is_smaller_than_a_checkpoint_has_a_checksum_and_no_part_in_identity(finished, tmp_path):
    store, cell = finished
    key, folder = cell.job.key, store.folder(cell.job)
    (path,), _ = keep(store, cell.job)
    assert path.stat().st_size < (folder / "checkpoint.pt").stat().st_size
    assert path.name in read_progress(folder)["weights"] and not misfits(folder, read_progress(folder))
    assert cell.job.key == key and store.is_done(cell.job)
    # A record has the rows alone, and fits what it says.
    (record := tmp_path / "record").mkdir()
    fill_record(record, cell.job, folder, None)
    assert not list(record.glob("*.pt")) and not misfits(record, read_progress(record))
    path.write_bytes(path.read_bytes()[:-10])
    assert kept_policy(cell.job, Store(store.root)) is None and misfits(folder, read_progress(folder)) == [path]
    assert keep(store, cell.job)[0] == [path] and kept_policy(cell.job, store)


def test_a_finished_run_without_a_policy_is_told_with_what_to_do(finished, tmp_path):
    store, cell = finished
    folder = store.folder(cell.job)
    (folder / "checkpoint.pt").unlink()
    there, lacking = keep(store, cell.job)
    assert not there and lacking == [f"its rows came without its networks; move {folder} away and train it again"]
    published = Store(tmp_path / "empty", store.root)
    assert "finished runs without a policy: 1. The first: only its rows are published; move" in said_of(
        keep(published, cell.job)
    )
    shutil.move(folder, tmp_path / "away")  # as the sentence says
    train(cell.job, store)
    assert keep(store, cell.job)[0]


def test_a_run_that_went_on_has_no_policy_of_the_shorter_one(random_hopper_data, outputs):
    store = Store(outputs / "store")
    short, long = (small_dt_job({"pretraining": "none"}, random_hopper_data, updates=n) for n in (4, 8))
    train(long, store)
    assert policy_of(short, training(short), store) is None and policy_of(long, training(long), store)
    there, (why,) = keep(store, short, long)
    assert [path.name for path in there] == ["policy_8.pt"]
    assert why.startswith("a longer run went on from it, to 8 updates; move")


def test_the_switch(monkeypatch):
    monkeypatch.delenv(KEEP_POLICY, raising=False)
    assert not keeps_policies()
    for word, answer in (("", False), ("0", False), ("1", True)):
        monkeypatch.setenv(KEEP_POLICY, word)
        assert keeps_policies() is answer
    monkeypatch.setenv(KEEP_POLICY, "yes")
    with pytest.raises(ValueError, match="KEEP_POLICY=yes is unknown; say KEEP_POLICY=1"):
        keeps_policies()


def test_no_policy_is_a_sentence_with_the_command(outputs):
    with pytest.raises(Failed) as refused:
        watch(make_plan("table6", "smoke", "replica"), outputs)
    assert "None of them is finished" in str(refused.value)
    assert "make run-table6 PRESET=smoke KEEP_POLICY=1 trains what is missing" in str(refused.value)


def test_an_opengl_that_does_not_work_is_a_sentence_and_mujoco_still_steps(monkeypatch):
    monkeypatch.setenv(VARIABLE, "nothing")
    with pytest.raises(Failed, match=r"no OpenGL works here, .*nothing: .*apt-get install libegl1"):
        choose_library()
    assert os.environ[VARIABLE] == "disabled"


def test_a_gif_has_all_pictures(tmp_path):
    pictures = [np.full((8, 8, 3), shade, dtype=np.uint8) for shade in (0, 90, 180)]
    write_gif(pictures, 0.05, tmp_path / "films" / "one.gif")
    with Image.open(tmp_path / "films" / "one.gif") as film:
        assert (film.n_frames, film.size, film.info["duration"]) == (3, (8, 8), 50)
        for number, shade in enumerate((0, 90, 180)):
            film.seek(number)
            assert np.abs(np.asarray(film.convert("RGB")).astype(int) - shade).max() <= 4


@pytest.mark.slow
def test_an_episode_is_filmed_where_opengl_works(finished, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    try:
        choose_library()
    except Failed as nothing:
        pytest.skip(str(nothing))
    _, cell = finished
    filmed = play(cell).filmed
    assert len(filmed.pictures) > 1 and filmed.pictures[0].shape == (240, 240, 3)
    assert filmed.pictures[0].std() > 10 and not np.array_equal(filmed.pictures[0], filmed.pictures[-1])
    assert 0.02 < filmed.seconds < 0.1
