"""How many runs fit into the memory of a GPU."""

import math
from collections.abc import Sequence

from synthlib.kernels.memory import megabytes
from synthlib.machine.devices import CPU, chosen, describe, memory
from synthlib.runs.job import Job
from synthlib.study.algorithms import training

USABLE = 0.7
"""The share of a GPU's memory for the runs of a column, as counted from the shapes.

On an H100 one more run took up to 1.35 times as much (outputs/bench-cuda); a part of it are weights and moments, which
are copied while an update is recorded. Data sets and libraries take the rest.
"""


def fitting(jobs: Sequence[Job]) -> list[list[Job]]:
    """``jobs`` of one shape in parts that the chosen GPU's memory holds; on a processor they are one part."""
    needed = training(jobs[0]).memory
    if chosen() == CPU or needed is None or len(jobs) == 1:
        return [list(jobs)]
    return parts(jobs, fit(max(needed(job).total for job in jobs), memory(chosen())))


def parts(jobs: Sequence[Job], most: int) -> list[list[Job]]:
    """``jobs`` in as few parts of at most ``most`` as possible, of about equal lengths."""
    size = math.ceil(len(jobs) / math.ceil(len(jobs) / most))
    return [list(jobs[start : start + size]) for start in range(0, len(jobs), size)]


def fit(size: float, memory: float) -> int:
    """The number of runs of ``size`` bytes in a ``memory`` of so many bytes, at least 1."""
    return max(1, int(USABLE * memory / size))


def in_words(jobs: Sequence[Job]) -> list[str]:
    """A line per kind of ``jobs``: the memory of a run on the chosen GPU, and how many fit. [] on a processor."""
    if chosen() == CPU:
        return []
    return sentences(jobs, describe(chosen()), memory(chosen()))


def sentences(jobs: Sequence[Job], card: str, memory: float) -> list[str]:
    """As :func:`in_words`, for a ``card`` with so many bytes.

    Of each kind, the runs with the largest update count, and of these the run with the most memory.
    """
    of_kind: dict[str, list[Job]] = {}
    for job in jobs:
        of_kind.setdefault(job.kind, []).append(job)
    lines = [f"memory, of the {megabytes(memory)} of {card}, from the shapes:"] if of_kind else []
    for kind, of_one in of_kind.items():
        needed = training(of_one[0]).memory
        if needed is not None:
            most = max(map(_operations, of_one))
            found = max((needed(job) for job in of_one if _operations(job) == most), key=lambda one: one.total)
            lines.append(f"  {kind:<20} up to {found} a run: {fit(found.total, memory):,} fit")
    return lines


def _operations(job: Job) -> float:
    return training(job).operations(job) / max(job.updates, 1)
