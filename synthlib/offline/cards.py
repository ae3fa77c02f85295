"""The card of a data set: what is in it, where it is from, and how a replica differs from D4RL."""

import numpy as np

from synthlib.offline.datasets import load, trajectories
from synthlib.tasks import normalised_score

BINS = 20
BARS = " ▁▂▃▄▅▆▇█"

# Transitions in D4RL's own v2 files, from a public note (faithfulness 7.4). That note lacks the ant's.
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
# About the average normalised return of D4RL's medium files: common knowledge, not measured by this project.
D4RL_MEDIUM_SCORES = {"halfcheetah": 42, "hopper": 44, "walker2d": 62, "ant": 80}

REPLICA_DIFFERENCES = (
    "behaviour policies: TD3 with Gaussian exploration noise 0.1, trained by this project; D4RL used SAC",
    "physics: MuJoCo 3.3.7 through gymnasium's v4 environments; D4RL used MuJoCo 2.0 through mujoco-py",
    "medium-expert is medium followed by expert, joined at load; next observations are the next rows",
    "scores of runs on it are not comparable with the paper's cells",
)


def episode_ends(terminals, timeouts=None):
    """(starts, stops) row indices of the whole episodes in flat flags (N,); an unfinished tail is left out."""
    stops = np.flatnonzero(terminals if timeouts is None else terminals | timeouts) + 1
    return np.concatenate([[0], stops[:-1]]).astype(int), stops


def episode_statistics(environment, rewards, terminals, timeouts=None):
    """Numbers of the whole episodes in flat arrays (N,): how many, how long, how good, and how they ended."""
    starts, stops = episode_ends(terminals, timeouts)
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
        "score": float(normalised_score(environment, returns.mean())),
        "mean_length": float(lengths.mean()),
        "std_length": float(lengths.std()),
    }


def episode_returns(data):
    """Raw returns (E,) float64 of the whole episodes of an ``OfflineDataset``."""
    return np.array([episode.rewards.sum(dtype=np.float64) for episode in trajectories(data)])


def card(name, source="replica", cache=None):
    """The card of a data set as a plain dictionary (JSON types only).

    ``histogram`` counts episodes by normalised return between its ``edges``. Raises as ``datasets.load``.
    """
    data = load(name, source, cache)
    timeouts = _timeouts(data)
    statistics = episode_statistics(data.environment, data.rewards, data.terminals, timeouts)
    counts, edges = np.histogram(normalised_score(data.environment, episode_returns(data)), BINS)
    replica = any(facts.get("source") == "replica" for facts in data.metadata.values())
    return {
        "name": name,
        "source": data.source,
        "kind": "replica" if replica else "as supplied",
        "checksum": data.checksum,
        "masses": data.masses,
        **statistics,
        "unfinished_rows": int(len(data) - episode_ends(data.terminals, timeouts)[1][-1]),
        "largest_reward": float(np.max(data.rewards)),
        "largest_action": float(np.abs(data.actions).max()),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "provenance": data.metadata,
        "differences_from_d4rl": list(REPLICA_DIFFERENCES) + _size_and_level(data, statistics) if replica else [],
    }


def _timeouts(data):
    """Where time ran out, bool (N,): as the file says, or where episodes end that did not end by themselves."""
    if data.timeouts is not None:
        return data.timeouts
    lengths = [len(episode.rewards) for episode in trajectories(data)]
    ends = np.isin(np.arange(len(data)), np.cumsum(lengths) - 1)
    return ends & ~data.terminals


def _size_and_level(data, statistics):
    lines = []
    if data.name in D4RL_SIZES:
        lines.append(f"size: {len(data):,} transitions; D4RL has {D4RL_SIZES[data.name]:,}")
    if data.tier == "medium":
        level = D4RL_MEDIUM_SCORES[data.environment]
        lines.append(f"level: {statistics['score']:.1f} on average; D4RL's medium is near {level}")
    return lines


def card_markdown(card):
    """A card as a page of Markdown."""
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
        f"| source, body masses | {card['source']}, {card['masses']} |",
        f"| SHA-256 | `{card['checksum'][:16]}` |",
    ]
    lines += [
        f"| {file} | {facts['algorithm']} |" for file, facts in card["provenance"].items() if "algorithm" in facts
    ]
    if card["differences_from_d4rl"]:
        lines += ["", "How it differs from D4RL:", ""] + [f"* {line}" for line in card["differences_from_d4rl"]]
    return "\n".join(lines) + "\n"
