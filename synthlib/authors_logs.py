"""The authors' own fine-tuning runs of the Decision Transformer, and the paper's tables made of them again.

About 10,000 runs lie in a public repository of the authors (faithfulness 0.1, 9.4), one small file each. They come in
from a clone of it or from one CSV file, as one long frame, and through the same arithmetic as our own runs. The paper
was printed from exactly these runs, so every cell must come out to the digit: that proves the arithmetic.

    git clone --depth 1 --branch table_generator https://github.com/Victor-wang-902/rl_pretrain

Only scores, losses and times are there: no weights, no CQL.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from synthlib.paper import AVERAGE_ROWS, DATASETS, paper_arms, paper_costs, paper_table
from synthlib.statistics import average_rows, score_cells, seed_scores, updates_to_target
from synthlib.verdicts import EQUAL, against_paper

RUNS_FOLDER = Path("code/checkpoints_current")
COLUMNS = ("arm", "dataset", "seed", "updates", "return", "score", "train_loss", "train_seconds")

# Our label of an arm -> the authors' folder, to which they add _<environment>_<kind of data> (faithfulness 9.4).
_FOLDERS = {
    "dt": "dt-rerun-20seeds_dt",
    "wiki": "chibiT-rerun-20seeds",
    "mc1-s100-t1-20k": "chibiT-syn-20seeds-steps-wo_step20000",
    "mc2": "chibiT-syn-20seeds-steps-wo_MC-2",
    "mc5": "chibiT-syn-20seeds-steps-wo_MC-5",
    **{f"s{states}": f"chibiT-syn-20seeds-states-wo_S{states}" for states in (10, 1000, 10000, 100000)},
    "t0.01": "chibiT-syn-20seeds-temps-wo_T0.01",
    "t0.1": "chibiT-syn-20seeds-temps-wo_T0.1",
    "t10": "chibiT-syn-20seeds-temps-wo_T10.0",
    "t100": "chibiT-syn-20seeds-temps-wo_T100.0",
    "iid-20k": "chibiT-iid_wo_step20000",
    "1k": "chibiT-syn-20seeds-steps-wo_step1000",
    "10k": "chibiT-syn-20seeds-steps-wo_2_step10000",
    "40k": "chibiT-syn-20seeds-steps-wo_step40000",
    "60k": "chibiT-syn-20seeds-steps-wo_step60000",
    "80k": "chibiT-syn-20seeds-steps-wo_2_step80000",
    "identity": "chibiT-iid_wo_acl_acl1",
    "mapping": "chibiT-iid_wo_acl_acl2",
    # Flags of the pre-trained arms, random weights; run but never published.
    "control-mc-step1": "chibiT-syn-20seeds-steps-wo_2_step1",
    "control-iid-step1": "chibiT-iid_wo_step1",
    "dt-3seeds": "dt-rerun-data_size_dt_1.0",
    "dt-120k": "dt-long-20seeds_dt_24",
    "dt-180k": "dt-long-20seeds_dt_36",
    "mc1-160k": "chibiT-syn-long-20seeds-steps-wo_S100_32",
    "wiki-no-kmeans": "chibiT-rerun_wo",
}
_RATIO_FOLDERS = {
    "dt": "dt-rerun-5seeds_data_size_dt",
    "wiki": "chibiT-rerun-5seeds-ftratio",
    **{f"s{states}": f"chibiT-syn-5seeds-states-ftratio-wo_S{states}" for states in (10, 100, 1000, 10000, 100000)},
    **{f"mc{steps}": f"chibiT-syn-5seeds-steps-ftratio-wo_MC-{steps}" for steps in (1, 2, 5)},
    **{f"t{t}": f"chibiT-syn-20seeds-temps-ftratio-wo_T{t}" for t in ("0.1", "1.0", "10.0")},
    "tiid": "chibiT-syn-20seeds-temps-ftratio-wo_TIID",
}
FOLDERS = {
    **_FOLDERS,
    **{f"{arm}@ratio{r}": f"{name}_{r}" for arm, name in _RATIO_FOLDERS.items() for r in (0.1, 0.2, 0.4, 0.6, 0.8)},
}

# Arm as printed -> our label; the paper prints the default synthetic arm under five names.
LABELS = {
    "DT": "dt",
    "DT+Wiki": "wiki",
    **dict.fromkeys(("DT+Synthetic", "1-MC", "S100", "tau=1", "20k"), "mc1-s100-t1-20k"),
    "2-MC": "mc2",
    "5-MC": "mc5",
    **{arm: arm.lower() for arm in ("S10", "S1000", "S10000", "S100000", "1k", "10k", "40k", "60k", "80k")},
    **{f"tau={temperature}": f"t{temperature}" for temperature in ("0.01", "0.1", "10", "100")},
    "IID uniform": "iid-20k",
    "DT+20K more": "dt-120k",
    "DT+80K more": "dt-180k",
    "DT+Identity": "identity",
    "DT+Mapping": "mapping",
}
BEST_SCORE_TABLES = (18, 19, 20, 21, 22)
# Table -> arm as printed -> label, for every score table that these runs make.
PRINTED_ARMS = {
    number: {arm: LABELS[arm] for arm in paper_arms(number)} for number in (1, 2, 3, 4, 5, *BEST_SCORE_TABLES, 26, 27)
}
PRINTED_ARMS[26]["DT"] = "dt-3seeds"  # 67.2 where Table 1 has 67.7 (faithfulness 8.14)


def read_logs(path, arms=None):
    """Read a clone (a folder) or one CSV file into a long frame, one row per evaluation, columns :data:`COLUMNS`.

    ``return`` is the mean undiscounted return of ten episodes at the reported target return, ``score`` the normalised
    one x 100, ``train_loss`` the mean action error of the 5,000 updates before, ``train_seconds`` their wall time on
    the authors' CPUs. ``arms``: the labels to read (keys of :data:`FOLDERS`), all by default.

    Raises FileNotFoundError when there is nothing at ``path``, ValueError for an unknown label or a file that is not
    what it should be.
    """
    path = Path(path)
    if arms is not None and (unknown := sorted(set(arms) - set(FOLDERS))):
        raise ValueError(f"unknown arms {', '.join(map(repr, unknown))}; known: {', '.join(FOLDERS)}")
    if path.is_dir():
        return _read_clone(path, list(FOLDERS) if arms is None else list(arms))
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; give a CSV of the authors' logs, or a clone of their repository")
    logs = _read_table(path)
    if missing := [name for name in COLUMNS if name not in logs]:
        raise ValueError(f"{path} has no column {', '.join(missing)}; it has {', '.join(logs)}")
    logs = logs[list(COLUMNS)]
    _refuse_damage(logs, path)
    return logs if arms is None else logs[logs["arm"].isin(arms)].reset_index(drop=True)


def _read_clone(path, arms):
    root = path / RUNS_FOLDER
    if not root.is_dir():
        raise FileNotFoundError(f"{path} has no {RUNS_FOLDER}; check out the branch table_generator of the repository")
    runs = []
    for arm in arms:
        for dataset in DATASETS:
            environment, kind = dataset.split("-", 1)
            folder = f"{FOLDERS[arm]}_{environment}_{kind}"
            found = sorted((root / folder).glob(f"{folder}_s*/progress.csv"))
            if not found:
                raise FileNotFoundError(f"no run of {arm!r} on {dataset}: nothing like {folder}_s*/progress.csv")
            runs += [_read_progress(file, arm, dataset) for file in found]
    return pd.concat(runs, ignore_index=True)


def _read_progress(file, arm, dataset):
    """One run: a tab-separated table with one row per evaluation."""
    columns = {
        "Steps": "updates",
        "TestEpRet": "return",
        "TestEpNormRet": "score",
        "current_itr_train_loss_mean": "train_loss",
        "current_itr_train_time": "train_seconds",
    }
    table = _read_table(file, sep="\t")
    if missing := [name for name in columns if name not in table]:
        raise ValueError(f"{file} has no column {', '.join(missing)}; it may be truncated")
    run = table[list(columns)].rename(columns=columns)
    run.insert(0, "arm", arm)
    run.insert(1, "dataset", dataset)
    run.insert(2, "seed", int(file.parent.name.rpartition("_s")[2]))
    _refuse_damage(run, file)
    return run


def _read_table(path, **options):
    try:
        return pd.read_csv(path, **options)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a table, it may be truncated: {error}") from error


def _refuse_damage(logs, path):
    if unknown := sorted(set(logs["dataset"]) - set(DATASETS)):
        raise ValueError(f"{path} has unknown data sets: {', '.join(unknown)}")
    numbers = logs[["seed", "updates", "return", "score", "train_loss"]]
    damaged = ~np.isfinite(numbers.to_numpy(dtype=float)).all(axis=1)
    if logs.empty or damaged.any():
        raise ValueError(f"{path}: {damaged.sum()} of {len(logs)} rows are incomplete; the file may be truncated")


def evaluations_of(logs, number):
    """The evaluations behind score table ``number``, with the arms named as it prints them.

    Raises KeyError for a table that these runs cannot make (:data:`PRINTED_ARMS` holds those that they can).
    """
    if number not in PRINTED_ARMS:
        raise KeyError(f"Table {number} cannot be made of these runs; these can: {', '.join(map(str, PRINTED_ARMS))}")
    renamed = [logs[logs["arm"] == label].assign(arm=arm) for arm, label in PRINTED_ARMS[number].items()]
    return pd.concat(renamed, ignore_index=True)


def replay(logs, number):
    """Score table ``number`` from the logs: cells ``table, dataset, arm, mean, std, n``, unrounded.

    Rows, average rows included, and arms stand as in :func:`~synthlib.paper.paper_table`. KeyError as
    :func:`evaluations_of`.
    """
    scores = seed_scores(evaluations_of(logs, number), "best" if number in BEST_SCORE_TABLES else "final")
    cells = score_cells(scores)[["dataset", "arm", "mean", "std", "n"]]
    printed = paper_table(number)[["table", "dataset", "arm"]]
    average = average_rows(cells)[["arm", "mean", "std", "n"]]
    average["dataset"] = printed["dataset"].iloc[-1]
    return printed.merge(pd.concat([cells, average]), on=["dataset", "arm"], how="left")


def replay_updates(logs):
    """Table 11 from the logs, unrounded: ``table, dataset, arm, value, unit`` as in ``paper_costs(11)``."""
    reached = updates_to_target(evaluations_of(logs, 1), "DT")
    means = reached.groupby(["dataset", "arm"])["updates"].mean().div(1000).rename("value").reset_index()
    average = means.groupby("arm", as_index=False)["value"].mean().assign(dataset=AVERAGE_ROWS[0])
    printed = paper_costs(11).drop(columns="value")
    return printed.merge(pd.concat([means, average]), on=["dataset", "arm"], how="left")[list(paper_costs(11))]


def check(logs):
    """Replay every table and compare it with the printed one, digit by digit.

    Returns one row per printed cell, average rows and Table 11 included: ``table, dataset, arm, equal, reprint``;
    a score cell is equal when mean and standard deviation are. ``reprint`` marks the columns that Tables 26 and 27
    repeat from Table 1.
    """
    rows = []
    for number in PRINTED_ARMS:
        compared = against_paper(replay(logs, number), number, "authors")
        rows.append(compared[["table", "dataset", "arm"]].assign(equal=compared["verdict"] == EQUAL))
    updates, printed = replay_updates(logs), paper_costs(11)
    # Half a tenth either way, since 15.25 may be printed as 15.2 or 15.3.
    equal = (updates["value"] - printed["value"]).abs() <= 0.05 + 1e-9
    rows.append(printed[["table", "dataset", "arm"]].assign(equal=equal))
    table = pd.concat(rows, ignore_index=True)
    columns = zip(table["table"], table["arm"], strict=True)
    table["reprint"] = [
        number in (26, 27) and PRINTED_ARMS[number][arm] == PRINTED_ARMS[1].get(arm) for number, arm in columns
    ]
    return table


def summary(checked):
    """What :func:`check` found in one line, e.g. "708 of 708 cells equal; ..."."""
    is_cell = checked["dataset"].isin(DATASETS)
    scores = checked["table"] != 11
    parts = {
        "cells": is_cell & scores & ~checked["reprint"],
        "average rows": ~is_cell & scores & ~checked["reprint"],
        "cells of Table 11": is_cell & ~scores,
    }
    return "; ".join(f"{checked.loc[rows, 'equal'].sum()} of {rows.sum()} {name} equal" for name, rows in parts.items())
