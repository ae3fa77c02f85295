"""The card of a data set: its content, where it comes from, and how a replica differs from D4RL."""

from pathlib import Path
from typing import Any

import numpy as np

from synthlib.offline.datasets import OfflineDataset, load, trajectories
from synthlib.offline.episodes import episode_bounds
from synthlib.offline.masses import choose_masses
from synthlib.offline.sources import reference_returns
from synthlib.tasks import masses_of_robot, normalised_score

BINS = 20
BARS = " ▁▂▃▄▅▆▇█"

# Number of transitions in D4RL's own v2 files, from a public note. The note does not cover the ant (faithfulness 7.4).
D4RL_SIZES = {
    "halfcheetah-medium": 1_000_000,
    "halfcheetah-medium-replay": 202_000,
    "halfcheetah-medium-expert": 2_000_000,
    "hopper-medium": 999_906,
    "hopper-medium-replay": 402_000,
    "hopper-medium-expert": 1_999_400,
    "walker2d-medium": 999_995,
    "walker2d-medium-replay": 302_000,
    "walker2d-medium-expert": 1_999_209,
}
# Approximate average normalised return of D4RL's medium files: common knowledge, not measured by this project.
D4RL_MEDIUM_SCORES = {"halfcheetah": 42, "hopper": 44, "walker2d": 62, "ant": 80}

REPLICA_DIFFERENCES = (
    "behaviour policies: TD3 with Gaussian exploration noise 0.1, trained by this project; D4RL used SAC",
    "physics: MuJoCo 3.3.7 through gymnasium's v4 environments; D4RL used MuJoCo 2.0 through mujoco-py",
    "medium-expert is medium followed by expert, joined at load; next observations are the next rows",
    "scores of runs on it are not comparable with the paper's cells",
)


def episode_statistics(
    environment: str,
    rewards: np.ndarray,
    terminals: np.ndarray,
    timeouts: np.ndarray | None = None,
    reference: tuple[float, float] | None = None,
) -> dict[str, int | float]:
    """Statistics of the whole episodes in flat arrays (N,): their number, lengths (steps) and returns.

    ``terminations`` counts the episodes that the environment terminated. ``score`` is the normalised mean return x 100,
    by the robot's reference returns or ``reference``. Standard deviations have ddof 0. Raises
    ValueError when no episode ends.
    """
    starts, stops = episode_bounds(terminals if timeouts is None else terminals | timeouts)
    if not len(stops):
        raise ValueError(f"no episode of {environment} ends within {len(rewards)} transitions")
    returns = np.add.reduceat(rewards[: stops[-1]], starts, dtype=np.float64)
    lengths = stops - starts
    return {
        "transitions": len(rewards),
        "episodes": len(returns),
        "terminations": int(np.count_nonzero(terminals)),
        "mean_return": float(returns.mean()),
        "std_return": float(returns.std()),
        "score": float(normalised_score(environment, returns.mean(), reference)),
        "mean_length": float(lengths.mean()),
        "std_length": float(lengths.std()),
    }


def episode_returns(dataset: OfflineDataset) -> np.ndarray:
    """Raw returns (E,) float64 of the whole episodes."""
    return np.array([episode.rewards.sum(dtype=np.float64) for episode in trajectories(dataset)])


