"""The paper's sentences on cost (3 %, 27 %, 67 %, 87 %, "about the same speed"), each beside every source of numbers.

Each sentence is a share: what one arm needs of what another needs. The share is found in the printed cells, the
authors' logs, updates timed on this machine, finished runs that recorded their time, and counted operations. A word
says whether it is the paper's.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from synthlib.dt.cost import authors_cluster_seconds
from synthlib.paper import paper_claims, paper_contradictions, paper_costs
from synthlib.report.authors_hours import SAME_SEEDS
from synthlib.report.claims_on_costs import ROOM
from synthlib.report.cost_stages import (
    CHAIN_20K,
    CHAIN_80K,
    CQL,
    CRITICS,
    MEDIUM_EXPERT,
    WIKIPEDIA,
    Stage,
    hours_and_minutes,
    minutes_in_text,
)
from synthlib.report.recorded_times import Share, share_of_arms, share_of_cells

AS_CLAIMED, SAME_DIRECTION, OTHER_WAY, NOT_SHOWN = "as claimed", "same direction", "not so", "not shown"
TOO_FEW = "too few runs"
Shares: TypeAlias = Mapping[str, Mapping[str, Share | None]]  # {claim: {source of numbers: share}}
_OF_FINE_TUNING = ("dt-fine-tuning-time", "dt-fine-tuning-as-fast-as-dt")
_OF_UPDATES = "dt-27-percent-faster"


class Sentence(NamedTuple):
    """``arm`` needs the share ``claimed``, give or take ``room``, of what ``baseline`` needs, says the paper."""

    claim: str
    """The id of the claim of claims.yaml that says the same."""
    says: str
    arm: str
    baseline: str
    claimed: float
    room: float


def sentences() -> list[Sentence]:
    """The sentences, with the shares and the room that claims.yaml declares."""
    of = {claim["id"]: claim for claim in paper_claims()}
    costs = {
        "dt-27-percent-faster": "27 % faster (updates to the goal)",
        "dt-fine-tuning-time": "67 % of the time of fine-tuning",
        "dt-fine-tuning-as-fast-as-dt": "fine-tuning about as fast as DT",
    }
    stages = {"dt-pretraining-time": "3 % of pre-training", "dt-pretraining-87-percent": "87 % less pre-training time"}
    found = []
    for claim, says in costs.items():
        (rule,) = of[claim]["costs"]
        room = rule.get("about", ROOM)
        found.append(Sentence(claim, says, rule["arm"], rule["baseline"], rule["ratio"], room))
    for claim, says in stages.items():
        (rule,) = of[claim]["minutes"]
        shorter = CHAIN_20K if claim == "dt-pretraining-time" else CHAIN_80K
        room = min(ROOM, rule["ratio"] / 4)  # a digit is half of 3 %
        found.append(Sentence(claim, says, shorter, WIKIPEDIA, rule["ratio"], room))
    return found


def word(found: Share, sentence: Sentence) -> str:
    """Whether a share is the claimed one, lies on the same side of 1, or does not.

    Without an interval, the share must be the claimed one to within the sentence's room. An interval must contain the
    claimed share and leave out 1; if it contains both, nothing is shown. A claimed share of 1 is shown by an interval
    that lies within its room.
    """
    if not found.enough:
        return TOO_FEW
    claimed, room = sentence.claimed, sentence.room
    low, high = (found.value, found.value) if math.isnan(found.low) else (found.low, found.high)
    if claimed == 1:
        if 1 - room <= low and high <= 1 + room:
            return AS_CLAIMED
        return OTHER_WAY if high < 1 - room or low > 1 + room else NOT_SHOWN
    if low - room <= claimed <= high + room:
        return NOT_SHOWN if low <= 1 <= high else AS_CLAIMED
    same_side = high < 1 - room if claimed < 1 else low > 1 + room
    return SAME_DIRECTION if same_side else OTHER_WAY


def printed(sentence: Sentence) -> Share:
    """The share in the paper's own cells, or in the times of its text."""
    if sentence.claim.startswith("dt-pretraining"):
        return Share(np.divide(*minutes_in_text(sentence.claim)))
    number = 11 if sentence.claim == _OF_UPDATES else 12
    cells = paper_costs(number)
    means = cells[~cells["is_average"]].groupby("arm")["value"].mean()
    return Share(means[sentence.arm] / means[sentence.baseline])


def from_hours(sentence: Sentence, logged: pd.DataFrame) -> Share | None:
    """The share of the authors' hours on the medium-expert data sets; None where they logged none."""
    if sentence.claim not in _OF_FINE_TUNING:
        return None
    return share_of_cells(logged[logged["dataset"].isin(MEDIUM_EXPERT)], sentence.arm, sentence.baseline)


def from_cells(sentence: Sentence, cells: pd.DataFrame | None) -> Share | None:
    """The share of the updates to the goal in Table 11 of some runs: ``arm, dataset, mean, std, n``."""
    if cells is None or sentence.claim != _OF_UPDATES:
        return None
    return share_of_cells(cells, sentence.arm, sentence.baseline)


def from_recorded(sentence: Sentence, times: pd.DataFrame) -> Share | None:
    """The share of the wall time of an update in finished runs that recorded it, on equal robots and processors."""
    if sentence.claim not in _OF_FINE_TUNING:
        return None
    return share_of_arms(times, sentence.arm, sentence.baseline)


