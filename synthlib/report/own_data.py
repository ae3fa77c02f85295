"""Pictures and information content of the data that generators of one's own make, for the page of any table."""

import math
from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from synthlib.cql.pretraining import config_of
from synthlib.generators.checked import VectorTransitions
from synthlib.generators.information import entropy
from synthlib.generators.mdp import IndexTransitions
from synthlib.generators.registry import Generated, generate
from synthlib.report.figures import COLOURS, Drawing
from synthlib.report.heat_maps import TIMES_UNIFORM, heat_maps
from synthlib.runs.job import Job
from synthlib.study.plan import Plan

_TOKENS = 2_000_000  # at most, of a sample
_TRANSITIONS = 20_000
_SHOWN = 200  # tokens of a heat map
_NEIGHBOURS = 10


def generated_of_plan(plan: Plan) -> dict[str, tuple[Generated, tuple[int, ...]]]:
    """{arm: (its data, what :func:`generate` needs besides)} of the arms with a generator, for one data set each."""
    found = {}
    for cell in plan.cells:
        for job in cell.job.requires:
            if cell.arm not in found and (data := _generated(job)) is not None:
                found[cell.arm] = data
    return found


def _generated(job: Job) -> tuple[Generated, tuple[int, ...]] | None:
    if job.kind == "gpt2_pretraining" and "generated" in job.config["data"]:
        return Generated(**job.config["data"]["generated"]), (job.config["gpt2"]["sequence_length"],)
    if job.kind == "critic_pretraining" and isinstance(data := config_of(job.config).mdp, Generated):
        return data, (job.config["observation_width"], job.config["action_width"])
    return None


def samples(plan: Plan) -> dict[str, tuple[Generated, np.ndarray | IndexTransitions | VectorTransitions]]:
    """{arm: (its data, a sample of them)} of the arms with a generator."""
    return {arm: (data, _sample(data, given)) for arm, (data, given) in generated_of_plan(plan).items()}


