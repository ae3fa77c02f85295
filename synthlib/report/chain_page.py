"""The page of the chains (paper 3.2 and Figure 7): pictures and numbers of the data that pre-train DT."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns

from synthlib.generators.information import (
    information,
    learnable_with_many_states,
    mean_row_entropy,
    stationary,
    transition_matrix,
)
from synthlib.generators.markov_chain import ChainConfig, initial_distribution, row
from synthlib.report.figures import Drawing, finish, panels_in_a_grid, sorted_probabilities
from synthlib.report.heat_maps import TIMES_UNIFORM, heat_maps
from synthlib.report.palette import COLOURS
from synthlib.report.printed import with_printed_average

FIGURE_7 = (0.001, 0.01, 0.1, 1.0, 10.0)
TEMPERATURES = (0.01, 0.1, 1.0, 10.0, 100.0)  # Table 4
STATES = (10, 100, 1_000, 10_000, 100_000)  # Table 3
_SOLVED = 1_000  # states; of larger chains only some rows are made
_SAMPLED_ROWS = 10


def transitions(temperatures: Sequence[float], states: int = 100) -> Drawing:
    """All transition probabilities of a chain, a panel per temperature."""
    chains = [ChainConfig(states=states, temperature=temperature) for temperature in temperatures]
    maps = {
        f"tau = {chain.temperature:g}\n{_learnable(chain):.4f} nat to learn": transition_matrix(chain) * states
        for chain in chains
    }
    note = "Probability of the next state as a multiple of the uniform 1/S, on a logarithmic scale from 0.1 to 100."
    words = [f"tau {chain.temperature:g}: {_learnable(chain):.4f}" for chain in chains]
    return heat_maps(maps, TIMES_UNIFORM, "times 1/S", ("next state", "state"), note), (
        f"Heat maps of the transition matrix of {states} states: a few dark cells a row at the lowest temperature, "
        f"even grey at the highest. {note} To learn, of {math.log(states):.3f} nat: {'; '.join(words)}."
    )


def figure7(states: int = 100, state: int = 0) -> Drawing:
    """Figure 7: the row of one state, sorted, at the paper's five temperatures."""
    return sorted_probabilities(_figure7_rows(states, state))


def figure7_finding(states: int = 100, state: int = 0) -> str:
    """What Figure 7 shows, a line per temperature: the largest probability, and how many states share 90 %."""
    lines = [f"Figure 7: the distribution of the next state after state {state} of {states}."]
    for temperature, probabilities in _figure7_rows(states, state).items():
        falling = np.sort(probabilities)[::-1]
        share = int(np.searchsorted(falling.cumsum(), 0.9)) + 1
        most = f"{share} state{'s' if share > 1 else ''}"
        lines.append(f"  tau = {temperature:<6g} largest probability {falling[0]:.3f}; 90 % of the steps go to {most}")
    return "\n".join(lines)


def _figure7_rows(states: int, state: int) -> dict[float, np.ndarray]:
    return {t: row(ChainConfig(states=states, temperature=t), [state]) for t in FIGURE_7}


def first_tokens(temperatures: Sequence[float], states: int = 100) -> Drawing:
    """The distribution of the first token beside the long-run frequencies of the tokens, a panel per temperature."""
    figure, axes = panels_in_a_grid(len(temperatures), width=4.0)
    words = []
    for axis, temperature in zip(axes, temperatures, strict=True):
        config = ChainConfig(states=states, temperature=temperature)
        first = initial_distribution(config)
        order = np.argsort(first)[::-1]
        later = stationary(transition_matrix(config))
        place = np.arange(states)
        axis.bar(place, first[order], width=1.0, color="0.75", label="first token, as executed")
        axis.plot(place, later[order], ".", markersize=4, color=COLOURS[0], label="a token much later")
        axis.axhline(1 / states, color=COLOURS[3], linestyle="--", linewidth=1.4, label="first token, paper's text")
        axis.set_title(f"tau = {temperature:g}", fontsize=10)
        axis.set_xlabel("tokens, sorted by the bars")
        axis.set_ylabel("probability")
        words.append(f"tau {temperature:g}: {first.max():.3f} first, {later.max():.3f} later")
    finish(figure, axes, f"Default chain of {states} states. The panels have scales of their own.")
    return figure, f"Distribution of the first token, which is not uniform. Largest probabilities: {'; '.join(words)}."


