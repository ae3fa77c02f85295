"""The page of the chain with a dial: its transitions, and the way from what there is to learn to probabilities."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
import seaborn as sns

from synthlib.generators.brackets import Losses
from synthlib.generators.dial_chain import probability, successors, transition_matrix
from synthlib.generators.information import information
from synthlib.generators.markov_chain import ChainConfig
from synthlib.report.figures import COLOURS, Drawing, panels_in_a_grid
from synthlib.report.heat_maps import TIMES_UNIFORM, heat_maps


def transitions(nats: Sequence[float], vocabulary: int = 100) -> Drawing:
    """All transition probabilities, a panel per information; tokens in the order of the permutation's cycles."""
    order = _by_cycles(vocabulary)
    maps = {
        f"{one:g} nat\nlikeliest next token: {likeliest(one, vocabulary):.3f}": _ordered(one, order) * vocabulary
        for one in nats
    }
    note = "Probability of the next token as a multiple of the uniform 1/V, on a logarithmic scale from 0.1 to 100."
    words = "; ".join(f"{one:g} nat: {likeliest(one, vocabulary):.3f}" for one in nats)
    return heat_maps(maps, TIMES_UNIFORM, "times 1/V", ("next token", "token"), note), (
        f"Heat maps of the transition matrix: even grey at 0 nat, a dark line beside the diagonal that grows darker. "
        f"{note} The likeliest next token has probability {words}."
    )


def _ordered(nats: float, order: np.ndarray) -> np.ndarray:
    return transition_matrix(nats, len(order))[np.ix_(order, order)]


def _by_cycles(vocabulary: int) -> np.ndarray:
    """All tokens, each followed by its successor, one cycle of the permutation after the other."""
    following, order = successors(vocabulary), dict[int, None]()
    for start in range(vocabulary):
        while start not in order:
            order[start] = None
            start = int(following[start])
    return np.array(list(order))


def likeliest(nats: float, vocabulary: int = 100) -> float:
    """The probability of the likeliest next token."""
    follow = probability(nats, vocabulary)
    return follow + (1 - follow) / vocabulary


def dial(vocabulary: int = 100) -> Drawing:
    """The best possible loss and the likeliest next token against the information."""
    nats = np.linspace(0, math.log(vocabulary), 60)
    figure, (left, right) = panels_in_a_grid(2, width=4.5)
    default = information(ChainConfig(states=vocabulary)).mutual_information
    left.plot(nats, math.log(vocabulary) - nats, color=COLOURS[0])
    left.set_ylabel("best possible loss, nat per token")
    right.plot(nats, [likeliest(float(one), vocabulary) for one in nats], color=COLOURS[1])
    right.set_ylabel("probability of the likeliest next token")
    for axis in (left, right):
        axis.axvline(default, color="0.6", linewidth=1)
        axis.set_xlabel("mutual information of neighbours, nat")
        axis.set_ylim(0)
    left.annotate(" the paper's default", (default, 0.3), fontsize=8)
    sns.despine(figure)
    return figure, (
        f"Left: the best possible loss falls from {math.log(vocabulary):.3f} nat to 0 as neighbours share more. "
        f"Right: the likeliest next token has {likeliest(0.5, vocabulary):.2f} at 0.5 nat, "
        f"{likeliest(2, vocabulary):.2f} at 2."
    )


def finding(vocabulary: int = 100) -> str:
    """What the dial does, in one sentence written from the numbers."""
    default = information(ChainConfig(states=vocabulary)).mutual_information
    return (
        f"The paper's default chain has {default:.3f} nat between neighbours of {math.log(vocabulary):.3f}; here 0.04 "
        f"nat means a successor that comes with probability {likeliest(0.04, vocabulary):.3f} in place of "
        f"{1 / vocabulary:.2f}, 2 nat one with {likeliest(2, vocabulary):.3f}, 4 nat one with "
        f"{likeliest(4, vocabulary):.3f}."
    )


def bracket_finding(losses: Losses) -> str:
    """What there is to learn from nested brackets, in one sentence written from the numbers."""
    last, memory = losses.blind - losses.last_token, losses.last_token - losses.all_open
    return textwrap.fill(
        f"In long sequences the last token saves {last:.2f} of the {losses.blind:.3f} nat of a blind guess, all open "
        f"brackets another {memory:.2f}: together {last + memory:.2f}, of which {memory / (last + memory):.0%} ask for "
        "memory.",
        100,
    )
