"""The page of the synthetic MDP (paper 4.1): its vectors, start state, shared rows and temperature, as executed."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from synthlib.generators.information import entropy, mdp_information, mdp_tables
from synthlib.generators.mdp import (
    IndexTransitions,
    MDPConfig,
    distinct_transition_rows,
    generate,
    start_states,
    transition_row,
    vectors,
)
from synthlib.kernels.twins import best
from synthlib.report.figures import Drawing, panels_in_a_grid
from synthlib.report.heat_maps import TIMES_UNIFORM, heat_maps
from synthlib.report.palette import COLOURS
from synthlib.report.printed import with_printed_average
from synthlib.tasks import DIMENSIONS

TEMPERATURES = (0.01, 0.1, 1.0, 10.0, 100.0)  # Table 7
STEPS = 9  # after the start, which the figure of the first steps shows


def tempered(temperature: float, **changes: int | bool | str) -> MDPConfig:
    """The default MDP with one temperature for policy and transitions, as in Table 7."""
    return MDPConfig(policy_temperature=temperature, transition_temperature=temperature, **changes)  # type: ignore[arg-type]


def vector_tables(environment: str = "halfcheetah") -> Drawing:
    """The vectors of all states and actions of the default MDP, and how far apart two states lie."""
    states, actions = vectors(MDPConfig(), *DIMENSIONS[environment])
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(11, 3.8), width_ratios=(states.shape[1], actions.shape[1] + 3, 26), layout="constrained"
    )
    for axis, table, name in ((left, states, "state"), (middle, actions, "action")):
        axis.imshow(table, aspect="auto", cmap="Greys", vmin=-1, vmax=1, interpolation="nearest")
        axis.set_title(f"vectors of the {name}s", fontsize=10)
        axis.set_xlabel("dimension")
        axis.set_ylabel(name)
    figure.colorbar(middle.images[0], ax=middle, label="entry")
    distances = np.linalg.norm(states[:, None] - states, axis=-1)
    nearest = np.where(np.eye(len(states), dtype=bool), np.inf, distances).min(axis=1)
    every = distances[np.triu_indices(len(states), 1)]
    bins = np.linspace(0, every.max(), 40)
    right.hist(every, bins, weights=np.full(len(every), 100 / len(every)), color="0.7", label="two states")
    share = np.full(len(nearest), 100 / len(nearest))
    right.hist(nearest, bins, weights=share, histtype="step", color=COLOURS[0], label="a state and its nearest")
    right.set_title("distance between states", fontsize=10)
    right.set_xlabel("distance")
    right.set_ylabel("%")
    right.legend(fontsize=8, frameon=False)
    sns.despine(ax=right)
    return figure, (
        f"Tables of {len(states)} random state vectors ({states.shape[1]} dimensions) and {len(actions)} action "
        f"vectors ({actions.shape[1]}), without any pattern. Two states are {every.mean():.1f} apart on average, a "
        f"state and its nearest {nearest.mean():.1f}, never less than {nearest.min():.1f}."
    )


def first_steps(temperatures: Sequence[float]) -> Drawing:
    """Where trajectories are after 0, 1, 2, ... steps, exact, a panel per temperature."""
    occupied = {temperature: occupation(tempered(temperature), STEPS) for temperature in temperatures}
    maps = {f"tau = {temperature:g}": rows * rows.shape[1] for temperature, rows in occupied.items()}
    note = "Probability of each state as a multiple of the uniform 1/S, on a logarithmic scale from 0.1 to 100."
    figure = heat_maps(maps, TIMES_UNIFORM, "times 1/S", ("state", "steps"), note, aspect="auto")
    words = []
    for temperature, rows in occupied.items():
        spread = np.exp(entropy(rows))  # the number of equally likely states that has the same entropy
        words.append(f"tau {temperature:g}: " + ", ".join(f"{spread[t]:.0f}" for t in (0, 1, 2, STEPS)))
    return figure, (
        f"Where the trajectories are, step by step. {note} Effective number of states, exp of the entropy, after 0, 1, "
        f"2 and {STEPS} steps: {'; '.join(words)}."
    )


def occupation(config: MDPConfig, steps: int) -> np.ndarray:
    """Distribution of the state after 0 to ``steps`` steps, exact: float64 (steps + 1, S)."""
    policy, transition = mdp_tables(config)
    step = np.einsum("sa,sap->sp", policy, transition)
    starts = np.bincount(start_states(config), minlength=config.states)
    occupied = [starts / starts.sum()]
    for _ in range(steps):
        occupied.append(occupied[-1] @ step)
    return np.array(occupied)


def shared_rows(states: int = 100) -> Drawing:
    """With how many pairs each pair (s, a) shares its transition row, and the number of rows by number of states."""
    numbers = transition_row(MDPConfig(states=states), np.arange(states)[:, None], np.arange(states))
    _, place, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    figure, (left, right) = panels_in_a_grid(2)
    image = left.imshow(counts[place.reshape(numbers.shape)], cmap="Greys", vmin=0, interpolation="nearest")
    figure.colorbar(image, ax=left, label="pairs with this row")
    left.set_title("pairs that share a row", fontsize=10)
    left.set_xlabel("action")
    left.set_ylabel("state")
    sizes = np.array([10, 100, 1_000, 10_000, 100_000])
    rows = [distinct_transition_rows(int(size), int(size)) for size in sizes]
    right.loglog(sizes, sizes.astype(float) ** 2, color="0.3", linestyle="--", marker="o", label="pairs (s, a)")
    right.loglog(sizes, rows, color=COLOURS[0], marker="s", label="different rows, as executed")
    right.set_title("rows by number of states and actions", fontsize=10)
    right.set_xlabel("S = A")
    right.legend(fontsize=8, frameon=False)
    sns.despine(ax=right)
    numbered = zip(sizes, rows, strict=True)
    pairs = "; ".join(f"S {size:,}: {count:,} rows for {size**2:,} pairs" for size, count in numbered)
    return figure, (
        f"Left, a map of state and action: up to {counts.max()} pairs share a row along one diagonal, fewer towards "
        f"the two corners beside it. Right, numbers of rows: {pairs}."
    )


def visits(temperatures: Sequence[float]) -> Drawing:
    """How often a million transitions visit each pair of state and action, a panel per temperature."""
    maps, words = {}, []
    for temperature in temperatures:
        config = tempered(temperature)
        data = best(generate, config)(config)
        counts = np.zeros((config.states, config.actions), dtype=int)
        np.add.at(counts, (data.observations, data.actions), 1)
        seen = f"{(counts > 0).sum():,} of {counts.size:,} pairs"
        maps[f"tau = {temperature:g}\n{seen}"] = counts
        words.append(f"tau {temperature:g}: {seen}, at most {counts.max():,} visits of one")
    alt = "Visits of each pair of state and action in a million transitions, white where there is none."
    return heat_maps(maps, (0.2, 20_000), "visits", ("action", "state")), f"{alt} {'; '.join(words)}."


def by_temperature(temperatures: Sequence[float] = TEMPERATURES) -> pd.DataFrame:
    """One row per temperature: entropies in nat, what a million transitions contain, and the average of Table 7."""
    rows = {}
    for temperature in temperatures:
        config = tempered(temperature)
        found = mdp_information(config)
        data = best(generate, config)(config)
        rows[f"tau={temperature:g}"] = {
            "action, knowing the state": found.action_entropy,
            "next state, knowing nothing": found.state_entropy,
            "next state, knowing state and action": found.next_state_entropy,
            "mutual information": found.mutual_information,
            "pairs in the data": pairs_in(config, data),
        }
    return with_printed_average(pd.DataFrame.from_dict(rows, orient="index"), 7)


def pairs_in(config: MDPConfig, data: IndexTransitions) -> int:
    """How many different pairs of state and action ``data`` contain."""
    return len(np.unique(data.observations * config.actions + data.actions))


def finding(table: pd.DataFrame) -> str:
    """What the page found, in one sentence written from the numbers; ``table`` is :func:`by_temperature`."""
    config = MDPConfig()
    starts, pairs = start_states(config), config.states * config.actions
    places = ", ".join(map(str, sorted(set(starts))))
    rows = distinct_transition_rows(config.states, config.actions)
    default, sharp = table.loc["tau=1"], table.loc["tau=0.01"]
    return (
        f"The {len(starts):,} trajectories of the paper's default MDP start in state {places}, its {pairs:,} pairs of "
        f"state and action share {rows:,} transition rows, and knowing the pair saves "
        f"{default['mutual information']:.3f} of {default['next state, knowing nothing']:.3f} nat about the next "
        f"state; at temperature 0.01 it saves {sharp['mutual information']:.3f}, but a million transitions contain "
        f"only {sharp['pairs in the data']:,.0f} of the pairs."
    )