def _sample(data: Generated, given: tuple[int, ...]) -> np.ndarray | IndexTransitions | VectorTransitions:
    size = max(1, _TOKENS // given[0]) if len(given) == 1 else _TRANSITIONS
    found: np.ndarray | IndexTransitions | VectorTransitions
    found = generate(Generated(**vars(data) | {"size": min(size, 20_000)}), *given)
    return found


def pictures(plan: Plan) -> Iterator[tuple[str, Drawing]]:
    """(name of a file, drawing) for the arms with a generator.

    Tokens and numbers of states are shown as heat maps, transitions of vectors as clouds.
    """
    of_plan = samples(plan)
    tokens = {arm: (data, one) for arm, (data, one) in of_plan.items() if isinstance(one, np.ndarray)}
    if tokens:
        yield "own_tokens", token_maps(tokens)
    vectors = {arm: one for arm, (_, one) in of_plan.items() if isinstance(one, VectorTransitions)}
    if vectors:
        yield "own_transitions", transition_clouds(vectors)
    if numbers := {arm: one for arm, (_, one) in of_plan.items() if isinstance(one, IndexTransitions)}:
        yield "own_states", state_maps(numbers)


def information_table(plan: Plan) -> pd.DataFrame:
    """A row per arm with a generator: :func:`token_information`, or :func:`explained_share` of the next observation."""
    rows = {}
    for arm, (data, one) in samples(plan).items():
        if isinstance(one, np.ndarray):
            rows[arm] = token_information(one, data.parameters["vocabulary"])
        elif isinstance(one, VectorTransitions):
            rows[arm] = {"explained by its nearest neighbours": explained_share(one)}
        else:
            rows[arm] = {"mutual information of pair and next state": pair_information(one)}
    return pd.DataFrame.from_dict(rows, orient="index")


def token_information(tokens: np.ndarray, vocabulary: int) -> dict[str, float]:
    """What there is to learn from ``tokens`` (n, T) by looking back one token, in nats per token, from the sample.

    The bias of estimated entropies is taken off (Miller and Madow): about (V - 1)^2 / (2 n T) nats.
    """
    shared = _shared(tokens[:, :-1].ravel(), tokens[:, 1:].ravel())
    most = float(entropy(np.bincount(tokens.ravel(), minlength=vocabulary) / tokens.size))
    return {
        "blind guess": math.log(vocabulary),
        "knows frequencies": most,
        "looks back one token": most - shared,
        "mutual information": shared,
    }


def pair_information(data: IndexTransitions) -> float:
    """What the pair of state and action says about the next state, in nats, from the sample."""
    return _shared(data.observations * (data.actions.max() + 1) + data.actions, data.next_observations)


def _shared(first: np.ndarray, second: np.ndarray) -> float:
    """Mutual information of two columns of numbers (n,), in nats, less its bias, and never below 0."""
    both = first.astype(np.int64) * (int(second.max()) + 1) + second  # of 50,000 words, too many for 32 bits
    counts = [np.unique(column, return_counts=True)[1] for column in (first, second, both)]
    parts = [float(entropy(count / len(first))) + (len(count) - 1) / (2 * len(first)) for count in counts]
    return max(0.0, parts[0] + parts[1] - parts[2])


def explained_share(data: VectorTransitions, neighbours: int = _NEIGHBOURS) -> float:
    """The share of the variance of the next observation that observation and action explain, from below.

    Each of 1,000 transitions is predicted by the mean of its nearest neighbours among the others. With many dimensions
    neighbours are far, and the true share is larger.
    """
    inputs = np.concatenate([data.observations, data.actions], axis=1)
    inputs = inputs / np.maximum(inputs.std(axis=0), 1e-9)
    asked, known = inputs[:1000], inputs[1000:]
    distances = (known**2).sum(axis=1) - 2 * asked @ known.T
    nearest = np.argpartition(distances, neighbours, axis=1)[:, :neighbours]
    predicted, wanted = data.next_observations[1000:][nearest].mean(axis=1), data.next_observations[:1000]
    return max(0.0, float(1 - ((predicted - wanted) ** 2).mean() / wanted.var(axis=0).mean()))


def token_maps(samples: dict[str, tuple[Generated, np.ndarray]]) -> Drawing:
    """How often each token follows each, as a multiple of 1/V: a panel per arm, of the first 200 tokens at most."""
    maps, words = {}, []
    for arm, (data, tokens) in samples.items():
        vocabulary = data.parameters["vocabulary"]
        shared = token_information(tokens, vocabulary)["mutual information"]
        title = f"{arm}\n{shared:.3f} nat between neighbours"
        maps[title] = _following(tokens[:, :-1].ravel(), tokens[:, 1:].ravel(), vocabulary)
        words.append(f"{arm}: {shared:.3f}")
    note = (
        "How often a token follows another in a sample, as a multiple of 1/V, on a logarithmic scale from 0.1 to 100."
    )
    figure = heat_maps(maps, TIMES_UNIFORM, "times 1/V", ("next token", "token"), note)
    return figure, f"Heat maps of which token follows which. {note} Nats between neighbours: {'; '.join(words)}."


def state_maps(samples: dict[str, IndexTransitions]) -> Drawing:
    """How often each state follows each, whatever the action, as a multiple of 1/S: a panel per arm."""
    maps, words = {}, []
    for arm, one in samples.items():
        states = int(max(one.observations.max(), one.next_observations.max())) + 1
        shared = pair_information(one)
        title = f"{arm}\n{shared:.3f} nat of pair and next state"
        maps[title] = _following(one.observations, one.next_observations, states)
        words.append(f"{arm}: {shared:.3f}")
    note = (
        "How often a state follows another in a sample, as a multiple of 1/S, on a logarithmic scale from 0.1 to 100."
    )
    figure = heat_maps(maps, TIMES_UNIFORM, "times 1/S", ("next state", "state"), note)
    return figure, f"Heat maps of which state follows which. {note} Nats of pair and next state: {'; '.join(words)}."


def _following(first: np.ndarray, second: np.ndarray, values: int) -> np.ndarray:
    """How often each value of ``second`` stands beside each of ``first``, as a multiple of 1/values.

    Of the first 200 values at most: a table of all would not fit the memory where there are many.
    """
    shown = min(values, _SHOWN)
    of_first = np.bincount(first, minlength=values)[:shown, None]
    seen = (first < shown) & (second < shown)
    counts = np.bincount(first[seen].astype(np.int64) * shown + second[seen], minlength=shown**2)
    return counts.reshape(shown, shown) / np.maximum(of_first, 1) * values


def transition_clouds(samples: dict[str, VectorTransitions]) -> Drawing:
    """Observations and what follows them, in their first two dimensions: a panel per arm."""
    figure, grid = plt.subplots(1, len(samples), figsize=(3.4 * len(samples), 3.6), squeeze=False, layout="constrained")
    words = []
    for axis, (arm, data) in zip(grid[0], samples.items(), strict=True):
        few = slice(0, 2000)
        axis.scatter(*data.observations[few, :2].T, s=4, color="0.75", linewidths=0, label="observation")
        axis.scatter(
            *data.next_observations[few, :2].T, s=4, color=COLOURS[0], alpha=0.5, linewidths=0, label="next observation"
        )
        share = explained_share(data)
        axis.set_title(f"{arm}\n{share:.0%} explained by neighbours", fontsize=10)
        axis.set_xlabel("dimension 1")
        words.append(f"{arm}: {share:.0%}")
    grid[0][0].set_ylabel("dimension 2")
    grid[0][0].legend(fontsize=8, frameon=False, markerscale=3)
    return figure, f"Clouds of observations and next observations. Explained by nearest neighbours: {'; '.join(words)}."
