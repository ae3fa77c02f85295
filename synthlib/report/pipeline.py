"""A drawing of the whole method: which weights are copied, which are drawn anew, and which switches differ by arm."""

from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from synthlib.report.figures import Drawing
from synthlib.report.palette import COLOURS

_WARM, _COLD, _PAPER = COLOURS[0], "0.55", "0.93"


class _Method(NamedTuple):
    data: str
    network: str
    task: str
    copied: str
    fresh: str
    arms: tuple[tuple[str, str, str, str], ...]  # name, initial weights, pre-training, switches of fine-tuning


_METHODS = {
    "dt": _Method(
        data="random Markov chain\n100 states, meaningless",
        network="GPT-2, 3 layers",
        task="predict the next token",
        copied="copied: blocks, last layer norm,\nposition table (as time embedding)",
        fresh="new: embeddings of return, state\nand action; output heads",
        arms=(
            ("DT", "its own, per seed", "none", "own time embedding, untied heads, eps 1e-8"),
            ("DT, matched", "where pre-training starts", "none", "position table, tied heads, eps 1e-6"),
            ("DT+Synthetic", "where pre-training starts", "20,000 updates", "position table, tied heads, eps 1e-6"),
        ),
    ),
    "cql": _Method(
        data="random MDP, 100 states\nand actions, meaningless",
        network="two critics,\n2 hidden layers",
        task="predict the next state's vector",
        copied="copied: hidden layers of both\ncritics, and Q heads as drawn",
        fresh="new: policy; thrown away:\nheads of the prediction",
        arms=(
            ("CQL", "its own, per seed", "none", "the same"),
            ("CQL, matched", "one for all seeds", "none", "the same"),
            ("CQL+MDP", "one for all seeds", "100,000 updates", "the same"),
        ),
    ),
}


def pipeline(algorithm: str) -> Drawing:
    """(figure, alt text) of the method for "dt" or "cql"; KeyError for another.

    Above the four stages and the weights that go from one to the next, below a row per arm of the main table.
    """
    method = _METHODS[algorithm]
    figure, axis = plt.subplots(figsize=(10.5, 5.2), layout="constrained")
    learner = "Decision Transformer" if algorithm == "dt" else "CQL"
    boxes = (
        ("1 synthetic data", method.data),
        ("2 pre-training", f"{method.network}:\n{method.task}"),
        ("3 fine-tuning", f"{learner}\non offline data of a robot"),
        ("4 evaluation", "10 episodes in MuJoCo,\nnormalised score"),
    )
    for place, (title, text) in enumerate(boxes):
        _box(axis, 2.6 * place, 3.2, title, text)
    for place, colour in ((0, "0.3"), (1, _WARM), (2, "0.3")):
        axis.annotate(
            "", (2.6 * place + 2.6, 3.75), (2.6 * place + 2.1, 3.75),
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 3 if colour == _WARM else 1.5},
        )  # fmt: skip
    axis.text(4.95, 3.05, method.copied, color=_WARM, fontsize=8.5, ha="center", va="top", weight="bold")
    axis.text(7.4, 3.05, method.fresh, color="0.25", fontsize=8.5, ha="center", va="top")
    heads = ("arm", "initial weights", "pre-training", "switches of fine-tuning")
    places = (0.0, 2.0, 4.4, 6.3)
    for x, head in zip(places, heads, strict=True):
        axis.text(x, 2.0, head, fontsize=9, weight="bold")
    for row, (name, *cells) in enumerate(method.arms):
        y = 1.5 - 0.5 * row
        trained = cells[1] != "none"
        axis.axhline(y + 0.32, color="0.85", linewidth=0.8)
        for x, cell in zip(places, (name, *cells), strict=True):
            axis.text(x, y, cell, fontsize=9, color=_WARM if trained and x == places[2] else "black")
    axis.set_xlim(-0.1, 10.1)
    axis.set_ylim(0.2, 4.5)
    axis.axis("off")
    rows = "; ".join(
        f"{name}: initial weights {start}, pre-training {length}, switches {flags}"
        for name, start, length, flags in method.arms
    )
    stages = "; ".join(f"{title}: {' '.join(text.split())}" for title, text in boxes)
    kept = " ".join(f"{method.copied}; {method.fresh}".split())
    return figure, f"The method in four stages. {stages}. From pre-training to fine-tuning, {kept}. {rows}."


def _box(axis: Axes, x: float, y: float, title: str, text: str) -> None:
    axis.add_patch(plt.Rectangle((x, y), 2.1, 1.1, facecolor=_PAPER, edgecolor=_COLD))
    axis.text(x + 1.05, y + 0.88, title, ha="center", va="center", fontsize=9.5, weight="bold")
    axis.text(x + 1.05, y + 0.4, text, ha="center", va="center", fontsize=8.5)