def card(name: str, data: str = "replica", cache: str | Path | None = None) -> dict[str, Any]:
    """The card of data set ``name`` as a plain dictionary (JSON types only).

    It has the keys of :func:`episode_statistics` and these:

    * ``name``, ``source`` (the data source), ``kind`` ("replica" or "as supplied"), ``checksum``;
    * ``masses``, the body masses for evaluations, and ``masses_why``, half a sentence;
    * ``unfinished_rows`` after the last whole episode, ``largest_reward``, ``largest_action`` (absolute);
    * ``histogram``: the number of episodes (``counts``) by normalised return, between ``edges``;
    * ``provenance``: the metadata of each file;
    * ``differences_from_d4rl``: sentences, an empty list when the data set is no replica.

    Raises the errors of :func:`synthlib.offline.datasets.load`.
    """
    dataset = load(name, data, cache)
    timeouts = _timeouts(dataset)
    reference = reference_returns(name, data)
    statistics = episode_statistics(dataset.environment, dataset.rewards, dataset.terminals, timeouts, reference)
    counts, edges = np.histogram(normalised_score(dataset.environment, episode_returns(dataset), reference), BINS)
    replica = any(facts.get("source") == "replica" for facts in dataset.metadata.values())
    return {
        "name": name,
        "source": dataset.data_source,
        "kind": "replica" if replica else "as supplied",
        "checksum": dataset.checksum,
        "masses": _describe_masses(dataset),
        "masses_why": choose_masses(name, data, cache).why,
        **statistics,
        "unfinished_rows": int(len(dataset) - episode_bounds(dataset.terminals | timeouts)[1][-1]),
        "largest_reward": float(np.max(dataset.rewards)),
        "largest_action": float(np.abs(dataset.actions).max()),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "provenance": dataset.metadata,
        "differences_from_d4rl": [*REPLICA_DIFFERENCES, *_compared(dataset, statistics)] if replica else [],
    }


def _timeouts(dataset: OfflineDataset) -> np.ndarray:
    """Rows where time ran out, bool (N,): from the file, else every episode end that is not terminal."""
    if dataset.timeouts is not None:
        return dataset.timeouts
    lengths = [len(episode.rewards) for episode in trajectories(dataset)]
    ends = np.isin(np.arange(len(dataset)), np.cumsum(lengths) - 1)
    return ends & ~dataset.terminals


def _describe_masses(dataset: OfflineDataset) -> str:
    """The name of the masses, and what the robot weighs under it when that is another name."""
    robot = masses_of_robot(dataset.environment, dataset.masses)
    return robot if robot == dataset.masses else f"{dataset.masses} (this robot: {robot})"


def _compared(dataset: OfflineDataset, statistics: dict[str, int | float]) -> list[str]:
    """Sentences that compare body masses, size and level of a replica with D4RL's, where D4RL's are known."""
    lines = []
    if masses_of_robot(dataset.environment, dataset.masses) != "d4rl":
        lines.append("body masses: today's MuJoCo's; D4RL's MuJoCo weighed capsules otherwise")
    if dataset.name in D4RL_SIZES:
        lines.append(f"size: {len(dataset):,} transitions; D4RL has {D4RL_SIZES[dataset.name]:,}")
    if dataset.tier == "medium":
        level = D4RL_MEDIUM_SCORES[dataset.environment]
        lines.append(f"level: {statistics['score']:.1f} on average; D4RL's medium is near {level}")
    return lines


def card_markdown(card: dict[str, Any]) -> str:
    """A card (see :func:`card`) as a page of Markdown."""
    counts = np.array(card["histogram"]["counts"])
    heights = np.ceil(counts / max(counts.max(), 1) * (len(BARS) - 1)).astype(int)
    low, high = card["histogram"]["edges"][0], card["histogram"]["edges"][-1]
    lines = [
        f"### {card['name']} ({card['kind']})",
        "",
        "| | |",
        "|---|---|",
        f"| transitions, episodes | {card['transitions']:,}, {card['episodes']:,} |",
        f"| return (normalised x 100) | {card['mean_return']:.0f} ± {card['std_return']:.0f} ({card['score']:.1f}) |",
        f"| episode length | {card['mean_length']:.0f} ± {card['std_length']:.0f} |",
        f"| ended by itself | {card['terminations']:,} of {card['episodes']:,} |",
        f"| normalised returns, {low:.0f} to {high:.0f} | `{''.join(BARS[height] for height in heights)}` |",
        f"| source | {card['source']} |",
        f"| body masses for evaluations | {card['masses']}, {card['masses_why']} |",
        f"| SHA-256 | `{card['checksum'][:16]}` |",
    ]
    lines += [
        f"| {file} | {facts['algorithm']} |" for file, facts in card["provenance"].items() if "algorithm" in facts
    ]
    if card["differences_from_d4rl"]:
        lines += ["", "How it differs from D4RL:", ""] + [f"* {line}" for line in card["differences_from_d4rl"]]
    return "\n".join(lines) + "\n"
