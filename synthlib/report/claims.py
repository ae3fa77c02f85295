"""The paper's claims, judged by any evidence: printed, the authors' runs or ours.

A claim of ``synthlib/paper/claims.yaml`` has one or more kinds of rules. Each kind has a function here that turns its
rules and an evidence into a :class:`~synthlib.report.judgements.Judgement`.
"""

import itertools
from collections.abc import Callable
from typing import Any

from synthlib.report.claims_on_centroids import judge_centroids
from synthlib.report.claims_on_costs import judge_costs, judge_minutes, judge_vocabulary
from synthlib.report.claims_on_curves import judge_overtaking, judge_totals
from synthlib.report.claims_on_divergence import judge_divergence
from synthlib.report.claims_on_measures import judge_agreement, judge_spreads
from synthlib.report.claims_on_scores import Rule, judge_compare, reason_without_cells
from synthlib.report.claims_on_sizes import judge_sizes
from synthlib.report.evidence import PRINT, Evidence, artefact_of_table, sets_pretraining_against_baseline
from synthlib.report.judgements import (
    DRAWN,
    NOT_PRINTED,
    OTHER_BASELINE,
    Judgement,
    combined,
)
from synthlib.report.similarity import SimilarityReport
from synthlib.report.verdicts import NO_RUNS
from synthlib.study.params import Artefact, load_artefact


def judge(claim: dict[str, Any], evidence: Evidence) -> Judgement:
    """A word for a claim, with the numbers that decide it, or the reason why this evidence cannot bear on it.

    A claim with several kinds of rules is judged by those that the evidence has. With ``evidence.matched`` only the
    rules that set a pre-trained arm against the published baseline say something.
    """
    kinds = {name: claim[name] for name in KINDS if name in claim}
    if evidence.matched:
        kinds = {name: rules for name, rules in kinds.items() if any(map(_sets_against_baseline, rules))}
    if not kinds:
        return Judgement(OTHER_BASELINE)
    found = combined(_judge_kind(name, rules, evidence) for name, rules in kinds.items())
    if found.word in (DRAWN, NOT_PRINTED) and "printed" in claim:
        return Judgement(found.word, f"printed: {claim['printed']}")
    return found


def _judge_kind(name: str, rules: list[Rule], evidence: Evidence) -> Judgement:
    on_tables = name in _ON_TABLES
    return (reason_without_cells(rules, evidence) if on_tables else None) or KINDS[name](rules, evidence)


def _judge_similarities(rules: list[Rule], evidence: Evidence) -> Judgement:
    report = _figure_12(evidence)
    return report if isinstance(report, Judgement) else report.judge(rules, evidence.matched)


def _judge_order(rules: list[Rule], evidence: Evidence) -> Judgement:
    report = _figure_12(evidence)
    return report if isinstance(report, Judgement) else report.judge_order(rules)


def _figure_12(evidence: Evidence) -> SimilarityReport | Judgement:
    if evidence.source == PRINT:
        return Judgement(DRAWN)
    report = evidence.report("figure12")
    return report if isinstance(report, SimilarityReport) else Judgement(NO_RUNS)


KINDS: dict[str, Callable[[list[Rule], Evidence], Judgement]] = {
    "compare": judge_compare,
    "sizes": judge_sizes,
    "costs": judge_costs,
    "minutes": judge_minutes,
    "vocabulary": judge_vocabulary,
    "agreement": judge_agreement,
    "spreads": judge_spreads,
    "totals": judge_totals,
    "overtaking": judge_overtaking,
    "similarities": _judge_similarities,
    "order": _judge_order,
    "centroids": judge_centroids,
    "divergence": judge_divergence,
}
_ON_TABLES = ("compare", "sizes", "costs", "agreement", "spreads")


def _sets_against_baseline(rule: Rule) -> bool:
    """Whether a rule sets a pre-trained arm against the published baseline, so that a control can take its place."""
    if "pairs" in rule or "controls" in rule:
        return True
    artefact = _artefact(rule)
    if artefact is None:
        return False
    arms = rule.get("arms") or [rule.get("arm")]
    baselines = rule.get("baselines") or [rule.get("baseline")]
    return any(sets_pretraining_against_baseline(artefact, *pair) for pair in itertools.product(arms, baselines))


def _artefact(rule: Rule) -> Artefact | None:
    if "table" in rule:
        return artefact_of_table(rule["table"])
    name = "figure12" if "between" in rule else rule.get("artefact")
    return None if name is None else load_artefact(name)
