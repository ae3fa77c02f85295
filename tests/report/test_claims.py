"""The paper's claims, judged by its own print and by made-up cells."""

import pandas as pd
import pytest

from synthlib.paper import paper_claims, paper_table
from synthlib.report.claims import KINDS, judge
from synthlib.report.evidence import CELL, OWN, Evidence, printed, with_controls
from synthlib.report.judgements import OTHER_BASELINE, OTHER_DATA, OTHER_MACHINE, REASONS
from synthlib.report.verdicts import AMONG_BEST, ANSWERS, FAILS, HOLDS, NO_RUNS, NOT_ENOUGH_RUNS, UNDECIDED
from synthlib.tasks import DATASETS

PRINTED = printed()
CLAIMS = {claim["id"]: claim for claim in paper_claims()}


def column(arm, mean=60.0, table=1, std=1.0, n=20, datasets=DATASETS):
    rows = [{"table": table, "arm": arm, "dataset": name, "mean": mean, "std": std, "n": n} for name in datasets]
    return pd.DataFrame(rows)[CELL]


def evidence(*columns, **options):
    return Evidence(OWN, pd.concat(columns, ignore_index=True), **options)


def one_rule(identity, kind="compare", **changes):
    """A claim with the first rule of one kind only, changed."""
    return {"id": identity, kind: [CLAIMS[identity][kind][0] | changes]}


# --- what is there


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_every_claim_has_a_section_a_rule_and_the_printed_numbers(claim):
    assert claim["section"] and claim["says"] and set(claim) & set(KINDS)
    # Cells and times in the text carry their numbers; for anything else the claim says what is printed.
    assert set(claim) & {"compare", "sizes", "costs", "minutes", "agreement", "spreads", "printed"}
    assert set(claim) <= {"id", "says", "section", "printed", "note", *KINDS}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_every_claim_has_a_word_or_a_reason_from_the_print(claim):
    for one in (PRINTED, with_controls(PRINTED)):
        found = judge(claim, one)
        assert found.word in (*ANSWERS, *REASONS)
        assert found.detail or found.word in REASONS


def test_the_claims_that_the_print_does_not_bear_out_are_these():
    words = {identity: judge(claim, PRINTED).word for identity, claim in CLAIMS.items()}
    assert {identity for identity, word in words.items() if word == FAILS} == {
        "cql-consistent-for-every-size",  # hopper-medium
        "cql-insensitive-to-centroids",  # a temperature of 0.01
    }
    assert {identity for identity, word in words.items() if word == UNDECIDED} == {
        "dt-identity-and-mapping",
        "cql-identity-and-mapping",
    }
    assert {identity for identity, word in words.items() if word == AMONG_BEST} == {
        "dt-states-100-and-1000-best",
        "dt-temperature-1-best",
        "dt-best-states",
        "cql-100k-and-500k-best",
        "cql-equal-totals",
    }
    assert NO_RUNS not in words.values() and NOT_ENOUGH_RUNS not in words.values()
    assert sum(word == HOLDS for word in words.values()) >= 30


def test_the_numbers_behind_a_word_are_the_papers():
    chain = judge(CLAIMS["dt-chain-over-iid"], PRINTED).detail
    assert chain == "tau=1 - IID uniform +2.3 [+1.1, +3.4] (higher)"
    assert "0.69 of it, claimed 0.68" in judge(CLAIMS["cql-iid-faster"], PRINTED).detail
    assert judge(CLAIMS["dt-pretraining-87-percent"], PRINTED).detail == "0.13 of it, claimed 0.13"
    assert "4.1 minutes" in judge(CLAIMS["cql-pretraining-time"], PRINTED).detail
    assert judge(CLAIMS["dt-fine-tuning-as-fast-as-dt"], PRINTED) == ("holds", "1.11 of it, claimed 1.00")
    assert judge(CLAIMS["dt-kmeans-marginal"], PRINTED) == ("not printed", "printed: 0.3, cited from Reid et al.")
    assert "-1.3 [-4.0, +1.4] on hopper-medium" in judge(CLAIMS["cql-consistent"], PRINTED).detail


# --- compare


@pytest.mark.parametrize(("shift", "word"), [(-20.0, FAILS), (0.0, FAILS), (1.0, HOLDS), (20.0, HOLDS)])
def test_a_claim_of_higher_fails_on_equal_arms_too(shift, word):
    made = evidence(column("CQL", table=8), column("1K", 60 + shift, table=8))
    found = judge(CLAIMS["cql-1k-updates-over-cql"], made)
    assert found.word == word and f"1K - CQL {shift:+.1f} [" in found.detail


