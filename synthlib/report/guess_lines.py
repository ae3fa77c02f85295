"""What a pre-training's loss is to be held against: one answer for every input, and a perfect model of the data.

Losses of arms with other data start from other guesses. The loss of critics that were pre-trained on 10 states looks
low from the first update on, because the vectors of ten states vary less. So what an arm learned is its loss minus its
own guess.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from synthlib.generators.centroids import centroids, expected_spread, variance
from synthlib.generators.information import information, mean_row_entropy
from synthlib.generators.markov_chain import ChainConfig
from synthlib.generators.mdp import MDPConfig, generate, vectors
from synthlib.kernels.twins import best
from synthlib.runs.job import Job

_SOLVED = 100  # states; of larger MDPs the floor is given by a formula
_GENERATED = 1_000  # states; of larger data sets all states are taken to be equally frequent
_ROWS = 10  # of a large chain, from which its entropy rate is estimated


class GuessLine(NamedTuple):
    """Two losses on the scale of a pre-training's logged loss; NaN where nobody knows them."""

    guess: float
    """Of the best single answer for every input"""
    floor: float
    """Of a model that knows the distribution behind the data. Only memorising the data themselves can go below"""


def guess_line(job: Job) -> GuessLine:
    """The :class:`GuessLine` of a pre-training, from its config."""
    if job.kind == "critic_pretraining":
        widths = job.config["observation_width"], job.config["action_width"]
        return _of_critics(tuple(sorted(job.config["mdp"].items())), widths)
    if job.kind == "gpt2_pretraining" and "chain" in job.config["data"]:
        return _of_chain(tuple(sorted(job.config["data"]["chain"].items())), job.config["gpt2"]["objective"])
    return GuessLine(math.nan, math.nan)  # nobody knows the entropy of a text


@cache
def _of_critics(fields: tuple[tuple[str, Any], ...], widths: tuple[int, int]) -> GuessLine:
    """Twice the variance of what is predicted, mean over its entries: the logged loss sums both critics."""
    data = MDPConfig(**dict(fields))
    states, actions = (table.astype(float) for table in vectors(data, *widths))
    if data.kind in ("identity", "mapping"):  # uniform indices; the second half of mapping's tables is predicted
        predicted = [table[-count:] for table, count in ((states, data.states), (actions, data.actions))]
        return GuessLine(2 * float(np.concatenate([table.var(axis=0) for table in predicted]).mean()), 0.0)
    if data.kind == "mdp" and data.states <= _SOLVED:
        found = centroids(data, best(generate, data)(data), states)
        return GuessLine(2 * found.total, 2 * (found.total - variance(found.exact, found.visits)))
    counts = np.ones(data.states, dtype=np.int64)
    if data.kind == "mdp" and data.states <= _GENERATED:
        counts = np.bincount(best(generate, data)(data).next_observations, minlength=data.states)
    total = variance(states, counts)
    exact, _ = expected_spread(data, transitions=1, pairs=0, total=total)
    return GuessLine(2 * total, 2 * (total - exact))


@cache
def _of_chain(fields: tuple[tuple[str, Any], ...], objective: str) -> GuessLine:
    """Entropies in nats per token. Only a chain of order 1 has one stationary row that can be solved for."""
    chain = ChainConfig(**dict(fields))
    blind = math.log(chain.states)
    if objective != "next_token":
        return GuessLine(blind, 0.0)
    if chain.kind != "chain":
        return GuessLine(blind, blind)
    if chain.order == 1 and chain.states <= _GENERATED:
        found = information(chain)
        return GuessLine(found.stationary_entropy, found.entropy_rate)
    return GuessLine(blind, mean_row_entropy(chain, ([token] * chain.order for token in range(_ROWS))))
