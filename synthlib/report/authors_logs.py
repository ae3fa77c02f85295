"""The authors' own fine-tuning runs of the Decision Transformer, as one long frame.

About 10,000 runs lie in a public repository of the authors (faithfulness 0.1, 9.4), one small file each. Their numbers
belong to this repository as one table (:mod:`synthlib.report.authors_table`); a clone or another CSV file can be read
instead. They go through the same report as our own runs. The paper was printed from
exactly these runs, so every cell must be equal to the digit: :mod:`synthlib.report.authors_check` counts.

    git clone --depth 1 --branch table_generator https://github.com/Victor-wang-902/rl_pretrain

Only scores, losses and times are there: no weights, no CQL.
"""

import shutil
import subprocess
from collections.abc import Iterable
from lzma import LZMAError
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthlib.paths import absolute, from_environment
from synthlib.report.authors_table import TABLE, is_packed, unpacked
from synthlib.study.params import Artefact
from synthlib.tasks import DATASETS, parse_name

REPOSITORY = "https://github.com/Victor-wang-902/rl_pretrain"
BRANCH = "table_generator"
_LONGEST = 1800  # seconds, for each step of the fetching
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
    # The flags of the pre-trained arms with random weights; run but never published.
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

# Arm as printed -> our label; the paper prints the default synthetic arm under five names. A description in params/
# may say otherwise for its own table (``authors:``).
LABELS = {
    "DT": "dt",
    "DT, matched": "control-mc-step1",
    "DT, matched (IID side)": "control-iid-step1",
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
# Labels of the runs on a part of the data; where an arm is not here, it has the label of the runs on all data. Both are
# followed by @ratio<share>.
_LENGTHS = {"dt-120k": 1.2, "dt-180k": 1.8, "mc1-160k": 1.6}  # of their runs, in 100,000 updates; the others: 1
_RATIO_LABELS = {"mc1-s100-t1-20k": "s100", "t10": "t10.0", "iid-20k": "tiid"}


def read_logs(path: str | Path, arms: Iterable[str] | None = None) -> pd.DataFrame:
    """Read a clone (a folder) or one CSV file, long or packed: one row per evaluation, columns :data:`COLUMNS`.

    ``return`` is the mean undiscounted return of ten episodes at the reported target return, ``score`` the normalised
    return x 100, ``train_loss`` the mean action error of the 5,000 updates before, ``train_seconds`` their wall time
    on the authors' CPUs. ``arms``: the labels to read (keys of :data:`FOLDERS`), all by default.

    Raises FileNotFoundError when there is nothing at ``path``, ValueError for an unknown label and for a file without
    the expected columns or with incomplete rows.
    """
    path, labels = Path(path), list(FOLDERS if arms is None else arms)
    if unknown := sorted(set(labels) - set(FOLDERS)):
        raise ValueError(f"unknown arms {', '.join(map(repr, unknown))}; known: {', '.join(FOLDERS)}")
    if path.is_dir():
        return _read_clone(path, labels)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; give a CSV of the authors' logs, or a clone of their repository")
    logs = _read_table(path)
    if is_packed(logs):
        logs = _unpacked(logs, path)
    if missing := [name for name in COLUMNS if name not in logs]:
        raise ValueError(f"{path} has no column {', '.join(missing)}; it has {', '.join(logs)}")
    logs = logs[list(COLUMNS)]
    _refuse_damage(logs, path)
    return logs if arms is None else logs[logs["arm"].isin(labels)].reset_index(drop=True)


def _unpacked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    try:
        return unpacked(table)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a whole table of evaluations: {error}") from error


def _read_clone(path: Path, arms: list[str]) -> pd.DataFrame:
    root = path / RUNS_FOLDER
    if not root.is_dir():
        raise FileNotFoundError(
            f"{path} has no {RUNS_FOLDER}; check out the branch table_generator of the repository, or name a CSV file"
        )
    runs = []
    for arm in arms:
        for dataset in DATASETS:
            folder = _folder(arm, dataset)
            found = sorted((root / folder).glob(f"{folder}_s*/progress.csv"))
            if not found:
                raise FileNotFoundError(f"no run of {arm!r} on {dataset}: nothing like {folder}_s*/progress.csv")
            runs += [_read_progress(file, arm, dataset) for file in found]
    return pd.concat(runs, ignore_index=True)


def _read_progress(file: Path, arm: str, dataset: str) -> pd.DataFrame:
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


def _read_table(path: Path, **options: Any) -> pd.DataFrame:
    try:
        return pd.read_csv(path, **options)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, EOFError, UnicodeDecodeError, LZMAError) as error:
        raise ValueError(f"{path} cannot be read as a table, it may be truncated: {error}") from error


