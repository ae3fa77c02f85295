import pytest

from synthlib.machine.switches import TRAIN, TrainingIsOff, may_train
from synthlib.runs.store import Store
from synthlib.study import critic_study
from synthlib.study.engine import run_jobs
from synthlib.study.plan import make_plan


def test_trainings_are_on_unless_one_says_no(monkeypatch):
    monkeypatch.delenv(TRAIN, raising=False)
    assert may_train()
    for word, answer in (("", True), ("yes", True), ("no", False)):
        monkeypatch.setenv(TRAIN, word)
        assert may_train() is answer
    monkeypatch.setenv(TRAIN, "off")
    with pytest.raises(ValueError, match="TRAIN=off is unknown; say TRAIN=no"):
        may_train()


def test_nothing_is_trained_where_trainings_are_off(monkeypatch, outputs, capsys):
    monkeypatch.setenv(TRAIN, "no")
    store = Store(outputs / "store")
    run_jobs(make_plan("table6", "smoke", "replica").jobs(), store, workers=1)
    assert "trainings are off: " in capsys.readouterr().out and not store.root.exists()
    with pytest.raises(TrainingIsOff, match="trainings are off, and 1 of the 1 critics"):
        critic_study.train({"S=10": critic_study.kinds()["S=10"]}, [7])
    assert not store.root.exists()
