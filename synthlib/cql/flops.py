"""Floating-point operations of the matrix products that CQL needs at least; a multiply-add counts as two.

Not counted are gradients that nothing reads, and repeated products of the state with the first layer of a critic: one
per state is enough. Elementwise operations and products of weights with weights are not counted either. The counts of
the plain programs are in faithfulness 9.7; the counts here are 5 to 50 % smaller.
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
    """Operations of one CQL update: both critics, their targets, the policy."""
    state_part, action_part = observation_width * hidden[0], action_width * hidden[0]  # of a critic's first layer
    above = _between(hidden) + hidden[-1]  # further layers and head of a critic
    trained = 3 * sampled_actions + 1  # pairs (s, a) per state that the critics learn from; the policy adds one more
    forward = state_part + (trained + 1) * (action_part + above)
    backward = state_part + trained * (action_part + 2 * above) + above + action_part
    target = state_part + action_part + above
    policy = state_part + _between(hidden) + hidden[-1] * 2 * action_width
    policy_backward = 2 * policy - state_part
    return 2 * batch_size * (2 * (forward + backward + target) + 2 * policy + policy_backward)


def pretraining_update(
    observation_width: int,
    action_width: int,
    outputs: int | None = None,
    batch_size: int = 256,
    hidden: Sequence[int] = (256, 256),
) -> int:
    """Operations of one pre-training update of both critics.

    ``outputs`` is the width of the vector that the critics predict; None means the width of a state.
    """
    outputs = observation_width if outputs is None else outputs
    from_inputs = (observation_width + action_width) * hidden[0]
    forward = from_inputs + _between(hidden) + hidden[-1] * outputs
    return 2 * batch_size * 2 * (3 * forward - from_inputs)


def finetuning(job: Job) -> int:
    """Operations of all updates of a "cql" job. Its evaluations are not counted: a hundredth of the updates'."""
    config = job.config
    widths = DIMENSIONS[environment_of(config["dataset"]["name"])]
    cql = config["cql"]
    return job.updates * update(*widths, cql["sampled_actions"], config["batch_size"], cql["hidden"])


def pretraining(job: Job) -> int:
    """Operations of all updates of a "critic_pretraining" job."""
    widths = job.config["observation_width"], job.config["action_width"]
    both = job.config["mdp"]["kind"] in ("identity", "mapping")
    outputs = sum(widths) if both else widths[0]
    return job.updates * pretraining_update(*widths, outputs, hidden=job.config["hidden"])


def _between(hidden: Sequence[int]) -> int:
    """Multiply-adds per row of the layers from the first hidden layer to the last."""
    return sum(width * following for width, following in pairwise(hidden))