@pytest.mark.parametrize(("shift", "word"), [(-20.0, FAILS), (-0.5, HOLDS), (20.0, HOLDS)])
def test_a_claim_of_not_lower_leaves_room_for_the_margin(shift, word):
    made = evidence(column("DT"), column("DT+Synthetic", 60 + shift))
    found = judge(CLAIMS["dt-synthetic-each-dataset"], made)
    assert found.word == word and "the closest of 12 comparisons" in found.detail and "margin 5.0" in found.detail


def test_a_claim_of_not_higher_is_its_mirror():
    claim = one_rule("cql-longer-training")
    for shift, word in ((-20.0, HOLDS), (0.5, HOLDS), (20.0, FAILS)):
        made = evidence(column("CQL", table=28), column("CQL+100K more", 60 + shift, table=28))
        assert judge(claim, made).word == word


@pytest.mark.parametrize(
    ("lead", "word", "also"),
    [(10.0, HOLDS, ""), (0.5, AMONG_BEST, "; 2-MC too"), (-0.5, AMONG_BEST, "; 2-MC too"), (-10.0, FAILS, "")],
)
def test_the_best_is_told_from_the_arms_among_the_best(lead, word, also):
    claim = {"id": "best", "compare": [CLAIMS["dt-best-steps"]["compare"][1]]}
    spread = 1.0 if abs(lead) == 10 else 5.0  # with which half a point is not shown
    columns = [column("1-MC", 60, 19, spread), column("2-MC", 60 - lead, 19, spread), column("5-MC", 20, 19, spread)]
    found = judge(claim, evidence(*columns))
    assert found.word == word
    if word == AMONG_BEST:
        assert found.detail.endswith(f"within the margin 2.5 of the best{also}")


@pytest.mark.parametrize(
    ("shift", "word"), [(0.5, HOLDS), (-0.5, HOLDS), (10.0, FAILS), (-10.0, FAILS), (2.5, UNDECIDED)]
)
def test_a_claim_of_equal_has_two_sides(shift, word):
    made = evidence(column("tau=1", table=7), column("CQL+IID", 60 + shift, table=7))
    assert judge(one_rule("cql-insensitive-to-centroids", arms=["CQL+IID"]), made).word == word


@pytest.mark.parametrize(
    ("there", "said"), [(12, ""), (2, ", over 2 of 12 data sets"), (1, ", over 1 of 12 data sets")]
)
def test_a_claim_is_judged_over_the_data_sets_that_are_there(there, said):
    made = evidence(column("CQL", table=8), column("1K", 70, table=8, datasets=DATASETS[:there]))
    found = judge(CLAIMS["cql-1k-updates-over-cql"], made)
    assert found.word == HOLDS and found.detail.endswith(f"] (higher){said}")
    # A data set with two seeds does not count.
    few = evidence(column("CQL", table=8), column("1K", 70, table=8, n=2), column("CQL", table=6))
    assert judge(CLAIMS["cql-1k-updates-over-cql"], few).word == NOT_ENOUGH_RUNS
    mixed = evidence(
        column("CQL", table=8),
        column("1K", 70, table=8, datasets=DATASETS[:1]),
        column("1K", 0, table=8, n=2, datasets=DATASETS[1:]),
    )
    assert judge(CLAIMS["cql-1k-updates-over-cql"], mixed).detail.endswith("over 1 of 12 data sets")


def test_a_claim_with_an_arm_that_has_no_run_cannot_hold_and_can_fail():
    synthetic = column("DT+Synthetic")
    claim = one_rule("dt-longer-training", table=26, arms=["DT+Synthetic"], baselines=["DT", "DT+Wiki"], must="higher")
    assert judge(claim, evidence(synthetic.assign(table=26), column("DT", 50, 26))).word == NO_RUNS
    fails = judge(claim, evidence(synthetic.assign(table=26), column("DT", 70, 26, datasets=DATASETS[:2])))
    assert fails.word == FAILS and fails.detail.endswith("over 2 of 12 data sets")
    assert judge(claim, evidence(column("DT"))).word == NO_RUNS


# --- the control in the baseline's place


def with_control(dt=60.0, matched=66.0, wiki=65.0, synthetic=70.0, own=64.0):
    columns = [column("DT", dt), column("DT, matched", matched), column("DT+Wiki", wiki)]
    return evidence(*columns, column("DT+Wiki, matched", own), column("DT+Synthetic", synthetic))


