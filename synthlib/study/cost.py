"""How long a plan will take on this machine, from a short measurement of each kind of update and step."""

from collections.abc import Iterable

from synthlib.runs.job import Job
from synthlib.study.algorithms import training


def seconds_of(jobs: Iterable[Job]) -> dict[str, float]:
    """Expected seconds of each job from its start, {key: seconds}: one process, every evaluation at full length."""
    return {job.key: training(job).seconds(job) for job in jobs}
