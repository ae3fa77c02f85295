"""Matrices side by side as grey pictures with one scale, for the pages of the synthetic data."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

TIMES_UNIFORM = (0.1, 100.0)  # the scale of a probability times the number of states


def heat_maps(
    maps: Mapping[str, np.ndarray],
    scale: tuple[float, float],
    meaning: str,
    axes_names: tuple[str, str],
    note: str = "",
    aspect: str = "equal",
) -> Figure:
    """A row of matrices, a panel per title of ``maps``; darker is more, on the logarithmic ``scale`` from low to high.

    ``meaning``: what a value is, beside the bar of greys. ``axes_names``: of columns and rows. Zeros are white.
    """
    height = 3.9 if aspect == "equal" else 3.0
    figure, grid = plt.subplots(
        1, len(maps), figsize=(3.3 * len(maps) + 0.6, height), sharey=True, squeeze=False, layout="constrained"
    )
    axes = grid[0]
    for axis, (title, matrix) in zip(axes, maps.items(), strict=True):
        shown = np.ma.masked_equal(matrix, 0)
        norm = LogNorm(*scale, clip=True)
        axis.imshow(shown, norm=norm, cmap="Greys", aspect=aspect, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(axes_names[0])
    axes[0].set_ylabel(axes_names[1])
    figure.colorbar(axes[-1].images[0], ax=list(axes), label=meaning, shrink=0.8)
    figure.supxlabel(note, fontsize=8)
    return figure