def test_each_arm_is_held_against_its_own_control():
    wiki, synthetic = CLAIMS["wiki-over-dt"], one_rule("dt-synthetic-over-dt")
    assert judge(wiki, with_control()).word == judge(synthetic, with_control()).word == HOLDS
    made = with_controls(with_control())
    assert judge(synthetic, made).detail.startswith("DT+Synthetic - DT, matched +4.0")
    assert judge(wiki, made).detail.startswith("DT+Wiki - DT+Wiki, matched +1.0")
    assert judge(wiki, with_controls(with_control(own=65.0))).word == FAILS
    without = with_control()
    without = evidence(without.cells[without.cells["arm"] != "DT+Wiki, matched"], matched=True)
    assert judge(wiki, without).word == NO_RUNS


def test_the_control_has_nothing_to_say_where_the_baseline_is_not_asked():
    for identity in ("dt-synthetic-over-wiki", "dt-longer-training", "dt-temperature-1-best", "dt-kmeans-marginal"):
        assert judge(CLAIMS[identity], with_controls(with_control())).word == OTHER_BASELINE


def test_an_arm_that_was_not_pretrained_keeps_the_published_baseline():
    claim = CLAIMS["cql-longer-training"]
    columns = [column("CQL", 60, 28), column("CQL, matched", 70, 28), column("CQL+100K more", 60, 28)]
    made = evidence(*columns, column("CQL+MDP", 80, 28), column("CQL+IID", 80, 28), matched=True)
    assert judge(claim, made).word == HOLDS


# --- sizes and costs


@pytest.mark.parametrize(("gain", "word"), [(0.10, HOLDS), (0.104, HOLDS), (0.2, FAILS), (0.0, FAILS)])
def test_a_size_is_the_papers_when_the_interval_holds_it(gain, word):
    made = evidence(column("CQL", table=6), column("S=1000", 60 * (1 + gain), table=6))
    claim = one_rule("cql-1000-states-10-percent", "sizes")
    assert judge(claim, made).word == word
    wide = evidence(column("CQL", std=60, table=6), column("S=1000", 60 * (1 + gain), std=60, table=6))
    assert judge(claim, wide).word in (HOLDS, UNDECIDED)


def test_a_size_on_other_data_is_not_judged_and_its_direction_is():
    made = evidence(column("CQL", table=6), column("S=1000", 90, table=6), comparable=False)
    found = judge(CLAIMS["cql-1000-states-10-percent"], made)
    assert found.word == HOLDS and f"not judged: {REASONS[OTHER_DATA]}" in found.detail
    assert judge(one_rule("cql-1000-states-10-percent", "sizes"), made).word == OTHER_DATA


def test_the_size_of_a_single_data_set_is_told_with_its_interval():
    detail = judge(CLAIMS["cql-medium-expert-gains"], PRINTED).detail
    assert "+84.4 % [+68.8, +100.0], claimed +84 % on halfcheetah-medium-expert" in detail
    assert "+48.6 % [+21.8, +75.4], claimed +49 % on hopper-medium-expert" in detail


@pytest.mark.parametrize(
    ("share", "comparable", "word"), [(0.73, True, HOLDS), (0.9, True, FAILS), (0.9, False, HOLDS), (1.2, False, FAILS)]
)
def test_updates_saved_are_a_share_with_an_interval(share, comparable, word):
    columns = [column("DT+Wiki", 20, 11), column("DT+Synthetic", 20 * share, 11)]
    found = judge(CLAIMS["dt-27-percent-faster"], evidence(*columns, comparable=comparable))
    assert found.word == word and found.detail.startswith(f"{share:.2f} [")


def test_wall_times_are_of_one_machine():
    assert judge(CLAIMS["dt-fine-tuning-time"], PRINTED).detail == "0.66 of it, claimed 0.67"
    for identity in ("dt-fine-tuning-time", "dt-pretraining-time", "cql-pretraining-time"):
        assert judge(CLAIMS[identity], evidence(column("DT"))).word == "other machine"


# --- other measures


