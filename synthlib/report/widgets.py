"""Two pictures with sliders, for pages in JupyterLab; on an executed page, where nobody can move them, as stills.

Moving something teaches here: what the temperature does to a chain, and how a critic's predictions walk from one answer
for everything to the centroids of its data.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from synthlib.cql.predictions import predictions
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.generators.centroids import Centroids, centroids
from synthlib.generators.information import information, transition_matrix
from synthlib.generators.markov_chain import ChainConfig, stream
from synthlib.generators.mdp import MDPConfig, generate, vectors
from synthlib.report.figures import Drawing, finish, panels_in_a_grid
from synthlib.report.files import inline
from synthlib.report.heat_maps import TIMES_UNIFORM
from synthlib.report.palette import COLOURS

_STILLS = (0.1, 1.0, 10.0)  # temperatures of the chain
_MOMENTS = (0, 100, 400, 1_000)  # updates of the critic


def has_front_end() -> bool:
    """Whether somebody can move a slider: a kernel that JupyterLab started knows the notebook's path."""
    return bool(os.environ.get("JPY_SESSION_NAME"))


def explore_chain() -> Any:
    """A chain with sliders for its temperature and number of states; without a front end three temperatures."""
    if not has_front_end():
        return _stills([chain_picture(temperature, 30) for temperature in _STILLS])
    from ipywidgets import FloatLogSlider, IntSlider, interactive

    temperature = FloatLogSlider(1.0, min=-2, max=2, step=0.25, description="temperature", continuous_update=False)
    states = IntSlider(30, min=2, max=100, description="states", continuous_update=False)
    return interactive(_shown(chain_picture), temperature=temperature, states=states)


def explore_critic() -> Any:
    """A critic in pre-training on a small MDP, with sliders for its updates and the temperature; or four moments."""
    if not has_front_end():
        return _stills([critic_picture(updates, 0.1) for updates in _MOMENTS])
    from ipywidgets import IntSlider, SelectionSlider, interactive

    updates = IntSlider(0, min=0, max=_MOMENTS[-1], step=50, description="updates", continuous_update=False)
    temperature = SelectionSlider(
        options=(0.01, 0.1, 1.0), value=0.1, description="temperature", continuous_update=False
    )
    return interactive(_shown(critic_picture), updates=updates, temperature=temperature)


def chain_picture(temperature: float, states: int) -> Drawing:
    """(figure, alt text): the transitions of a chain, one of its rows, and in words its entropies and a sample."""
    chain = ChainConfig(states=states, temperature=temperature, length=20)
    matrix, found = transition_matrix(chain), information(chain)
    tokens = " ".join(map(str, stream(chain, 0, [0])[0]))
    figure, (left, right) = panels_in_a_grid(2)
    left.imshow(
        np.log10(matrix * states), cmap="Greys", vmin=np.log10(TIMES_UNIFORM[0]), vmax=np.log10(TIMES_UNIFORM[1])
    )
    left.set_xlabel("next state")
    left.set_ylabel("state")
    left.set_title("darker: likelier", fontsize=10)
    right.bar(range(states), np.sort(matrix[0])[::-1], width=1.0, color=COLOURS[0])
    right.axhline(1 / states, color="0.3", linestyle="--", linewidth=1)
    right.set_xlabel("next state of state 0, sorted")
    right.set_ylabel("probability")
    words = (
        f"Temperature {temperature:g}, {states} states: a perfect model has a loss of {found.entropy_rate:.3f} nat, a "
        f"blind guess {np.log(states):.3f}: {np.log(states) - found.entropy_rate:.3f} to learn. A sample: {tokens}."
    )
    finish(figure, [], words)
    return figure, words


def critic_picture(updates: int, temperature: float) -> Drawing:
    """(figure, alt text): what a critic predicts for each pair of state and action, and the centroids, in the plane.

    The vectors of the states have two entries here, so that they can be drawn. A line goes from each prediction to the
    mean of the next states that follow its pair in the data.
    """
    config, found, table = _small_data(temperature)
    predicted = predictions(config, _critics(temperature, updates)["q1"], found.pairs)
    centre = np.average(found.empirical, axis=0, weights=found.visits)
    figure, (axis,) = panels_in_a_grid(1, width=6.0)
    axis.plot(*table.T, "s", color="0.7", markersize=9, label="vectors of the states")
    axis.plot(*found.empirical.T, "o", color=COLOURS[1], markerfacecolor="none", label="centroids of the data")
    for begin, end in zip(predicted, found.empirical, strict=True):
        axis.plot(*np.stack([begin, end]).T, color="0.85", linewidth=0.8, zorder=0)
    axis.plot(*predicted.T, "^", color=COLOURS[0], markersize=5, label="what the critic predicts")
    axis.plot(*centre, "P", color="black", markersize=9, label="one answer for all")
    axis.set_xlim(-1.05, 1.05)
    axis.set_ylim(-1.05, 1.05)
    distance = np.sqrt(np.average(((predicted - found.empirical) ** 2).sum(axis=1), weights=found.visits))
    words = (
        f"After {updates} updates at temperature {temperature:g} the predictions for {len(found.pairs)} pairs are "
        f"{distance:.3f} away from their centroids (root mean square)."
    )
    finish(figure, [axis], words)
    return figure, f"A critic of 32 x 32 units on a small MDP with vectors in the plane. {words}"


@lru_cache(maxsize=8)
def _small_data(temperature: float) -> tuple[CriticPretrainingConfig, Centroids, np.ndarray]:
    data = MDPConfig(states=6, actions=4, transition_temperature=temperature, trajectories=20, length=50)
    config = CriticPretrainingConfig(2, 2, data, learning_rate=3e-3, hidden=(32, 32))
    table = vectors(data, 2, 2)[0].astype(float)
    return config, centroids(data, generate(data), table), table


@lru_cache(maxsize=64)
def _critics(temperature: float, updates: int) -> dict[str, Any]:
    training = CriticPretraining(_small_data(temperature)[0])
    training.run(updates)
    return training.critics()


def _shown(picture: Callable[..., Drawing]) -> Callable[..., None]:
    from IPython.display import display

    def show(**values: float) -> None:
        display(inline(picture(**values)))

    return show


def _stills(drawings: list[Drawing]) -> Any:
    from IPython.display import HTML

    note = "<p><small>Stills: in JupyterLab (make lab) this is a picture with sliders.</small></p>"
    return HTML("".join([*(inline(drawing).data for drawing in drawings), note]))
