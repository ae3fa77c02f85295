"""Claims of section 4.3, on the centroids that the critics' pre-training aims at.

They are measured on the generators' data at the paper's size, as on the page of that section; no run is needed.
"""

from functools import cache
from typing import Any

from synthlib.generators.centroids import Spread, spread
from synthlib.generators.mdp import MDPConfig
from synthlib.report.evidence import AUTHORS, PRINT, Evidence
from synthlib.report.judgements import NO_CQL, NOT_PRINTED, Judgement
from synthlib.report.verdicts import FAILS, HOLDS
from synthlib.study.critic_study import measure

_measured = cache(lambda data: spread(measure(data)))  # a second or two for a million transitions


def judge_centroids(rules: list[dict[str, Any]], evidence: Evidence) -> Judgement:
    """The answer to the ``question`` of the one rule: minimum, collapse, apart or distinct."""
    if evidence.source == PRINT:
        return Judgement(NOT_PRINTED)
    if evidence.source == AUTHORS:
        return Judgement(NO_CQL)
    (rule,) = rules
    answer = {"minimum": _minimum, "collapse": _collapse, "apart": _apart, "distinct": _distinct}[rule["question"]]
    return answer(_measured(MDPConfig()), _measured(MDPConfig(kind="iid")))


def _minimum(mdp: Spread, iid: Spread) -> Judgement:
    least = mdp.total - mdp.empirical
    detail = f"by algebra; the least loss is {least:.4f} a dimension, {mdp.total:.4f} for a constant prediction"
    return Judgement(HOLDS, detail)


def _collapse(mdp: Spread, iid: Spread) -> Judgement:
    quarter = _measured(MDPConfig(kind="iid", trajectories=250))
    detail = f"their variance is {iid.empirical:.5f} a dimension, {quarter.empirical:.5f} in a quarter of the data"
    collapses = quarter.empirical > 2 * iid.empirical and iid.exact < 1e-12
    return Judgement(HOLDS if collapses else FAILS, detail)


def _apart(mdp: Spread, iid: Spread) -> Judgement:
    detail = f"{mdp.exact:.5f} against 0 in infinitely many data; in the data {mdp.empirical:.5f} against"
    detail += f" {iid.empirical:.5f}, of which sampling makes {mdp.noise:.5f} and {iid.noise:.5f}"
    farther = mdp.exact > iid.exact and mdp.empirical > iid.empirical
    return Judgement(HOLDS if farther else FAILS, detail)


def _distinct(mdp: Spread, iid: Spread) -> Judgement:
    detail = f"{mdp.distinct:,} different centroids for {mdp.pairs:,} pairs: pairs with equal 8s + 7a share one"
    return Judgement(HOLDS if mdp.distinct == mdp.pairs else FAILS, detail)
