"""The page of the data (notebooks/01_datasets.ipynb): the data sets of one source side by side, and checks of them.

A source may lack data sets: the page names them and goes on without them. What the page shows of behaviour policies
and of clones is in ``synthlib/replica/page.py``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from synthlib.machine.files import write_json, write_text
from synthlib.offline.cards import D4RL_SIZES, card, card_markdown, episode_returns
from synthlib.offline.datasets import load
from synthlib.offline.sources import (
    checksum,
    data_sets_there,
    find_files,
    folder_suffix,
    parse_source,
    reference_returns,
)
from synthlib.paths import data_cache, outputs
from synthlib.study.presets import load_sections
from synthlib.tasks import DATASETS, ENVIRONMENTS, environment_of, normalised_score, parse_name

TIERS = ("medium", "medium-replay", "medium-expert")
BINS = 40
GREY = "0.45"
Card = dict[str, Any]
"""What is known about one data set (:func:`synthlib.offline.cards.card`)."""
Drawing = tuple[Figure, str]
"""A figure and its alt text."""


class Effort(NamedTuple):
    """What a preset spends on the checks of one data set.

    ``rows``: transitions replayed in the physics. ``updates``: of behaviour cloning. ``episodes``: of each evaluation.
    """

    rows: int
    updates: int
    episodes: int


def effort(preset: str) -> Effort:
    """What params/presets.yaml says under ``data_page``.

    Raises ParameterError for an unknown preset, and for a section without exactly the fields of :class:`Effort`.
    """
    return Effort(**load_sections(preset)["data_page"])


def page_folder(notebook: str, preset: str, source: str) -> Path:
    """``outputs/<preset>/<notebook>``, with the data in the name unless the data source is the replica.

    Raises FileNotFoundError when a ``path:DIR`` has no data set.
    """
    data = parse_source(source)
    names = find(source)[0] if data.kind == "path" else ()
    suffix = folder_suffix(data, [checksum(name, data, data_cache()) for name in names])
    return outputs() / preset / f"{notebook}{suffix}"


def find(source: str) -> tuple[list[str], dict[str, str]]:
    """(names of the data sets that are there, {name: why it is missing} for the paper's others), robot by robot.

    Besides the paper's, files that were fetched or supplied are there: an expert's, say, or data of the user's own.
    Raises FileNotFoundError when there is no data set at all. A damaged file counts as there; loading it is an error.
    """
    there = [] if parse_source(source).kind == "replica" else data_sets_there(source)
    present, missing = [], {}
    for environment in ENVIRONMENTS:
        for name in (f"{environment}-{tier}" for tier in TIERS):
            try:
                find_files(name, source)
                present.append(name)
            except FileNotFoundError as error:
                missing[name] = str(error)
        present += [name for name in there if environment_of(name) == environment and name not in DATASETS]
    if not present:
        raise FileNotFoundError(f"none of the data sets is there: {next(iter(missing.values()))}")
    return present, missing


def availability(present: Sequence[str], missing: dict[str, str]) -> str:
    """Sentences on what :func:`find` found. Only the first missing data set is given its reason."""
    others = [name for name in present if name not in DATASETS]
    papers = len(present) - len(others)
    sentence = f"{papers} of {papers + len(missing)} data sets are there."
    if others:
        sentence += f" Others, which the paper has not: {', '.join(others)}."
    if not missing:
        return sentence
    return f"{sentence}\nMissing: {', '.join(missing)}.\n{next(iter(missing.values()))}."


def cards_of(names: Sequence[str], source: str) -> dict[str, Card]:
    """The card of each data set: {name: card}. Raises what :func:`synthlib.offline.cards.card` raises."""
    return {name: card(name, source, data_cache()) for name in names}


def save_cards(cards: dict[str, Card], folder: Path) -> None:
    """Write all cards to ``folder``: cards.json for programs, cards.md for people."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "cards.json", cards)
    write_text(folder / "cards.md", "\n".join(card_markdown(card) for card in cards.values()))


def summary(cards: dict[str, Card]) -> pd.DataFrame:
    """One row of text per data set, to be displayed."""
    rows = {
        name: {
            "episodes": f"{card['episodes']:,}",
            "transitions": f"{card['transitions']:,}",
            "of D4RL's": f"{card['transitions'] / D4RL_SIZES[name]:.1%}" if name in D4RL_SIZES else "",
            "episode length": f"{card['mean_length']:.0f}",
            "mean return": f"{card['mean_return']:.0f}",
            "normalised score": f"{card['score']:.1f}",
            "ended by itself": f"{card['terminations'] / card['episodes']:.0%}",
        }
        for name, card in cards.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def foldable(cards: dict[str, Card]) -> str:
    """All cards in full as Markdown; a click unfolds one."""
    page = "<details><summary>{}</summary>\n\n{}\n</details>\n"
    return "\n".join(page.format(name, card_markdown(card)) for name, card in cards.items())


def return_histograms(names: Sequence[str], source: str) -> Drawing:
    """(figure, alt text): histograms of normalised returns, a row per environment, a column per tier."""
    environments = [environment for environment in ENVIRONMENTS if any(n.startswith(environment) for n in names)]
    tiers = [*TIERS, *dict.fromkeys(tier for name in names if (tier := parse_name(name)[1]) not in TIERS)]
    rows, columns = len(environments), len(tiers)
    size = (10 * columns / len(TIERS), 1.9 * rows + 0.6)
    figure, grid = plt.subplots(rows, columns, figsize=size, sharex="row", squeeze=False, layout="constrained")
    words = []
    for environment, row in zip(environments, grid, strict=True):
        scores = {}
        for tier in (tier for tier in tiers if f"{environment}-{tier}" in names):
            name = f"{environment}-{tier}"
            returns = episode_returns(load(name, source, data_cache()))
            scores[tier] = normalised_score(environment, returns, reference_returns(name, source))
        edges = np.histogram_bin_edges(np.concatenate(list(scores.values())), BINS)
        for axis, tier in zip(row, tiers, strict=True):
            axis.set_title(f"{environment}, {tier}", fontsize=10)
            if tier not in scores:
                axis.text(0.5, 0.5, "not there", transform=axis.transAxes, ha="center", color=GREY)
                axis.set_yticks([])
                continue
            mean, count = scores[tier].mean(), len(scores[tier])
            axis.hist(scores[tier], edges, weights=np.full(count, 100 / count), color=GREY)
            axis.axvline(mean, color="black", linestyle="--", linewidth=1.2)
            axis.set_ymargin(0.3)  # room for the number
            axis.annotate(f" mean {mean:.0f}", (mean, 0.9), xycoords=("data", "axes fraction"), fontsize=9)
            words.append(f"{environment}-{tier} {mean:.0f} ({scores[tier].min():.0f} to {scores[tier].max():.0f})")
        row[0].set_ylabel("% of episodes")
    figure.supxlabel("normalised return of an episode (each row has its own scale)", fontsize=9)
    sns.despine(figure)
    return figure, f"Histograms of normalised returns; mean and range: {'; '.join(words)}."
