"""Expected duration of a plan on this machine, from a short measurement of each kind of update and step."""

from collections.abc import Iterable

from synthlib.runs.job import Job
from synthlib.study.algorithms import training


def seconds_of(jobs: Iterable[Job]) -> dict[str, float]:
    """{key of a job: expected seconds from its start}, with one process and full-length evaluations."""
    return {job.key: training(job).seconds(job) for job in jobs}
