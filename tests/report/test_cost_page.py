"""The page of Tables 12 and 14: shares from the print, from logs, from counts; and the words for them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from synthlib.dt.clusters import ClusterTerm
from synthlib.dt.cost import authors_cluster_loss
from synthlib.paper import logged_hours
from synthlib.report import cost_page, cost_sentences, cost_stages
from synthlib.report.authors_hours import ARMS, SAME_SEEDS, hours_of_runs, summary
from synthlib.report.cost_sentences import AS_CLAIMED, NOT_SHOWN, OTHER_WAY, SAME_DIRECTION, TOO_FEW, sentences, word
from synthlib.report.recorded_times import Share, recorded
from synthlib.runs.store import Store
from tests.common import AUTHORS_LOGS, small_logs

STAGES = cost_stages.stages()
OF = {one.claim: one for one in sentences()}


@pytest.fixture
def timed(monkeypatch):
    """One second for every update, so that nothing has to be timed."""
    for algorithm in cost_stages.SECONDS_OF_AN_UPDATE:
        monkeypatch.setitem(cost_stages.SECONDS_OF_AN_UPDATE, algorithm, lambda job: 1.0)
    monkeypatch.setattr(cost_sentences, "authors_cluster_seconds", lambda: 3.0)
    yield
    plt.close("all")


# --- shares


def test_the_printed_shares_are_those_of_the_cells_and_of_the_text():
    shares = {claim: cost_sentences.printed(one).value for claim, one in OF.items()}
    assert shares["dt-27-percent-faster"] == pytest.approx(9.6 / 13.2, abs=0.005)
    assert shares["dt-fine-tuning-time"] == pytest.approx((152 + 131 + 138 + 166) / (230 + 205 + 225 + 232))
    assert shares["dt-fine-tuning-as-fast-as-dt"] == pytest.approx(587 / 527)
    assert shares["dt-pretraining-time"] == pytest.approx(33 / 1005)
    assert shares["dt-pretraining-87-percent"] == pytest.approx(131 / 1005)
    assert {word(Share(share), OF[claim]) for claim, share in shares.items()} == {AS_CLAIMED}


def test_the_operations_bear_out_the_shares_of_pretraining_and_not_of_fine_tuning():
    shares = {
        claim: cost_sentences.from_stages(one, STAGES, lambda stage: stage.operations) for claim, one in OF.items()
    }
    assert shares.pop("dt-27-percent-faster") is None  # a number of updates
    assert shares["dt-pretraining-time"].value == pytest.approx(0.0307, abs=1e-4)
    assert shares["dt-pretraining-87-percent"].value == pytest.approx(4 * shares["dt-pretraining-time"].value)
    assert word(shares["dt-pretraining-time"], OF["dt-pretraining-time"]) == AS_CLAIMED
    assert word(shares["dt-pretraining-87-percent"], OF["dt-pretraining-87-percent"]) == AS_CLAIMED
    plain = cost_sentences.from_stages(OF["dt-pretraining-time"], STAGES, lambda stage: stage.plain_operations)
    assert plain.value == pytest.approx(0.0445, abs=1e-4) and word(plain, OF["dt-pretraining-time"]) == SAME_DIRECTION
    assert shares["dt-fine-tuning-time"].value == 1 and word(Share(1.0), OF["dt-fine-tuning-time"]) == OTHER_WAY


def test_the_two_pretrainings_differ_in_the_vocabulary_alone():
    chain, text = (STAGES[name].jobs[0] for name in (cost_stages.CHAIN_80K, cost_stages.WIKIPEDIA))
    differing = {name for name in chain.config["gpt2"] if chain.config["gpt2"][name] != text.config["gpt2"][name]}
    assert differing == {"vocabulary"} and chain.updates == text.updates == 80_000


def test_in_the_committed_logs_dt_wiki_is_not_slower_but_its_k_means_term_is():
    hours = logged_hours()
    share = cost_sentences.from_hours(OF["dt-fine-tuning-time"], hours)
    assert 1.08 < share.low < share.value < share.high < 1.24 and word(share, OF["dt-fine-tuning-time"]) == OTHER_WAY
    like = cost_sentences.from_hours(OF["dt-fine-tuning-as-fast-as-dt"], hours)
    assert word(like, OF["dt-fine-tuning-as-fast-as-dt"]) == AS_CLAIMED
    assert cost_sentences.from_hours(OF["dt-pretraining-time"], hours) is None


@pytest.mark.parametrize(
    ("share", "claim", "found"),
    [
        (Share(0.66), "dt-fine-tuning-time", AS_CLAIMED),
        (Share(0.5), "dt-fine-tuning-time", SAME_DIRECTION),
        (Share(0.995), "dt-fine-tuning-time", OTHER_WAY),
        (Share(1.4), "dt-fine-tuning-time", OTHER_WAY),
        (Share(0.8, 0.6, 0.95), "dt-fine-tuning-time", AS_CLAIMED),
        (Share(0.8, 0.6, 1.1), "dt-fine-tuning-time", NOT_SHOWN),
        (Share(0.9, 0.85, 0.95), "dt-fine-tuning-time", SAME_DIRECTION),
        (Share(1.0, 0.9, 1.1), "dt-fine-tuning-time", OTHER_WAY),
        (Share(0.66, enough=False), "dt-fine-tuning-time", TOO_FEW),
        (Share(1.05, 0.95, 1.12), "dt-fine-tuning-as-fast-as-dt", AS_CLAIMED),
        (Share(1.05, 0.7, 1.4), "dt-fine-tuning-as-fast-as-dt", NOT_SHOWN),
        (Share(1.5, 1.3, 1.7), "dt-fine-tuning-as-fast-as-dt", OTHER_WAY),
    ],
)
def test_a_word_follows_from_the_share_and_its_interval(share, claim, found):
    assert word(share, OF[claim]) == found


# --- the authors' hours


def test_hours_are_summed_over_a_run_and_the_same_seeds_are_those_without_the_term():
    logs = small_logs(["dt", "wiki", "wiki-no-kmeans"], seeds=(42, 666, 7))
    logs = logs[(logs["arm"] != "wiki-no-kmeans") | (logs["seed"] != 7)]
    runs = hours_of_runs(logs)
    one = logs[(logs["arm"] == "dt") & (logs["dataset"] == "ant-medium") & (logs["seed"] == 42)]
    mine = runs[(runs["arm"] == "DT") & (runs["dataset"] == "ant-medium") & (runs["seed"] == 42)]
    assert mine["hours"].item() == pytest.approx(one["train_seconds"].sum() / 3600)
    cells = summary(logs).set_index(["arm", "dataset"])
    assert cells.loc[("DT+Wiki", "ant-medium"), "n"] == 3 and cells.loc[(SAME_SEEDS, "ant-medium"), "n"] == 2
    values = runs[(runs["arm"] == "DT") & (runs["dataset"] == "ant-medium")]["hours"]
    assert cells.loc[("DT", "ant-medium"), "std"] == pytest.approx(np.std(values))


def test_the_committed_hours_are_of_whole_arms():
    hours = logged_hours()
    assert set(hours["arm"]) == {*ARMS.values(), SAME_SEEDS} and len(hours) == 6 * 12
    few = hours["arm"].isin([SAME_SEEDS, "DT+Wiki, no k-means"])
    assert (hours.loc[few, "n"] == 3).all() and (hours.loc[~few, "n"] == 20).all()
    assert (hours["minimum"] <= hours["mean"]).all() and (hours["mean"] <= hours["maximum"]).all()


def test_the_committed_hours_follow_from_the_logs():
    hours, cells = cost_page.authors_hours_and_cells(str(AUTHORS_LOGS))
    pd.testing.assert_frame_equal(hours.round(3), logged_hours(), check_dtype=False)
    share = cost_sentences.from_cells(OF["dt-27-percent-faster"], cells)
    assert share.value == pytest.approx(0.73, abs=0.01) and word(share, OF["dt-27-percent-faster"]) == AS_CLAIMED


# --- the k-means term


def test_the_term_as_the_authors_computed_it_has_the_value_of_our_formula():
    generator = torch.Generator().manual_seed(1)
    centres, embeddings = torch.randn(50, 8, generator=generator), torch.randn(2, 6, 8, generator=generator)
    theirs = authors_cluster_loss(embeddings, F.normalize(centres, dim=1))
    torch.testing.assert_close(theirs, ClusterTerm.of(centres)(embeddings))


# --- the page


def test_the_page_says_what_is_printed_logged_and_scaled(timed, tmp_path):
    hours, theirs = cost_page.authors_hours_and_cells("")
    assert theirs is None
    times = recorded(Store(tmp_path / "store", tmp_path / "records"))
    shares = cost_sentences.beside(STAGES, hours, times)
    text = cost_page.table_12(STAGES, hours, shares)
    for said in (
        "2 h 27 min  8.1 ± 0.3 h (20)  27 h 47 min",
        "87 % less pre-training time: a share of 0.13\n  printed              0.13                   as claimed",
        "  operations, at least 0.12                   as claimed",
        "  operations, plain    0.18                   same direction",
        "  authors' logs        1.16 [1.09, 1.22]      not so",
        "a share of 0.52.",
        "an update takes 1.000 s without the term",
        "the term takes 3.00 s more (a share of 0.25)",
        "DT: printed 2 h 12 min, logged 7.9 h, 3.6 times as long",
        "needs 7.6 times the operations of one fine-tuning run",
    ):
        assert said in text or said in " ".join(text.split()), said  # sentences are wrapped
    cost_page.write_shares(shares, tmp_path / "shares.csv")
    written = pd.read_csv(tmp_path / "shares.csv")
    assert set(written["claim"]) == set(OF) and "finished runs" not in set(written["source"])


def test_table_14_says_what_a_core_needs_and_what_the_paper_claims(timed):
    text = cost_page.table_14(STAGES)
    assert "4.1 min" in text and "4 h 44 min" in text and "278 h" in text
    assert "in 5 minutes on one GPU: printed 4.1 (as claimed), timed here 1666.7 (more)" in text
    assert "printed 1.4%, operations 1.0%, timed here 10.0%" in text


def test_the_bars_have_every_stage(timed):
    costs = cost_stages.table(STAGES)
    assert costs.loc[cost_stages.CQL, "here"] == pytest.approx(1e6 / 3600)
    assert costs.loc[cost_stages.WIKIPEDIA, "printed"] == pytest.approx(2 * 1005 / 60)
    figure, alt = cost_stages.bars(costs)
    assert len(figure.axes) == 3 and all(name in alt for name in STAGES)
    assert cost_stages.as_text(costs).loc[cost_stages.CRITICS, "printed, GPU hours"] == "4.1 min"


@pytest.mark.parametrize(
    ("hours", "said"),
    [(0.07, "4.2 min"), (0.5, "30 min"), (2.2, "2 h 12 min"), (1.9999, "2 h 00 min"), (2000, "2,000 h")],
)
def test_hours_in_words(hours, said):
    assert cost_stages.hours_and_minutes(hours) == said


def test_our_cells_of_table_11_are_none_without_runs(outputs, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(outputs))
    assert cost_page.own_cells("smoke", "replica") is None
    assert cost_page.own_cells("scouting", "replica") is None  # it has no Decision Transformer