def test_final_and_best_scores_agree_unless_one_is_reversed():
    claim = {"id": "agree", "agreement": [{"pairs": [[2, 19]]}]}

    def both(best):
        final = [column("DT"), column("1-MC", 70), column("2-MC", 70), column("5-MC", 70)]
        twins = [column("DT"), *(column(arm, mean) for arm, mean in zip(("1-MC", "2-MC", "5-MC"), best, strict=True))]
        columns = [one.assign(table=2) for one in final] + [one.assign(table=19) for one in twins]
        return judge(claim, evidence(*columns))

    assert both([70, 65, 62]) == (HOLDS, "the same answer for 3 of 3 arms")
    assert both([70, 60.1, 60]) == (UNDECIDED, "the same answer for 1 of 3 arms; not for 2-MC, 5-MC")
    assert both([70, 71, 50]).word == FAILS and "reversed for 5-MC" in both([70, 71, 50]).detail
    assert both([70, 70, 70]) == (HOLDS, "the same answer for 1 of 1 arms")  # the same runs under three names
    flat = evidence(*(column(arm, 60, table, std=9) for table in (2, 19) for arm in ("DT", "1-MC", "2-MC", "5-MC")))
    assert judge(claim, flat).word == UNDECIDED and "none is shown to differ" in judge(claim, flat).detail
    rows = [
        column(arm, 70 if arm == "1-MC" else 60, table, datasets=DATASETS[:2])
        for table in (2, 19)
        for arm in ("DT", "1-MC")
    ]
    assert judge(claim, evidence(*rows)) == (HOLDS, "the same answer for 1 of 1 arms, over 2 of 12 data sets")


def test_spreads_are_usually_smaller():
    rules = [{"table": 23, "arms": ["S=10", "S=100", "S=1000"], "baseline": "CQL"}]
    claim = {"id": "spreads", "spreads": rules}

    def spread(*spreads):
        arms = zip(rules[0]["arms"], spreads, strict=True)
        return judge(claim, evidence(column("CQL", std=2, table=23), *(column(a, std=s, table=23) for a, s in arms)))

    assert spread(1, 1, 4) == (HOLDS, "smaller for 2 of 3 arms, shown for 2; 0.79 of it in the mean")
    assert spread(1, 1.95, 1.95).word == UNDECIDED
    assert spread(1, 4, 4).word == FAILS
    assert spread(2.05, 2.05, 2.05).word == UNDECIDED  # larger for all, and shown for none
    assert judge(CLAIMS["cql-smaller-spread-of-best"], PRINTED).word == HOLDS


def test_the_printed_cells_of_the_claims_are_those_of_the_tables():
    cells = PRINTED.cells.query("table == 1 and arm == 'DT'").set_index("dataset")["mean"]
    printed_column = paper_table(1).query("arm == 'DT' and not is_average").set_index("dataset")["mean"]
    assert cells.to_dict() == printed_column.to_dict()


# --- wall time and operations


def test_wall_time_of_other_machines_gives_no_word_but_its_numbers():
    rows = [
        {"stage": "DT fine-tuning", "arm": arm, "environment": "hopper", "machine": "x", "is_papers_size": True}
        | {"wall": wall + seed / 1000, "updates": 1_000}
        for arm, wall in (("DT", 0.1), ("k-means", 0.2), ("pre-trained", 0.1))
        for seed in range(3)
    ]
    rows += [{"stage": "critic pre-training", "is_papers_size": True, "wall": 0.003, "updates": 100_000}] * 2
    timed = evidence(column("DT"), times=pd.DataFrame(rows))
    assert judge(CLAIMS["dt-fine-tuning-time"], timed) == (
        OTHER_MACHINE,
        "0.50 of it an update on our processors, claimed 0.67 on one GPU",
    )
    assert judge(CLAIMS["dt-fine-tuning-as-fast-as-dt"], timed).detail.startswith("1.00 of it an update")
    assert judge(CLAIMS["cql-pretraining-time"], timed) == (
        OTHER_MACHINE,
        "5.0 minutes on our processors, scaled (n = 2)",
    )
    without = evidence(column("DT"))
    for identity in ("dt-fine-tuning-time", "cql-pretraining-time"):
        assert judge(CLAIMS[identity], without) == (OTHER_MACHINE, "")


def test_counted_operations_stand_beside_the_times_in_the_text():
    own = evidence(column("DT"))
    assert judge(CLAIMS["dt-pretraining-time"], own) == (
        OTHER_MACHINE,
        "0.031 of the operations (0.044 in a plain program), claimed 0.03 of the time",
    )
    assert judge(CLAIMS["dt-pretraining-87-percent"], own).detail.startswith("0.123 of the operations")
    by_vocabulary = judge(CLAIMS["dt-pretraining-87-percent-by-vocabulary"], own)
    assert by_vocabulary.word == HOLDS
    assert by_vocabulary.detail == (
        "the vocabulary alone saves 88% of the operations (82% in a plain program), and printed are 87% of the time"
    )
    demanding = one_rule("dt-pretraining-87-percent-by-vocabulary", "vocabulary", largely=1.1)
    assert judge(demanding, own).word == FAILS