def from_stages(sentence: Sentence, of: Mapping[str, Stage], need: Callable[[Stage], float | None]) -> Share | None:
    """The share of what two stages ``need``, such as operations; None for a number of updates, or if unknown."""
    if sentence.claim == _OF_UPDATES:
        return None
    names = [name if name in of else f"{name}, 100,000" for name in (sentence.arm, sentence.baseline)]
    arm, baseline = (need(of[name]) for name in names)
    return None if arm is None or baseline is None else Share(arm / baseline)


def beside(
    of: Mapping[str, Stage],
    logged: pd.DataFrame,
    times: pd.DataFrame,
    own_cells: pd.DataFrame | None = None,
    authors_cells: pd.DataFrame | None = None,
) -> Shares:
    """{claim: {source: share}}; ``own_cells`` and ``authors_cells`` are the cells of Table 11 of our and their runs."""
    rows = {}
    for one in sentences():
        found = printed(one)
        updates = one.claim == _OF_UPDATES
        rows[one.claim] = {
            "printed": found,
            "authors' logs": from_cells(one, authors_cells) if updates else from_hours(one, logged),
            "finished runs": from_cells(one, own_cells) if updates else from_recorded(one, times),
            "timed here": from_stages(one, of, Stage.hours),
            "operations, at least": from_stages(one, of, lambda stage: stage.operations),
            "operations, plain": from_stages(one, of, lambda stage: stage.plain_operations),
        }
    return rows


def in_words(rows: Shares) -> str:
    """The sentences with every share and its word, one source a line."""
    blocks = []
    for one in sentences():
        lines = [f"{one.says}: a share of {one.claimed:.2f}"]
        for source, share in rows[one.claim].items():
            digits, found = ("-", "") if share is None else (_in_digits(share), word(share, one))
            lines.append(f"  {source:<20} {digits:<22} {found}".rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _in_digits(share: Share) -> str:
    digits = 3 if share.value < 0.1 else 2
    interval = "" if math.isnan(share.low) else f" [{share.low:.{digits}f}, {share.high:.{digits}f}]"
    return f"{share.value:.{digits}f}{interval}"


def cluster_term(of: Mapping[str, Stage], logged: pd.DataFrame) -> list[str]:
    """Why DT+Wiki may be slower: its k-means term, in the authors' logs and timed here, in sentences."""
    hours = logged[logged["dataset"].isin(MEDIUM_EXPERT)].groupby("arm")["mean"].mean()
    without, with_it = hours["DT+Wiki, no k-means"], hours[SAME_SEEDS]
    update, with_ours = (3600 * of[f"{arm}, 100,000"].hours() / 100_000 for arm in ("DT+Synthetic", "DT+Wiki"))
    theirs = authors_cluster_seconds()
    return [
        f"Authors' logs: the same three seeds of DT+Wiki take {without:.1f} h without the k-means term and "
        f"{with_it:.1f} h with it, a share of {without / with_it:.2f}.",
        f"Timed here, one core: an update takes {update:.3f} s without the term and {with_ours:.3f} s with this "
        f"project's formula for it. As the authors computed it, the term takes {theirs:.2f} s more (a share of "
        f"{update / (update + theirs):.2f}).",
    ]


def contradiction_26(logged: pd.DataFrame) -> list[str]:
    """Contradiction 26 with its numbers: the printed time of a run, and the logged one, in sentences."""
    (found,) = (one for one in paper_contradictions() if one["number"] == 26)
    cells = paper_costs(12)
    minutes = cells[~cells["is_average"]].groupby("arm")["value"].mean()
    hours = logged[logged["dataset"].isin(MEDIUM_EXPERT)].groupby("arm")["mean"].mean()
    lines = [f"Contradiction 26. {found['issue']}; {found['evidence']}. Here: {found['default']}."]
    for arm in minutes.index:
        lines.append(
            f"  {arm}: printed {hours_and_minutes(minutes[arm] / 60)}, logged {hours[arm]:.1f} h, "
            f"{60 * hours[arm] / minutes[arm]:.1f} times as long"
        )
    return lines


def finding(of: Mapping[str, Stage]) -> str:
    """What one pre-training costs beside one fine-tuning run, in a sentence written from the numbers."""
    chain, run = of[CHAIN_20K], of["DT+Synthetic, 100,000"]
    return (
        f"One pre-training of 20,000 updates needs {chain.operations / run.operations:.1f} times the operations of one "
        f"fine-tuning run of 100,000, and {chain.minutes * chain.gpus / run.minutes:.2f} times its printed GPU time. "
        "It serves every run that starts from it."
    )


def finding_on_cql(of: Mapping[str, Stage], at_most: float) -> str:
    """What Table 14 says, in sentences written from the numbers."""
    critics, cql = of[CRITICS], of[CQL]
    shares = {
        "printed": critics.minutes / cql.minutes,
        "operations": critics.operations / cql.operations,
        "timed here": critics.hours() / cql.hours(),
    }
    minutes = {"printed": critics.minutes, "timed here": 60 * critics.hours()}
    held = ", ".join(
        f"{source} {value:.1f} ({'as claimed' if value <= at_most else 'more'})" for source, value in minutes.items()
    )
    parts = ", ".join(f"{source} {share:.1%}" for source, share in shares.items())
    return (
        f"100,000 pre-training updates in {at_most:g} minutes on one GPU: {held}; one core of this machine is no "
        f"GPU.\nPre-training as a share of one fine-tuning run: {parts}. The paper names no share."
    )
