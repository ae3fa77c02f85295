"""Claims with a size: gains in per cent or points, updates saved, and wall time.

A size is compared as rounded in the paper. It is judged where the runs can be held against the paper's: on D4RL's data
and at the paper's length. Elsewhere only its direction is.
"""

import pandas as pd

from synthlib.report.claims_on_scores import Rule, over_fewer, pairs_of
from synthlib.report.comparisons import Side, compare_averages
from synthlib.report.evidence import AUTHORS, OWN, PRINT, Evidence
from synthlib.report.judgements import NO_CQL, NOT_LOGGED, OTHER_DATA, OTHER_MACHINE, Judgement
from synthlib.report.verdicts import FAILS, HOLDS, MINIMUM_SEEDS, NO_RUNS, NOT_ENOUGH_RUNS, UNDECIDED, strictest

_A_DIGIT = 0.01  # the paper rounds a ratio to two digits; one digit more or less is let pass, and both are shown


def judge_sizes(rules: list[Rule], evidence: Evidence) -> Judgement:
    """Whether each gain that the paper names has that size here.

    A rule names a ``gain`` in points or a ``relative_gain``, in the average or on a ``dataset``. It holds when the 95 %
    interval of the gain lies above 0 and contains the paper's number as rounded there. It fails when the interval does
    not contain that number.
    """
    if not evidence.comparable:
        return Judgement(OTHER_DATA)
    parts = [_size(rule, evidence) for rule in rules]
    return Judgement(strictest(part.word for part in parts), ", ".join(part.detail for part in parts if part.detail))


def _size(rule: Rule, evidence: Evidence) -> Judgement:
    pairs = _pairs(rule, evidence)
    if isinstance(pairs, str):
        return Judgement(pairs)
    if relative := "relative_gain" in rule:
        gain, low, high = (100 * (end - 1) for end in ratio(pairs))
        claimed, half_a_digit, unit = 100 * rule["relative_gain"], 0.5, " %"
    else:
        gain, low, high = map(float, compare_averages(*_sides(pairs))[:3])
        claimed, half_a_digit, unit = rule["gain"], 0.05, ""
    detail = f"{gain:+.1f}{unit} [{low:+.1f}, {high:+.1f}], claimed {claimed:+.{0 if relative else 1}f}{unit}"
    detail += f" on {rule['dataset']}" if "dataset" in rule else over_fewer(len(pairs))
    if not low - half_a_digit <= claimed <= high + half_a_digit:
        return Judgement(FAILS, detail)
    return Judgement(HOLDS if low > 0 else UNDECIDED, detail)


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
    pairs = _pairs(rule, evidence)
    if isinstance(pairs, str):
        return Judgement(pairs)
    share, low, high = ratio(pairs)
    detail = f"{share:.2f} [{low:.2f}, {high:.2f}] of it{over_fewer(len(pairs))}"
    if not evidence.comparable:
        return Judgement(HOLDS if high < 1 else FAILS if low > 1 else UNDECIDED, detail)
    detail += f", claimed {rule['ratio']:.2f}"
    if not low - _A_DIGIT / 2 <= rule["ratio"] <= high + _A_DIGIT / 2:
        return Judgement(FAILS, detail)
    return Judgement(HOLDS if high < 1 else UNDECIDED, detail)


def _printed_cost(rule: Rule, cells: pd.DataFrame) -> Judgement:
    average = cells[cells["table"] == rule["table"]].groupby("arm")["mean"].mean()
    if "at_most" in rule:
        minutes = average[rule["arm"]]
        return Judgement(HOLDS if minutes <= rule["at_most"] else FAILS, f"{minutes:.1f} minutes")
    return _share(average[rule["arm"]] / average[rule["baseline"]], rule["ratio"])


def _share(share: float, claimed: float) -> Judgement:
    word = HOLDS if abs(share - claimed) <= 1.5 * _A_DIGIT else FAILS
    return Judgement(word, f"{share:.2f} of it, claimed {claimed:.2f}")


def _wall_time(rule: Rule, evidence: Evidence) -> Judgement:
    if evidence.source == AUTHORS and rule["table"] == 14:
        return Judgement(NO_CQL)
    if evidence.seconds is None or evidence.matched:
        return Judgement(OTHER_MACHINE)
    seconds = evidence.seconds[evidence.seconds["dataset"].str.endswith("medium-expert")]
    average = seconds.groupby("arm")["seconds"].mean()
    share = average[rule["arm"]] / average[rule["baseline"]]
    return Judgement(
        OTHER_MACHINE, f"{share:.2f} of it on the authors' mixed processors, claimed {rule['ratio']:.2f} on one GPU"
    )


def judge_minutes(rules: list[Rule], evidence: Evidence) -> Judgement:
    """Whether two times in the paper's text (``minutes`` of an arm and of a baseline) have the share that it names."""
    if evidence.source == PRINT:
        parts = [_share(rule["minutes"][0] / rule["minutes"][1], rule["ratio"]) for rule in rules]
        return Judgement(strictest(part.word for part in parts), ", ".join(part.detail for part in parts))
    return Judgement(OTHER_MACHINE if evidence.source == OWN else NOT_LOGGED)


def ratio(pairs: pd.DataFrame) -> tuple[float, float, float]:
    """(share, low, high): an arm's mean over data sets divided by its baseline's, with the 95 % interval.

    ``pairs``: one row per data set, ``mean, std, n, baseline_mean, baseline_std, baseline_n``. The delta method: the
    interval is that of the arm minus share times baseline.
    """
    baseline = float(pairs["baseline_mean"].mean())
    share = float(pairs["mean"].mean()) / baseline
    scaled = {name: share * pairs[name] for name in ("baseline_mean", "baseline_std")}
    found = compare_averages(*_sides(pairs.assign(**scaled)))
    half_width = float(found.high - found.low) / 2 / abs(baseline)
    return share, share - half_width, share + half_width


def _sides(pairs: pd.DataFrame) -> tuple[Side, Side]:
    """An arm and its baseline, each as ``mean, std, n`` of the data sets."""
    arm = pairs["mean"], pairs["std"], pairs["n"]
    return arm, (pairs["baseline_mean"], pairs["baseline_std"], pairs["baseline_n"])


def _pairs(rule: Rule, evidence: Evidence) -> pd.DataFrame | str:
    """The cells of the arm and of its baseline on the data sets that have enough of both, or why there is none."""
    baseline = evidence.baseline_of(rule["table"], rule["arm"], rule["baseline"])
    pairs = pairs_of(rule, rule["arm"], baseline, evidence)
    if "dataset" in rule:
        pairs = pairs[pairs["dataset"] == rule["dataset"]]
    enough = pairs[pairs[["n", "baseline_n"]].min(axis=1) >= MINIMUM_SEEDS]
    if enough.empty:
        return NO_RUNS if pairs.empty else NOT_ENOUGH_RUNS
    return enough
