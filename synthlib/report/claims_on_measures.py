"""Claims on other measures than the mean final score: whether best scores say the same, and how far scores spread."""

from typing import Any

import numpy as np
from scipy import stats

from synthlib.paper import paper_arms
from synthlib.report.claims_on_scores import Rule, compared, pairs_of
from synthlib.report.evidence import Evidence, artefact_of_table
from synthlib.report.judgements import Judgement, over_fewer
from synthlib.report.verdicts import FAILS, HOLDS, LEVEL, MINIMUM_SEEDS, NO_RUNS, NOT_ENOUGH_RUNS, UNDECIDED

_SAME_ANSWERS = 0.8  # share of arms that final and best scores must answer alike: "very similar" conclusions


def judge_agreement(rules: list[Rule], evidence: Evidence) -> Judgement:
    """Whether an arm that differs from the baseline in final scores does so in best scores too, and the other way.

    ``pairs``: the numbers of a final table and of its twin in best scores. An answer is "higher", "lower" or "not
    shown", at 5 %. The claim holds when four in five answers are alike and none is reversed, and fails when one is. It
    is undecided when no arm is shown to differ. Runs that stand in several tables count once.
    """
    answers: list[tuple[str, int, int]] = []
    tables, counted, datasets = set(), set(), []
    for final, best in (pair for rule in rules for pair in rule["pairs"]):
        artefact = artefact_of_table(final)
        assert artefact is not None and artefact.baseline is not None
        for arm in (arm for arm in paper_arms(final) if arm != artefact.baseline):
            rows = [_against(number, arm, artefact.baseline, evidence) for number in (final, best)]
            if any(row is None for row in rows):
                continue
            tables.add(final)
            datasets += [row["datasets"] for row in rows]
            if (runs := tuple(row[name] for row in rows for name in ("mean", "baseline_mean"))) not in counted:
                counted.add(runs)
                answers.append((arm, _direction(rows[0]), _direction(rows[1])))
    if not answers:
        return Judgement(NO_RUNS)
    alike = [final == best for _, final, best in answers]
    reversed_ = [arm for arm, final, best in answers if final * best < 0]
    others = [arm for (arm, *_), same in zip(answers, alike, strict=True) if not same]
    detail = f"the same answer for {sum(alike)} of {len(answers)} arms"
    if others:
        detail += f"; not for {', '.join(others)}"
    wanted = sum(len(rule["pairs"]) for rule in rules)
    detail += "" if len(tables) == wanted else f"; in {len(tables)} of {wanted} pairs of tables"
    detail += over_fewer(min(datasets))
    if reversed_:
        return Judgement(FAILS, f"{detail}; reversed for {', '.join(reversed_)}")
    if not any(final or best for _, final, best in answers):
        return Judgement(UNDECIDED, f"{detail}: none is shown to differ from its baseline")
    return Judgement(HOLDS if np.mean(alike) >= _SAME_ANSWERS else UNDECIDED, detail)


def _against(number: int, arm: str, baseline: str, evidence: Evidence) -> Any:
    rule = {"table": number, "arms": [arm], "baselines": [baseline], "rows": "average", "must": "higher"}
    row = compared([rule], evidence).iloc[0]
    return None if row["answer"] in (NO_RUNS, NOT_ENOUGH_RUNS) else row


def _direction(row: Any) -> int:
    return int(np.sign(row["difference"])) if row["p_different"] < LEVEL else 0


def judge_spreads(rules: list[Rule], evidence: Evidence) -> Judgement:
    """Whether scores usually spread less over seeds than the baseline's: for more than half of the arms.

    Per arm the mean over data sets of log(spread / baseline's spread), with its standard error for normal scores. An
    arm counts where the 95 % interval lies below 0. The claim fails when for half of the arms it lies above 0.
    """
    ratios = {}
    for rule in rules:
        for arm in rule["arms"]:
            baseline = evidence.baseline_of(rule["table"], arm, rule["baseline"])
            pairs = pairs_of(rule, arm, baseline, evidence)
            pairs = pairs[(pairs[["n", "baseline_n"]].min(axis=1) >= MINIMUM_SEEDS) & (pairs["baseline_std"] > 0)]
            pairs = pairs[pairs["std"] > 0]
            if len(pairs):
                logs = np.log(pairs["std"] / pairs["baseline_std"])
                error = np.sqrt((0.5 / (pairs["n"] - 1) + 0.5 / (pairs["baseline_n"] - 1)).sum()) / len(pairs)
                ratios[rule["table"], arm] = logs.mean(), error, len(pairs)
    if not ratios:
        enough = evidence.cells["table"].isin([rule["table"] for rule in rules]).any()
        return Judgement(NOT_ENOUGH_RUNS if enough else NO_RUNS)
    means, errors, datasets = map(np.array, zip(*ratios.values(), strict=True))
    reach = stats.norm.ppf(0.975) * errors
    shown, shown_larger = int((means + reach < 0).sum()), int((means - reach > 0).sum())
    smaller = int((means < 0).sum())
    detail = (
        f"smaller for {smaller} of {len(means)} arms, shown for {shown}; {np.exp(means.mean()):.2f} of it in the mean"
    )
    detail += over_fewer(datasets.min())
    if shown > len(means) / 2:
        return Judgement(HOLDS, detail)
    return Judgement(FAILS if shown_larger >= len(means) / 2 else UNDECIDED, detail)
