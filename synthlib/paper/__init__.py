"""What the paper prints, as data: the one place for its numbers, never typed a second time.

``tables.csv`` holds every printed cell of the score tables (1-8 and 18-29). Source: arXiv 2310.00771v4.
"""

from functools import cache
from importlib.resources import files

import pandas as pd

# Order of Table 1; tables that print their rows in another order keep it.
DATASETS = tuple(
    f"{environment}-{kind}"
    for kind in ("medium-expert", "medium-replay", "medium")
    for environment in ("halfcheetah", "hopper", "walker2d", "ant")
)
AVERAGE_ROWS = ("Average over datasets", "Average (All Settings)")  # the second in Tables 26 and 27

# Fine-tuning seeds behind a column, where it is not 20 (faithfulness 3.16, 6.5, 8.13-8.15). Table 27's text says 20.
_FEWER_SEEDS = {
    (26, "DT"): 3,
    (27, "DT+Identity"): 5,
    (27, "DT+Mapping"): 5,
    **{(28, arm): 5 for arm in ("CQL", "CQL+100K more", "CQL+MDP", "CQL+IID")},
    **{(29, arm): 5 for arm in ("CQL", "CQL+MDP", "CQL+Identity", "CQL+Mapping")},
}


@cache
def _score_tables():
    return pd.read_csv(files(__package__) / "tables.csv")


def score_table_numbers():
    """Numbers of the score tables that are here: (1, ..., 8, 18, ..., 29)."""
    return tuple(int(number) for number in _score_tables()["table"].unique())


def paper_table(number):
    """Printed cells of score table ``number``, long form, one row per cell, rows and arms in the paper's order.

    Columns ``table`` int, ``dataset`` str (twelve data sets, then the printed average row), ``arm`` str, and ``mean``
    and ``std`` float64: D4RL-normalised score x 100 over fine-tuning seeds, one decimal. In the average row ``std`` is
    the mean of the twelve standard deviations (faithfulness 0.2). The frame is a copy.

    Raises KeyError for a number that is not a score table.
    """
    cells = _score_tables()
    chosen = cells[cells["table"] == number]
    if chosen.empty:
        raise KeyError(f"Table {number} is not a score table of the paper; score tables: {score_table_numbers()}")
    return chosen.reset_index(drop=True)


def paper_arms(number):
    """Arms (columns) of score table ``number`` from left to right; KeyError as :func:`paper_table`."""
    return tuple(paper_table(number)["arm"].unique())


def paper_seeds(number, arm):
    """How many fine-tuning seeds stand behind a column of a score table: 20, 5 or 3.

    Not printed; the five of Tables 28 and 29 follow from the authors' table script (faithfulness 8.13). Raises
    KeyError for a table or an arm that is not there.
    """
    if arm not in paper_arms(number):
        raise KeyError(f"Table {number} has no arm {arm!r}; its arms: {', '.join(paper_arms(number))}")
    return _FEWER_SEEDS.get((number, arm), 20)
