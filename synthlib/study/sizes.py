"""What a preset runs in place of the paper's numbers of updates, and what cannot be compared for that reason.

Small presets shorten fine-tuning and pre-training by different factors. So a column that the paper calls "1K" was
pre-trained for fewer updates, and arms that have equally many updates in all in the paper have not.
"""

import re
from collections.abc import Mapping

from synthlib.study.params import Artefact, pretraining_updates
from synthlib.study.plan import Plan
from synthlib.study.presets import can_train, load_preset

_NUMBER = re.compile(r"(?<![\w.])(\d+)([kKM])\b")
_UNITS = {"k": 1_000, "K": 1_000, "M": 1_000_000}


def run_sizes(plan: Plan) -> dict[str, dict[int, int]]:
    """{arm: {a number of updates at the paper's size: the number that was run instead}}, of pre-training and of more
    fine-tuning; without the numbers that are the paper's. Empty for an algorithm that the paper does not have."""
    paper = _paper_updates(plan.artefact)
    if paper is None:
        return {}
    base, sizes = plan.settings["updates"], {}
    for arm, job in {cell.arm: cell.job for cell in plan.cells}.items():
        more = round((plan.artefact.arms[arm].get("length", 1) - 1) * paper)
        pretraining = sum(required.updates for required in job.requires)
        run = {pretraining_updates(plan.artefact, arm): pretraining, more: job.updates - base}
        sizes[arm] = {number: done for number, done in run.items() if number > 0 and number != done}
    return {arm: numbers for arm, numbers in sizes.items() if numbers}


def with_size(name: str, sizes: Mapping[int, int]) -> str:
    """The name of a column or curve, with what was run where the name says another number: "1K (here 20)".

    ``sizes``: an entry of :func:`run_sizes`.
    """
    for digits, unit in _NUMBER.findall(name):
        run = sizes.get(int(digits) * _UNITS[unit])
        if run is not None:
            return f"{name} (here {run:,})"
    return name


def unequal_totals(plan: Plan) -> dict[tuple[str, ...], str]:
    """{arms: a sentence that refuses to compare them}: arms whose totals of updates are equal in the paper, not here.

    ``equal_totals`` in the description names such arms. Totals include pre-training. They count as equal when they
    differ by less than one evaluation interval, to which the updates of longer arms are rounded up.
    """
    refused = {}
    jobs = {cell.arm: cell.job for cell in plan.cells}
    for group in plan.artefact.equal_totals:
        there = [arm for arm in group if arm in jobs]
        totals = [jobs[arm].updates + sum(required.updates for required in jobs[arm].requires) for arm in there]
        if totals and max(totals) - min(totals) >= plan.settings["evaluate_every"]:
            counted = ", ".join(f"{arm} has {total:,}" for arm, total in zip(there, totals, strict=True))
            refused[tuple(there)] = (
                f"Not to be compared at equal numbers of updates: with preset {plan.preset}, pre-training included, "
                f"{counted}{_in_the_paper(plan.artefact, group[0])}"
            )
    return refused


def _in_the_paper(artefact: Artefact, arm: str) -> str:
    paper = _paper_updates(artefact)
    if paper is None:
        return ""
    total = round(artefact.arms[arm].get("length", 1) * paper) + pretraining_updates(artefact, arm)
    return f"; in the paper each has {total:,} (PRESET=paper)"


def _paper_updates(artefact: Artefact) -> int | None:
    """The paper's number of fine-tuning updates; None for an algorithm that the paper does not have."""
    if not can_train("paper", artefact.algorithm):
        return None
    return load_preset("paper", artefact.algorithm)["updates"]
