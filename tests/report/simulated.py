"""Simulated studies: runs that spread as the paper's do."""

import numpy as np
import pandas as pd

from synthlib.report.statistics import score_cells
from synthlib.tasks import DATASETS

MEANS = np.array([45, 81, 105, 107, 37.5, 46.7, 49.2, 80.9, 42.4, 58.2, 70.4, 89.0])
SPREADS = np.array([3.4, 11.8, 3.5, 8.7, 1.3, 10.6, 10.1, 3.9, 0.5, 3.2, 2.9, 4.7])


def side(runs):
    """(mean, std, n) of runs (..., seeds, datasets), as cells hold them."""
    return runs.mean(-2), runs.std(-2), np.full(runs.mean(-2).shape, runs.shape[-2])


def cells_of(runs, arms):
    """Cells frame of runs (arms, seeds, datasets)."""
    names = pd.MultiIndex.from_product([arms, range(runs.shape[1]), DATASETS], names=["arm", "seed", "dataset"])
    return score_cells(pd.Series(runs.ravel(), index=names, name="score").reset_index())
