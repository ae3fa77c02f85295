"""The claim that Q diverges without safe Q (paper A.2): whether a critic's mean passed the cap in runs without it."""

import numpy as np

from synthlib.report.claims_on_scores import Rule
from synthlib.report.evidence import AUTHORS, PRINT, Evidence
from synthlib.report.judgements import NO_CQL, NOT_PRINTED, Judgement, over_fewer
from synthlib.report.q_values import by_run
from synthlib.report.verdicts import FAILS, HOLDS, MINIMUM_SEEDS, NO_RUNS, UNDECIDED

_NO_RUNS_OF_CQL = {PRINT: NOT_PRINTED, AUTHORS: NO_CQL}


def judge_divergence(rules: list[Rule], evidence: Evidence) -> Judgement:
    """Whether some run of the arms ``without`` the cap diverged: its mean Q lay above Qmax at some time.

    "May diverge" holds with one such run. Without any it fails only for runs of the paper's length with enough seeds
    of all these arms; fewer or shorter runs leave it undecided. The runs of the arms ``with`` the cap are counted
    beside.
    """
    (rule,) = rules
    if evidence.source in _NO_RUNS_OF_CQL:
        return Judgement(_NO_RUNS_OF_CQL[evidence.source])
    report = evidence.report(rule["artefact"])
    if report is None or report.runs.q_values is None:
        return Judgement(NO_RUNS)
    runs = by_run(report.runs.q_values)
    without, capped = (runs[runs["arm"].isin(rule[side])] for side in ("without", "with"))
    if without.empty:
        return Judgement(NO_RUNS, f"of {', '.join(rule['without'])}")
    passed = without["passed"].dropna()
    detail = (
        f"{len(passed)} of {len(without)} runs without the cap, up to {without['updates'].max():,} updates, have a "
        f"mean Q above Qmax (highest {100 * without['mean'].max():.1f} %); with it {capped['passed'].notna().sum()} of "
        f"{len(capped)}"
    )
    if (shares := without["above_cap"].dropna()).size:
        detail += f"; {100 * shares.mean():.3g} % of the values are above Qmax"
    detail += over_fewer(without["dataset"].nunique())
    if len(passed):
        return Judgement(HOLDS, detail)
    is_whole = set(without["arm"]) == set(rule["without"])
    seeds = int(np.min(without.groupby(["arm", "dataset"]).size()))
    long_enough = not report.runs.reduced and is_whole and seeds >= MINIMUM_SEEDS
    return Judgement(FAILS if long_enough else UNDECIDED, detail)