def _refuse_damage(logs: pd.DataFrame, path: Path) -> None:
    if unknown := sorted(set(logs["dataset"]) - set(DATASETS)):
        raise ValueError(f"{path} has unknown data sets: {', '.join(unknown)}")
    numbers = logs[["seed", "updates", "return", "score", "train_loss"]]
    damaged = ~np.isfinite(numbers.to_numpy(dtype=float)).all(axis=1)
    if logs.empty or damaged.any():
        raise ValueError(f"{path}: {damaged.sum()} of {len(logs)} rows are incomplete; the file may be truncated")


def log_labels(artefact: Artefact) -> dict[str, str]:
    """{arm: label in the logs} of the artefact's arms that the authors ran.

    ValueError when there is no such arm, and for another label than one of :data:`FOLDERS` in the description.
    """
    labels = {arm: label for arm in artefact.arms if (label := _label(artefact, arm)) is not None}
    if artefact.algorithm != "dt" or not labels:
        why = "they hold no CQL at all" if artefact.algorithm == "cql" else "nor of any other arm of it"
        first = artefact.baseline or next(iter(artefact.arms))
        raise ValueError(f"{artefact.name}: the authors' logs have no run of {first!r}; {why}")
    if unknown := [label for label in labels.values() if label not in FOLDERS]:
        raise ValueError(f"{artefact.name}: the authors' logs have no {unknown[0]!r}; known: {', '.join(FOLDERS)}")
    return labels


def arms_without_logs(artefact: Artefact) -> list[str]:
    """The arms of which the authors left no run: our controls, and the arms that a reader has added."""
    return [arm for arm in artefact.arms if artefact.algorithm == "dt" and _label(artefact, arm) is None]


def _label(artefact: Artefact, arm: str) -> str | None:
    """An arm's label in the logs; None without a run of it. The authors' runs must not be longer than the arm."""
    name, ratio = artefact.ratios.get(arm, (arm, 1.0))
    label = artefact.authors[name] if name in artefact.authors else LABELS.get(name)
    if label is None or _LENGTHS.get(label, 1) > artefact.arms[arm].get("length", 1):
        return None
    if ratio == 1:
        return label
    part = f"{_RATIO_LABELS.get(label, label)}@ratio{ratio}"
    return part if part in FOLDERS else None


def logged_evaluations(logs: pd.DataFrame, artefact: Artefact) -> pd.DataFrame:
    """The evaluations behind an artefact, with its own names of the arms. ValueError for an arm without a run."""
    frames = []
    for arm, label in log_labels(artefact).items():
        chosen = logs[logs["arm"] == label]
        if chosen.empty:
            raise ValueError(f"{artefact.name}, arm {arm!r}: no run of {label!r} in these logs")
        frames.append(chosen.assign(arm=arm))
    return pd.concat(frames, ignore_index=True)


def run_folder(label: str, dataset: str, seed: int) -> str:
    """The authors' folder of one run. Its name identifies the run everywhere."""
    return f"{_folder(label, dataset)}_s{seed}"


def _folder(label: str, dataset: str) -> str:
    environment, kind = parse_name(dataset)
    return f"{FOLDERS[label]}_{environment}_{kind}"


def find_logs(path: str = "") -> Path:
    """Where the logs are: ``path``, else the environment variable AUTHORS_LOGS, else the repository's own table.

    Raises FileNotFoundError when nothing is at that path.
    """
    named = absolute(path) if path else from_environment("AUTHORS_LOGS")
    if named is None:
        return TABLE
    if not named.exists():
        raise FileNotFoundError(f"{named} is not there; give a CSV of the authors' logs, or a clone of {REPOSITORY}")
    return named


def download_logs(folder: Path, repository: str = REPOSITORY) -> Path:
    """Clone only the run tables of the authors' repository into ``folder``, once; returns ``folder``.

    Raises OSError when there is no git or the repository cannot be reached.
    """
    if folder.exists():
        return folder
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    clone = ["git", "clone", "--quiet", "--depth", "1", "--branch", BRANCH, "--filter=blob:none", "--no-checkout"]
    in_clone = ["git", "-C", str(partial)]
    steps = [
        [*clone, repository, str(partial)],
        [*in_clone, "sparse-checkout", "set", "--no-cone", f"/{RUNS_FOLDER}/**/progress.csv"],
        [*in_clone, "checkout", "--quiet", BRANCH],
    ]
    print(f"fetching the authors' logs from {repository}, once, into {folder}")
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=_LONGEST)
        except FileNotFoundError as error:
            raise OSError("git is not installed, and without it the authors' logs cannot be fetched") from error
        except subprocess.TimeoutExpired as error:
            raise OSError(f"{repository} did not come in {_LONGEST} s. Name a clone or a CSV with LOGS=path") from error
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise OSError(f"{repository} cannot be fetched: {reason}. Name a clone or a CSV with LOGS=path")
    partial.rename(folder)
    return folder