def entropy_curves(states: int = 100) -> Drawing:
    """Entropy rate and stationary entropy of the chain against the temperature."""
    temperatures = np.geomspace(0.01, 100, 33)
    found = [information(ChainConfig(states=states, temperature=float(t))) for t in temperatures]
    rate, most, _ = np.array(found).T
    figure, (axis,) = panels_in_a_grid(1, width=7.0)
    axis.axhline(math.log(states), color="0.3", linestyle="--", label=f"a blind guess, ln {states}")
    axis.plot(temperatures, most, color=COLOURS[1], linestyle="-.", label="knows how often each token comes")
    axis.plot(temperatures, rate, color=COLOURS[0], label="knows the chain: the best possible loss")
    axis.fill_between(temperatures, rate, most, color=COLOURS[0], alpha=0.15, label="mutual information of neighbours")
    axis.axvline(1, color="0.6", linewidth=1)
    axis.annotate(" the paper's default", (1, 2.4), fontsize=8)
    axis.set_xscale("log")
    axis.set_ylim(0)
    axis.set_xlabel("temperature tau")
    axis.set_ylabel("loss, nat per token")
    axis.legend(loc="lower right", fontsize=9, frameon=False)
    sns.despine(figure)
    rates = {t: information(ChainConfig(states=states, temperature=t)).entropy_rate for t in TEMPERATURES}
    ends = "; ".join(f"tau {temperature:g}: {rate:.3f}" for temperature, rate in rates.items())
    return figure, f"Best possible loss against temperature, below a blind guess of {math.log(states):.3f} nat. {ends}."


def by_temperature(temperatures: Sequence[float] = TEMPERATURES, states: int = 100) -> pd.DataFrame:
    """One row per temperature: entropies in nat, what there is to learn, and the printed average of Table 4."""
    rows = {}
    for temperature in temperatures:
        config = ChainConfig(states=states, temperature=temperature)
        rows[f"tau={temperature:g}"] = _entropies(config) | {"limit of many states": _limit(temperature)}
    return with_printed_average(pd.DataFrame.from_dict(rows, orient="index"), 4)


def by_states(states: Sequence[int] = STATES) -> pd.DataFrame:
    """One row per number of states at temperature 1, as :func:`by_temperature`, with the printed average of Table 3.

    Beyond 1,000 states the entropy rate is the mean over the rows of the first ten states, and nothing is known of the
    stationary distribution.
    """
    limit = {"limit of many states": _limit(1.0)}
    rows = {f"S{count}": _entropies(ChainConfig(states=count)) | limit for count in states}
    return with_printed_average(pd.DataFrame.from_dict(rows, orient="index"), 3)


def finding() -> str:
    """What the page found, in one sentence written from the numbers."""
    default, blind = ChainConfig(), math.log(100)
    others = {t: _learnable(ChainConfig(temperature=t)) for t in (0.01, 10.0)}
    learnable, more_states = _learnable(default), _learnable(ChainConfig(states=1_000))
    return (
        f"A model that knows the paper's default chain perfectly saves {learnable:.3f} of {blind:.3f} nat per token "
        f"({learnable / blind:.1%}); at temperature 0.01 it saves {others[0.01]:.3f}, at 10 {others[10.0]:.4f}, and "
        f"with 1,000 states, where a blind guess costs more, {more_states:.3f}."
    )


def _entropies(config: ChainConfig) -> dict[str, float]:
    blind = math.log(config.states)
    if config.states > _SOLVED:
        rate = mean_row_entropy(config, ([token] for token in range(_SAMPLED_ROWS)))
        most = shared = math.nan
    else:
        rate, most, shared = information(config)
    return {
        "blind guess": blind,
        "stationary entropy": most,
        "entropy rate": rate,
        "mutual information": shared,
        "to learn in all": blind - rate,
    }


def _learnable(config: ChainConfig) -> float:
    return math.log(config.states) - information(config).entropy_rate


def _limit(temperature: float) -> float:
    return learnable_with_many_states(temperature)
