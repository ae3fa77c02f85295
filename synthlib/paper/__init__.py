"""What the paper prints, as data. Its numbers and claims stand here only.

tables.csv           every cell of the score tables (1-8 and 18-29)          paper_table, paper_arms, paper_seeds
costs.csv            every cell of Tables 11-14: updates and wall time      paper_costs
hyperparameters.csv  Tables 9, 10, 15, 16, 17 as printed                    paper_hyperparameters
contents.yaml        its sections, and what stands in each                  synthlib.study.contents
claims.yaml          what the paper says it found, with the rule for it     paper_claims
contradictions.yaml  where text, tables and programs disagree               paper_contradictions
logged_figures.csv   averages in the figures that only the logs hold        logged_figures
logged_scores.csv    scores after 5,000, 10,000 and 100,000 updates         logged_scores
authors_evaluations.csv.xz   every evaluation of the authors' runs of DT    synthlib.report.authors_table
logged_hours.csv     how long the authors' runs of DT took                  logged_hours
matched_control.csv  the control with equal flags, run but not published    matched_control
similarities.csv     averages in Figure 12, of which no number is printed   logged_similarities
corl.csv             the same data sets by other hands                      corl_scores

Source: arXiv 2310.00771v4 unless said otherwise. Every frame and list returned is the caller's own.
"""

from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from synthlib.tasks import DATASETS, REFERENCE_RETURNS, environment_of
from synthlib.yaml_text import parsed

# Labels of the printed average rows, the second in Tables 26 and 27. Frames mark these rows with ``is_average``.
AVERAGE_ROWS = ("Average over datasets", "Average (All Settings)")

# Fine-tuning seeds behind a column, where it is not 20 (faithfulness 3.16, 6.5, 8.13-8.15). Table 27's text says 20.
_FEWER_SEEDS = {
    (26, "DT"): 3,
    (27, "DT+Identity"): 5,
    (27, "DT+Mapping"): 5,
    **{(28, arm): 5 for arm in ("CQL", "CQL+100K more", "CQL+MDP", "CQL+IID")},
    **{(29, arm): 5 for arm in ("CQL", "CQL+MDP", "CQL+Identity", "CQL+Mapping")},
}


@cache
def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(files(__package__) / name, keep_default_na=False)


def _load(name: str) -> Any:
    return parsed((files(__package__) / name).read_text(encoding="utf-8"))


def score_table_numbers() -> tuple[int, ...]:
    """Numbers of the score tables that are here: (1, ..., 8, 18, ..., 29)."""
    return tuple(int(number) for number in _read("tables.csv")["table"].unique())


def paper_table(number: int) -> pd.DataFrame:
    """Printed cells of score table ``number``, long form, one row per cell, rows and arms in the paper's order.

    Columns ``table`` int, ``dataset`` str (twelve data sets, then the printed average row), ``arm`` str, ``mean`` and
    ``std`` float64: D4RL-normalised score x 100 over fine-tuning seeds, one decimal. ``is_average`` bool marks the
    average row, whose ``std`` is the mean of the twelve standard deviations (faithfulness 0.2). The frame is a copy.

    Raises KeyError for a number that is not a score table.
    """
    cells = _read("tables.csv")
    chosen = cells[cells["table"] == number]
    if chosen.empty:
        raise KeyError(f"Table {number} is not a score table of the paper; score tables: {score_table_numbers()}")
    return _with_average_marked(chosen)


@cache
def paper_arms(number: int) -> tuple[str, ...]:
    """Arms (columns) of score table ``number`` from left to right; KeyError as :func:`paper_table`."""
    return tuple(paper_table(number)["arm"].unique())


def paper_seeds(number: int, arm: str) -> int:
    """How many fine-tuning seeds stand behind a column of a score table: 20, 5 or 3.

    Not printed; the five of Tables 28 and 29 follow from the authors' table script (faithfulness 8.13). Raises
    KeyError for a table or an arm that is not there.
    """
    if arm not in paper_arms(number):
        raise KeyError(f"Table {number} has no arm {arm!r}; its arms: {', '.join(paper_arms(number))}")
    return _FEWER_SEEDS.get((number, arm), 20)


def normalisation_slip(number: int, dataset: str | None) -> float:
    """By how many points score table ``number`` prints ``dataset`` too low; None stands for the average row.

    Tables 23-25 normalised 100 x the return instead of taking 100 x the normalised return (faithfulness 6.7). For every
    other table it is 0.
    """
    if number not in (23, 24, 25):
        return 0.0
    if dataset is None:
        return sum(normalisation_slip(number, name) for name in DATASETS) / len(DATASETS)
    low, high = REFERENCE_RETURNS[environment_of(dataset)]
    return 99 * -low / (high - low)


def paper_costs(number: int) -> pd.DataFrame:
    """Printed cells of Table 11, 12, 13 or 14: ``table, dataset, arm, value, unit, is_average``.

    ``unit`` is "thousand updates" (Tables 11 and 13: to 90 % of the baseline's final return; the two count differently,
    faithfulness 3.19 and 6.8) or "minutes" (Tables 12 and 14: on one RTX 8000). Raises KeyError for another number.
    """
    return _with_average_marked(_rows("costs.csv", number))


