"""Claims on cost: updates to a goal, wall time, and the time of pre-training.

The print has no spread: its share must be the paper's, give or take a digit. Wall time is of one kind of GPU, so no
other machine can confirm or refute it. What is known from other machines, and from counted operations, stands beside
the reason.
"""

from functools import cache

import numpy as np
import pandas as pd

from synthlib.report.claims_on_scores import Rule
from synthlib.report.claims_on_sizes import pairs_with_enough
from synthlib.report.comparisons import ratio
from synthlib.report.cost_stages import MEDIUM_EXPERT, stages
from synthlib.report.evidence import AUTHORS, OWN, PRINT, Evidence
from synthlib.report.judgements import NO_CQL, NOT_LOGGED, NOT_PRINTED, OTHER_MACHINE, Judgement, over_fewer
from synthlib.report.recorded_times import CRITICS, PAPER_UPDATES, comparable, share_of_arms
from synthlib.report.verdicts import FAILS, HOLDS, UNDECIDED, strictest

A_DIGIT = 0.01
ROOM = 1.5 * A_DIGIT  # the paper rounds a share to two digits; one digit more or less is let pass, and both are shown
_stages = cache(stages)


def judge_costs(rules: list[Rule], evidence: Evidence) -> Judgement:
    """Whether an arm needs the paper's share (``ratio``) of a baseline's cost, as in Tables 11 to 14.

    The print has no spread: its share must be the paper's, give or take a digit. Updates in runs (Tables 11 and 13):
    the 95 % interval must lie below 1, and contain the paper's share where the runs can be held against the paper's.
    Wall times (Tables 12 and 14) are of one GPU: as printed only, where ``at_most`` may stand for a share.
    """
    parts = [_cost(rule, evidence) for rule in rules]
    if any(part.word not in (HOLDS, FAILS, UNDECIDED) for part in parts):
        return parts[0]
    return Judgement(strictest(part.word for part in parts), ", ".join(part.detail for part in parts))


def _cost(rule: Rule, evidence: Evidence) -> Judgement:
    if evidence.source == PRINT:
        return _printed_cost(rule, evidence.cells)
    if rule["table"] in (12, 14):
        return _wall_time(rule, evidence)
    pairs = pairs_with_enough(rule, evidence)
    if isinstance(pairs, str):
        return Judgement(pairs)
    share, low, high = ratio(pairs)
    detail = f"{share:.2f} [{low:.2f}, {high:.2f}] of it{over_fewer(len(pairs))}"
    if not evidence.comparable:
        return Judgement(HOLDS if high < 1 else FAILS if low > 1 else UNDECIDED, detail)
    detail += f", claimed {rule['ratio']:.2f}"
    if not low - A_DIGIT / 2 <= rule["ratio"] <= high + A_DIGIT / 2:
        return Judgement(FAILS, detail)
    return Judgement(HOLDS if high < 1 else UNDECIDED, detail)


def _printed_cost(rule: Rule, cells: pd.DataFrame) -> Judgement:
    average = cells[cells["table"] == rule["table"]].groupby("arm")["mean"].mean()
    if "at_most" in rule:
        minutes = average[rule["arm"]]
        return Judgement(HOLDS if minutes <= rule["at_most"] else FAILS, f"{minutes:.1f} minutes")
    return _share(average[rule["arm"]] / average[rule["baseline"]], rule["ratio"], rule.get("about", ROOM))


def _share(share: float, claimed: float, room: float) -> Judgement:
    word = HOLDS if abs(share - claimed) <= room else FAILS
    return Judgement(word, f"{share:.2f} of it, claimed {claimed:.2f}")


def _wall_time(rule: Rule, evidence: Evidence) -> Judgement:
    """No word: another machine. The detail says what the share is there, where it is known."""
    if evidence.source == AUTHORS and rule["table"] == 14:
        return Judgement(NO_CQL)
    if evidence.matched:
        return Judgement(OTHER_MACHINE)
    if rule["table"] == 14:
        return Judgement(OTHER_MACHINE, _minutes_of_critics(evidence.times))
    if evidence.source == OWN:
        found = None if evidence.times is None else share_of_arms(evidence.times, rule["arm"], rule["baseline"])
        where = "an update on our processors"
        share = None if found is None else found.value
    else:
        share, where = _share_of_seconds(rule, evidence.seconds), "on the authors' mixed processors"
    claimed = f"claimed {rule['ratio']:.2f} on one GPU"
    return Judgement(OTHER_MACHINE, "" if share is None else f"{share:.2f} of it {where}, {claimed}")


def _share_of_seconds(rule: Rule, seconds: pd.DataFrame | None) -> float | None:
    if seconds is None:
        return None
    average = seconds[seconds["dataset"].isin(MEDIUM_EXPERT)].groupby("arm")["seconds"].mean()
    return average[rule["arm"]] / average[rule["baseline"]]


def _minutes_of_critics(times: pd.DataFrame | None) -> str:
    """How long 100,000 updates take at the recorded rate; empty where no run of the paper's networks recorded it."""
    if times is None:
        return ""
    seconds = comparable(times, CRITICS)["wall"]
    if seconds.empty:
        return ""
    minutes = seconds.mean() * PAPER_UPDATES[CRITICS] / 60
    return f"{minutes:.1f} minutes on our processors, scaled (n = {len(seconds)})"


def judge_minutes(rules: list[Rule], evidence: Evidence) -> Judgement:
    """Whether two times in the paper's text (``minutes`` of an arm and of a baseline) have the share that it names."""
    if evidence.source == PRINT:
        parts = [_share(np.divide(*rule["minutes"]), rule["ratio"], ROOM) for rule in rules]
        return Judgement(strictest(part.word for part in parts), ", ".join(part.detail for part in parts))
    if evidence.source == AUTHORS:
        return Judgement(NOT_LOGGED)
    (rule,) = rules
    least, plain = _of_operations(rule)
    detail = f"{least:.3f} of the operations ({plain:.3f} in a plain program), claimed {rule['ratio']:.2f} of the time"
    return Judgement(OTHER_MACHINE, detail)


def judge_vocabulary(rules: list[Rule], evidence: Evidence) -> Judgement:
    """Whether the time that a pre-training saves follows ``largely`` from its smaller vocabulary.

    The two ``stages`` differ in nothing else that costs operations, so the operations that one saves are the
    vocabulary's. They are held against the time that it saves (``minutes``).
    """
    if evidence.source == PRINT:
        return Judgement(NOT_PRINTED)
    if evidence.source == AUTHORS:
        return Judgement(NOT_LOGGED)
    (rule,) = rules
    least, plain = (1 - share for share in _of_operations(rule))
    of_time = 1 - np.divide(*rule["minutes"])
    detail = (
        f"the vocabulary alone saves {least:.0%} of the operations ({plain:.0%} in a plain program), and printed are "
        f"{of_time:.0%} of the time"
    )
    return Judgement(HOLDS if min(least, plain) / of_time >= rule["largely"] else FAILS, detail)


def _of_operations(rule: Rule) -> tuple[float, float]:
    """The share of the operations that are needed at least, and of those of a plain program."""
    arm, baseline = (_stages()[name] for name in rule["stages"])
    assert arm.plain_operations is not None and baseline.plain_operations is not None, "these are GPT-2's stages"
    return arm.operations / baseline.operations, arm.plain_operations / baseline.plain_operations
