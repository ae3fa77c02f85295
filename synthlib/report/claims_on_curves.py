"""Claims on learning curves: scores at equal totals of updates, and where one curve passes another.

The curves are those of an artefact's runs. An arm's total is its fine-tuning updates and those of its pre-training, as
the paper's figures shift their curves. Where pre-training has another share of fine-tuning than in the paper, equal
totals would answer another question, so nothing is compared.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from synthlib.report.claims_on_scores import Rule, judge_compare
from synthlib.report.curves import SMOOTHING
from synthlib.report.evidence import AUTHORS, PRINT, Evidence, sets_pretraining_against_baseline
from synthlib.report.judgements import DRAWN, NO_CQL, NO_TOTALS, NOT_PRINTED, Judgement, all_of
from synthlib.report.report import Report
from synthlib.report.statistics import FINAL_EVALUATIONS, RUN, score_cells, seed_scores
from synthlib.report.verdicts import FAILS, HOLDS, NO_RUNS, UNDECIDED
from synthlib.study.params import load_artefact


def judge_totals(rules: list[Rule], evidence: Evidence) -> Judgement:
    """Whether ``arms`` and ``baselines`` of an ``artefact`` compare as they ``must`` at equal totals of updates.

    ``at``: shares of the last total that all these arms reach. The score at a total is the mean of a run's last four
    evaluations up to there.
    """
    return all_of(_at_totals(rule, share, evidence) for rule in rules for share in rule["at"])


def _at_totals(rule: Rule, share: float, evidence: Evidence) -> Judgement:
    report = _report(rule, evidence)
    if isinstance(report, Judgement):
        return report
    question, evaluations = _with_controls(rule, report, evidence)
    arms = [*question["arms"], *question["baselines"]]
    if absent := sorted(set(arms) - set(evaluations["arm"])):
        return Judgement(NO_RUNS, f"of {', '.join(absent)}")
    if refused := _other_proportions(report, evaluations):
        return refused
    total = share * evaluations.groupby("arm")["total"].max().min()
    cut = evaluations[evaluations["total"] <= total + 1e-9]
    runs = cut.groupby(RUN)["updates"].size()
    if set(cut["arm"]) < set(arms) or runs.min() < FINAL_EVALUATIONS:
        return Judgement(NO_TOTALS)
    cells = score_cells(seed_scores(cut.drop(columns="total"))).assign(table=0)
    found = judge_compare([question | {"table": 0}], Evidence(evidence.source, cells))
    return Judgement(found.word, f"at {total:,.0f} updates in all {found.detail}")


def judge_overtaking(rules: list[Rule], evidence: Evidence) -> Judgement:
    """Whether ``arms`` pass their ``baselines`` in time, and are ahead at the end, although their curves are shifted.

    Curves as drawn: means over data sets of moving averages over five evaluations. The arm must stay ahead from a total
    on that is at most ``by``, a share of the longest curve's total, and be shown to be higher at the last total that
    both reach.
    """
    return all_of(
        _overtakes(rule, arm, baseline, evidence)
        for rule in rules
        for arm in rule["arms"]
        for baseline in rule["baselines"]
    )


def _overtakes(rule: Rule, arm: str, baseline: str, evidence: Evidence) -> Judgement:
    report = _report(rule, evidence)
    if isinstance(report, Judgement):
        return report
    question, evaluations = _with_controls(rule | {"arms": [arm], "baselines": [baseline]}, report, evidence)
    (other,) = question["baselines"]
    if absent := sorted({arm, other} - set(evaluations["arm"])):
        return Judgement(NO_RUNS, f"of {', '.join(absent)}")
    if refused := _other_proportions(report, evaluations):
        return refused
    ahead = _lead(evaluations, arm, other).dropna()
    if len(ahead) < 2:
        return Judgement(NO_TOTALS)
    behind = ahead.index[ahead <= 0]
    first = ahead.index[0] if behind.empty else ahead.index[ahead.index > behind[-1]].min()
    at_end = _at_totals(question | {"rows": "average", "must": "higher"}, 1.0, evidence)
    if np.isnan(first):
        detail = f"{arm} is not ahead of {other} at {ahead.index[-1]:,} updates in all; {at_end.detail}"
        return Judgement(UNDECIDED if at_end.word == HOLDS else at_end.word, detail)
    too_late = first > rule["by"] * evaluations["total"].max()
    detail = f"{arm} stays ahead of {other} from {first:,.0f} updates in all on; {at_end.detail}"
    return Judgement(FAILS if too_late and at_end.word == HOLDS else at_end.word, detail)


def _other_proportions(report: Report, evaluations: pd.DataFrame) -> Judgement | None:
    """A refusal where the arms whose pre-training counts were pre-trained for another share than in the paper."""
    counted = evaluations.loc[evaluations["total"] > evaluations["updates"], "arm"].unique()
    said = report.runs.other_proportions({arm: arm for arm in counted})
    return Judgement(NO_TOTALS, said) if said else None


def _lead(evaluations: pd.DataFrame, arm: str, baseline: str) -> pd.Series:
    """By total of updates, how far the arm's drawn curve lies above the baseline's, where both have one."""
    curves = []
    for name in (arm, baseline):
        chosen = evaluations[evaluations["arm"] == name]
        smooth = chosen.sort_values("total").groupby(RUN, sort=False)["score"]
        smooth = smooth.rolling(SMOOTHING, min_periods=1).mean().droplevel(RUN)
        means = chosen.assign(score=smooth).groupby(["total", "dataset"])["score"].mean().unstack("dataset")
        curves.append(means)
    there = curves[0].columns.intersection(curves[1].columns)
    return (curves[0][there] - curves[1][there]).mean(axis=1, skipna=False)


def _report(rule: Rule, evidence: Evidence) -> Report | Judgement:
    """The artefact's report, or the reason why there is none."""
    artefact = load_artefact(rule["artefact"])
    if evidence.source == PRINT:
        return Judgement(NOT_PRINTED if artefact.paper_table is None and artefact.is_table else DRAWN)
    if evidence.source == AUTHORS and artefact.algorithm == "cql":
        return Judgement(NO_CQL)
    report = evidence.report(rule["artefact"])
    return Judgement(NO_RUNS) if report is None else report


def _with_controls(rule: Rule, report: Report, evidence: Evidence) -> tuple[Rule, pd.DataFrame]:
    """The rule with the matched controls in the baseline's place, and the evaluations with their ``total`` of updates.

    ``shift`` of the rule names the arms whose pre-training counts, all by default.
    """
    artefact, evaluations = report.artefact, report.runs.evaluations
    baselines: Iterable[Any] = rule["baselines"]
    if evidence.matched:
        named = rule.get("controls", {})
        baselines = dict.fromkeys(
            artefact.control_of(arm)
            if sets_pretraining_against_baseline(artefact, arm, baseline)
            else named.get(baseline, baseline)
            for arm in rule["arms"]
            for baseline in baselines
        )
    before = report.runs.records.groupby("arm")["pretraining_updates"].max()
    names = [*rule["arms"], *baselines]
    shifted = [name for name in rule.get("shift", names) if name in before.index]
    chosen = evaluations[evaluations["arm"].isin(names)]
    chosen = chosen.assign(total=chosen["updates"] + chosen["arm"].map(before[shifted]).fillna(0).astype(int))
    return rule | {"baselines": list(baselines)}, chosen
