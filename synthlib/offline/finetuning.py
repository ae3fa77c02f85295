"""Shared by the fine-tuning runs of all algorithms: their description, and their evaluations in the environment.

The ``config`` of a fine-tuning job has at least ``dataset: {name, checksum}``, ``physics``
(:func:`synthlib.tasks.physics_version`), ``seed`` and ``evaluation: {every, episodes}``. Its ``context`` has the
``source`` of the data.
"""

from collections.abc import Callable, Mapping
from typing import Any

from synthlib.offline.evaluation import Evaluation, evaluation_seed
from synthlib.offline.sources import reference_returns
from synthlib.runs.job import Job
from synthlib.tasks import MAX_EPISODE_STEPS


def describe_finetuning(job: Job) -> str:
    """The job in words, for example "cql on hopper-medium, seed 3, 40 updates"."""
    return f"{job.kind} on {job.config['dataset']['name']}, seed {job.config['seed']}, {job.updates} updates"


def evaluation_steps(job: Job) -> int:
    """The number of environment steps in all evaluations of a job, if no episode ends early."""
    evaluation = job.config["evaluation"]
    return job.updates // evaluation["every"] * evaluation["episodes"] * MAX_EPISODE_STEPS


def evaluation_of(dataset: str, source: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """How a run is evaluated: part of its identity. Reference returns only where a file beside the data gives some."""
    found = reference_returns(dataset, source)
    given = {} if found is None else {"reference_returns": list(found)}
    return {"every": settings["evaluate_every"], "episodes": settings["episodes"]} | given


def reference_of(config: Mapping[str, Any]) -> tuple[float, float] | None:
    """The reference returns in a job's ``config``; None where they are those of the robot."""
    given = config["evaluation"].get("reference_returns")
    return None if given is None else (given[0], given[1])


def evaluated(run_seed: int, updates: int, evaluate: Callable[[int], Evaluation]) -> dict[str, Any]:
    """Evaluate, and return the row of ``evaluations.csv`` after ``updates`` updates."""
    seed = evaluation_seed(run_seed, updates)
    result = evaluate(seed)
    return {
        "updates": updates,
        "score": result.score,
        "return_mean": float(result.returns.mean()),
        "return_std": float(result.returns.std()),
        "length_mean": float(result.lengths.mean()),
        "environment_seed": seed,
    }
