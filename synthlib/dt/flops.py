"""Floating-point operations of the matrix products that the Decision Transformer needs at least.

A multiply-add counts as two. The counts leave out all work that the fast code can avoid: gradients that are not used,
attention to the future, two of the four projections of one-headed attention (:mod:`synthlib.dt.attention_fast`), and
everything that feeds only outputs without loss. Elementwise operations and products of weights with weights are not
counted. The counts of the plain programs are in faithfulness 9.7; the counts here are 5 to 50 % smaller.
"""

from collections.abc import Iterable
from typing import Any

from synthlib.dt.windows import CONTEXT
from synthlib.runs.job import Job


def update(
    observation_width: int, action_width: int, batch_size: int = 64, steps: int = 20, width: int = 128, layers: int = 3
) -> int:
    """Operations of one update of the Decision Transformer on windows of ``steps`` steps."""
    tokens = 3 * steps
    square = width**2
    full_layer = tokens * 10 * square + _causal(range(1, tokens + 1), width)
    last_layer = steps * 10 * square + _causal(range(2, tokens + 1, 3), width)
    embedding = steps * (observation_width + action_width + 1) * width
    head = steps * action_width * width
    return 2 * batch_size * (3 * ((layers - 1) * full_layer + last_layer + head) + 2 * embedding)


def action(observation_width: int, action_width: int, steps: int = 20, width: int = 128, layers: int = 3) -> int:
    """Operations of one action in evaluation, for a full window of ``steps`` steps.

    Only the last token has a query in the last layer. Tokens keep their embeddings while the window slides, so the
    first layer's two projections are computed for the three new tokens only.
    """
    tokens = 3 * steps - 1
    square = width**2
    attended = _causal(range(1, tokens + 1), width)
    first_layer = 3 * 2 * square + tokens * 8 * square + attended
    full_layer = tokens * 10 * square + attended
    last_layer = 10 * square + _causal([tokens], width)
    ends = (observation_width + 2 * action_width + 1) * width
    return 2 * (first_layer + (layers - 2) * full_layer + last_layer + ends)


def gpt2_update(
    vocabulary: int, sequence_length: int = 1024, batch_size: int = 64, width: int = 128, layers: int = 3
) -> int:
    """Operations of one update of GPT-2's pre-training."""
    layer = sequence_length * 10 * width**2 + _causal(range(1, sequence_length + 1), width)
    return 2 * batch_size * 3 * (layers * layer + sequence_length * width * vocabulary)


def plain_gpt2_update(
    vocabulary: int, sequence_length: int = 1024, batch_size: int = 64, width: int = 128, layers: int = 3
) -> int:
    """Operations of one update of GPT-2's pre-training in a plain program (faithfulness 9.7).

    It has all four projections of attention, and computes attention to the future before it masks it.
    """
    per_token = layers * (12 * width**2 + 2 * sequence_length * width) + vocabulary * width
    return 2 * 3 * batch_size * sequence_length * per_token


def pretraining_update(config: dict[str, Any]) -> int:
    """Operations of one update of a pre-training; ``config`` is ``asdict`` of its GPT2PretrainingConfig."""
    vocabulary = config["vocabulary"] * (2 if config["objective"] == "mapping" else 1)
    return gpt2_update(vocabulary, *(config[name] for name in ("sequence_length", "batch_size", "width", "layers")))


def finetuning(job: Job) -> int:
    """Operations of all updates of a "dt" job. Its evaluations, a hundredth of these, are left out."""
    model, batch_size = job.config["model"], job.config["training"]["batch_size"]
    widths = model["observation_width"], model["action_width"]
    steps = model.get("context", CONTEXT)
    return job.updates * update(*widths, batch_size, steps, model["width"], model["layers"])


def pretraining(job: Job) -> int:
    """Operations of all updates of a "gpt2_pretraining" job."""
    return job.updates * pretraining_update(job.config["gpt2"])


def _causal(lengths: Iterable[int], width: int) -> int:
    """Multiply-adds of the attention scores and of the weighted averages, for queries with ``lengths`` keys each."""
    return 2 * width * sum(lengths)