def paper_hyperparameters(number: int) -> pd.DataFrame:
    """Table 9, 10, 15, 16 or 17 as printed: ``table, name, printed, executed, note, source``, all text.

    Where the authors' programs did something else than printed, ``executed`` says what, in the notation of ``printed``.
    ``note`` is what the programs add to the line. ``source`` names the faithfulness items of both. Each is empty where
    there is nothing to say. What we run is in the configuration of each algorithm, not here
    (:mod:`synthlib.report.our_settings`). Raises KeyError for another number.
    """
    return _rows("hyperparameters.csv", number)


def paper_claims() -> list[dict[str, Any]]:
    """The paper's claims: a list of dicts with ``id``, ``says`` (our words), ``section``, and how to test them.

    Each has one or more kinds of rules, which the head of claims.yaml describes and
    :func:`synthlib.report.claims.judge` applies. Optional: ``printed`` (the numbers that the paper gives) and ``note``.
    """
    return _load("claims.yaml")


def paper_contradictions() -> list[dict[str, Any]]:
    """Contradictions: a list of dicts ``number, issue, evidence, default, option, choose, concerns``.

    ``default`` is what we do. ``option`` is what a reader can choose instead, and ``choose`` {algorithm: settings of an
    arm that chooses it}, or {"table": lines of a table that do}; both are None where there is no choice. ``concerns``
    is {number of a printed table: its lines}, with no lines where it concerns the table as a whole.
    """
    return _load("contradictions.yaml")


def logged_figures() -> pd.DataFrame:
    """Averages over the twelve data sets that the paper only draws: ``figure, arm, x_name, x, value_name, value``.

    Computed from the authors' logs: Figures 8 and 10 from single evaluations, unsmoothed; Figure 11 from the last four
    evaluations of each run; Figure 1 holds the mean training loss of the 5,000 updates before. ``DT, matched`` is the
    unpublished control with the flags of the pre-trained arms and random weights, on the Markov-chain side. Ten of the
    60 runs of DT+Wiki at ratio 0.4 end between 75,000 and 95,000 updates, and so do a few runs of other arms. (Four
    averages of Figure 11 differ by 0.1 from the averages in faithfulness 9.5; the averages here follow from the runs.)
    """
    return _read("logged_figures.csv").copy()


def logged_scores() -> pd.DataFrame:
    """The authors' scores at three moments: ``dataset, arm, updates, mean, std, n``, two decimals.

    Single evaluations after 5,000, 10,000 and 100,000 fine-tuning updates of the arms of Table 1 and of "DT, matched",
    the unpublished control on the Markov-chain side; ``std`` with ddof 0 over ``n`` seeds. Computed from the authors'
    logs.
    """
    return _read("logged_scores.csv").copy()


def logged_hours() -> pd.DataFrame:
    """Hours of the authors' runs: ``arm, dataset, mean, std, minimum, maximum, n``, three decimals.

    The 100,000 fine-tuning updates of a run without its evaluations, on processors of a cluster that are not known;
    ``std`` with ddof 0 over ``n`` seeds. The arms of Table 1, "DT, matched", "DT+Wiki, no k-means", and DT+Wiki with
    the three seeds of that last one. Computed from the authors' logs by :mod:`synthlib.report.authors_hours`.
    """
    return _read("logged_hours.csv").copy()


def matched_control() -> pd.DataFrame:
    """The authors' unpublished control: ``dataset, arm, metric, mean, std`` over 20 seeds each, two decimals.

    Fine-tuned with every flag of the pre-trained arms, from weights that one update at learning rate 0 left random
    (faithfulness 0.4a). Two random starts: "DT, matched" from the Markov-chain side, "DT, matched (IID side)".
    ``metric`` "final" or "best". Computed from the authors' logs.
    """
    return _read("matched_control.csv").copy()


def logged_similarities() -> pd.DataFrame:
    """Cosines of Figure 12 averaged over all of the authors' runs: ``arm, comparison, weights, features``.

    From the values that the authors' programs left beside their logs (faithfulness 3.20), three decimals, spread
    unknown. DT starts from its random initialisation, so its one comparison is "RI vs FT". For the other arms only "PT
    vs FT" is known. "DT, matched" is the unpublished control, "pre-trained" by one update at learning rate 0.
    """
    return _read("similarities.csv").copy()


def corl_scores() -> pd.DataFrame:
    """CORL's DT and CQL on the nine data sets that it has (no ant): ``dataset, arm, metric, mean, std``.

    Normalised score x 100 over 4 seeds, ``metric`` "final" or "best". Source: README of github corl-team/CORL at commit
    2ed69e3. CORL has other architectures and tuned settings. Its CQL critics are deeper, so its CQL scores 95.6 on
    halfcheetah-medium-expert, where the paper's baseline has 35.9 (faithfulness 6.9).
    """
    return _read("corl.csv").copy()


def _with_average_marked(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(is_average=table["dataset"].isin(AVERAGE_ROWS)).reset_index(drop=True)


def _rows(name: str, number: int) -> pd.DataFrame:
    table = _read(name)
    chosen = table[table["table"] == number]
    if chosen.empty:
        raise KeyError(f"Table {number} is not in {name}; there: {', '.join(map(str, table['table'].unique()))}")
    return chosen.reset_index(drop=True)
