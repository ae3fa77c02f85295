"""What a report decides, in sentences, and what larger runs beside it say."""

from dataclasses import replace

import pandas as pd
import pytest

from synthlib.report.findings import decided, findings
from synthlib.report.finished_runs import larger_runs
from synthlib.report.report import Report
from synthlib.report.sources import OwnRuns
from synthlib.study.plan import make_plan


@pytest.fixture
def own_store(tmp_path, monkeypatch):
    """A store without runs of its own: only the published ones are there."""
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path))


def _comparison(arm, baseline, verdict, difference=5.5, is_average=True):
    low, high = difference - 1, difference + 1
    names = ("arm", "baseline", "verdict", "difference", "low", "high", "is_average")
    return dict(zip(names, (arm, baseline, verdict, difference, low, high, is_average), strict=True))


def test_arms_with_one_answer_stand_together_and_single_data_sets_stay_out():
    comparisons = pd.DataFrame(
        [
            _comparison("S=10", "CQL", "higher"),
            _comparison("S=100", "CQL", "higher", 7.0),
            _comparison("S=1000", "CQL", "undecided"),
            _comparison("CQL, matched", "CQL", "within 2.5", 0.2),
            _comparison("S=10000", "CQL", "higher, by less than 2.5", 1.4),
            _comparison("S=1000", "CQL", "lower", is_average=False),
        ]
    )
    assert decided(comparisons) == (
        "higher than CQL: S=10 (+5.5 [+4.5, +6.5]), S=100 (+7.0 [+6.0, +8.0]); "
        "shown to be within 2.5 points of CQL: CQL, matched (+0.2 [-0.8, +1.2]); "
        "higher than CQL, by less than 2.5 points: S=10000 (+1.4 [+0.4, +2.4])"
    )
    assert decided(comparisons[comparisons["arm"] == "S=1000"]) == "no comparison"


def test_a_report_says_how_much_of_the_training_it_speaks_of(own_store):
    text = OwnRuns("evening", "replica", 1).report("pretraining_recipes").text().replace("\n", " ")
    assert "Decided here (1,000 updates, halfcheetah-medium-replay, 5 seeds; of the paper's 100,000 updates" in text
    assert "this is how the arms start, not how they end" in text


def test_where_scores_decide_nothing_the_training_loss_is_asked(own_store):
    of_scores, of_losses, *_ = findings(OwnRuns("evening", "replica", 1).report("table1"))
    assert of_scores.startswith("Decided here") and of_scores.endswith(": no comparison.")
    assert of_losses.startswith("By the training loss at the end, in per cent of DT's: lower than DT: DT, matched (-")
    of_cql = findings(OwnRuns("evening", "replica", 1).report("cql_start"))
    assert not any("training loss" in sentence for sentence in of_cql), "scores decide, and CQL's loss changes its sign"


@pytest.mark.slow
def test_published_larger_runs_stand_below_with_their_preset_and_size(own_store):
    runs = OwnRuns("overnight", "replica", 1).report("table1").runs
    larger = tuple(larger_runs(make_plan("table1", "quick", "replica")))
    assert "overnight" in {run.provenance["preset"] for run in larger}
    sentences = findings(Report(replace(runs, larger=larger)))
    (night,) = [sentence for sentence in sentences if "preset overnight" in sentence]
    assert "5,000 updates, walker2d-medium-expert, halfcheetah-medium-replay, 5-8 seeds" in night
    assert "DT+Synthetic 34.4" in night, "the published runs, as the README has them"


def test_runs_of_equal_length_are_no_larger_ones(own_store):
    assert list(larger_runs(make_plan("cql_start", "evening", "replica"))) == []
