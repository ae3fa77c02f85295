"""Floating-point operations of the matrix products that CQL cannot do without; a multiply-add counts as two.

Left out is what can be left out: gradients that nobody reads, and the state's half of the first critic layer more than
once. Elementwise work and products of weights alone are not counted. The counts of the plain programs are in
faithfulness 9.7; these here are 5 to 50 % smaller.
"""

from collections.abc import Sequence
from itertools import pairwise

from synthlib.runs.job import Job
from synthlib.tasks import DIMENSIONS, environment_of


def update(
    observation_width: int,
    action_width: int,
    sampled_actions: int,
    batch_size: int = 256,
    hidden: Sequence[int] = (256, 256),
) -> int:
    """One CQL update: both critics, their targets, the policy."""
    of_state, of_action = observation_width * hidden[0], action_width * hidden[0]
    above = _between(hidden) + hidden[-1]  # further layers and head of a critic
    trained = 3 * sampled_actions + 1  # pairs that the critics learn from; one more leads to the policy
    forward = of_state + (trained + 1) * (of_action + above)
    backward = of_state + trained * (of_action + 2 * above) + above + of_action
    target = of_state + of_action + above
    policy = of_state + _between(hidden) + hidden[-1] * 2 * action_width
    policy_backward = 2 * policy - of_state
    return 2 * batch_size * (2 * (forward + backward + target) + 2 * policy + policy_backward)


def pretraining_update(
    observation_width: int,
    action_width: int,
    outputs: int | None = None,
    batch_size: int = 256,
    hidden: Sequence[int] = (256, 256),
) -> int:
    """One update of both critics' prediction; ``outputs`` is the width of what they predict, a state's unless given."""
    outputs = observation_width if outputs is None else outputs
    from_inputs = (observation_width + action_width) * hidden[0]
    forward = from_inputs + _between(hidden) + hidden[-1] * outputs
    return 2 * batch_size * 2 * (3 * forward - from_inputs)


def finetuning(job: Job) -> int:
    """All updates of a "cql" job. Its evaluations, a hundredth of them, are left out."""
    config = job.config
    widths = DIMENSIONS[environment_of(config["dataset"]["name"])]
    cql = config["cql"]
    return job.updates * update(*widths, cql["sampled_actions"], config["batch_size"], cql["hidden"])


def pretraining(job: Job) -> int:
    """All updates of a "critic_pretraining" job."""
    widths = job.config["observation_width"], job.config["action_width"]
    both = job.config["mdp"]["kind"] in ("identity", "mapping")
    outputs = sum(widths) if both else widths[0]
    return job.updates * pretraining_update(*widths, outputs, hidden=job.config["hidden"])


def _between(hidden: Sequence[int]) -> int:
    return sum(width * following for width, following in pairwise(hidden))
