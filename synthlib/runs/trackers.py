"""All trainings of a store for other tools: tables as CSV or Parquet, TensorBoard, Weights & Biases offline.

    synthlib export --format csv --to folder      (make export FORMAT=csv TO=folder)

csv, parquet    runs: one row per training, with its whole configuration; curves: one row per training, number of
                updates and name of a value (evaluations and losses)
tensorboard     one folder per training
wandb           one offline run per training, for `wandb sync`

Only csv needs no package besides those that are installed. The others are no requirement of this project.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from synthlib.errors import Failed
from synthlib.machine.files import write_text
from synthlib.paths import RECORDS, store_root
from synthlib.runs.progress import ROWS, read_or_say
from synthlib.runs.store import folders_in, rows_in, spent_in, updates_in

_FINAL = 4  # evaluations, whose mean is a final score


class Exported(NamedTuple):
    """One training, as it lies in the store or among the published records."""

    kind: str
    key: str
    where: str
    """store or records"""
    updates: int
    config: dict[str, Any]
    curves: pd.DataFrame
    """Columns updates, name, value."""
    seconds: float | None
    """From start to last save, where it was recorded."""

    def row(self) -> dict[str, Any]:
        """One line of the table of runs. Parts of the configuration have names like cql.discount."""
        scores = self.curves.loc[self.curves["name"] == "score", "value"]
        found = {
            "kind": self.kind,
            "key": self.key,
            "where": self.where,
            "updates": self.updates,
            "seconds": self.seconds,
            "final_score": scores.tail(_FINAL).mean() if len(scores) >= _FINAL else None,
            "last_score": scores.iloc[-1] if len(scores) else None,
        }
        return found | flattened(self.config)


def trainings(store: Path, records: Path = RECORDS) -> Iterator[Exported]:
    """Every training that has begun, the store's first; a published one that is in the store too is not repeated.

    What is damaged is named on the error stream and left out.
    """
    seen: set[tuple[str, str]] = set()
    for where, root in (("store", store), ("records", records)):
        for folder in folders_in(root):
            name = folder.parent.name, folder.name
            updates, config = updates_in(folder), read_or_say(folder / "config.json")
            if updates is None or not isinstance(config, dict) or name in seen:
                continue
            seen.add(name)
            config.pop("kind", None)
            spent = spent_in(folder)
            seconds = None if spent is None else spent[1].wall_seconds
            yield Exported(*name, where, updates, config, _curves(folder, updates), seconds)


def _curves(folder: Path, updates: int) -> pd.DataFrame:
    """Evaluations and losses of a training as one long table: updates, name, value."""
    parts = [
        rows.melt(id_vars="updates", var_name="name") for name in ROWS if len(rows := rows_in(folder, name, updates))
    ]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"updates": [], "name": [], "value": []})
    return found.dropna(subset="value")


def flattened(config: dict[str, Any], before: str = "") -> dict[str, Any]:
    """{"cql": {"discount": 0.99}} as {"cql.discount": 0.99}; lists become JSON."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            found |= flattened(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = json.dumps(value) if isinstance(value, list) else value
    return found


def _frames(runs: Sequence[Exported]) -> dict[str, pd.DataFrame]:
    curves = [run.curves.assign(kind=run.kind, key=run.key) for run in runs]
    long = pd.concat(curves, ignore_index=True)[["kind", "key", "updates", "name", "value"]]
    return {"runs": pd.DataFrame([run.row() for run in runs]), "curves": long}


def to_csv(runs: Sequence[Exported], folder: Path) -> None:
    """``runs.csv`` and ``curves.csv``."""
    for name, frame in _frames(runs).items():
        write_text(folder / f"{name}.csv", frame.to_csv(index=False))


def to_parquet(runs: Sequence[Exported], folder: Path) -> None:
    """``runs.parquet`` and ``curves.parquet``. Raises Failed without the package pyarrow."""
    _needed("pyarrow", "parquet")
    for name, frame in _frames(runs).items():
        # A column of Parquet has one type; that of a configuration may hold a text in one run, a number in another.
        mixed = [one for one in frame if frame[one].map(type).nunique() > 1 and frame[one].dtype == object]
        frame.astype(dict.fromkeys(mixed, "string")).to_parquet(folder / f"{name}.parquet", index=False)


def to_tensorboard(runs: Sequence[Exported], folder: Path) -> None:
    """A folder of events per training, the configuration as text. Raises Failed without the package tensorboard."""
    _needed("tensorboard", "tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    for run in runs:
        with SummaryWriter(folder / run.kind / run.key) as writer:
            writer.add_text("config", f"```\n{json.dumps(run.config, indent=1)}\n```")
            for updates, name, value in run.curves.itertuples(index=False):
                writer.add_scalar(name, value, int(updates))


def to_wandb(runs: Sequence[Exported], folder: Path) -> None:
    """An offline run per training below ``folder``. Raises Failed without the package wandb."""
    wandb = _needed("wandb", "wandb")
    for run in runs:
        name = f"{run.kind}-{run.key}"
        with wandb.init(
            project="synthlib", id=name, name=name, group=run.kind, config=run.config, dir=folder, mode="offline"
        ) as open_run:
            for updates, rows in run.curves.groupby("updates"):
                open_run.log(dict(zip(rows["name"], rows["value"], strict=True)), step=int(updates))


FORMATS: dict[str, Callable[[Sequence[Exported], Path], None]] = {
    "csv": to_csv,
    "parquet": to_parquet,
    "tensorboard": to_tensorboard,
    "wandb": to_wandb,
}


def _needed(package: str, wanted: str) -> Any:
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise Failed(
            f"FORMAT={wanted} needs the package {package}, which is no requirement of this project: install it with "
            f"{sys.executable} -m pip install {package}, or take FORMAT=csv"
        ) from error


def export(wanted: str, folder: Path) -> int:
    """Write all trainings of the store and of the records into ``folder``; returns their number.

    Raises ValueError for an unknown format, and Failed when there is no training or a package is missing.
    """
    if wanted not in FORMATS:
        raise ValueError(f"unknown format {wanted!r}; known: {', '.join(FORMATS)}")
    runs = list(trainings(store_root()))
    if not runs:
        raise Failed(f"there is no training in {store_root()} nor in {RECORDS}: make run-table6 makes some")
    folder.mkdir(parents=True, exist_ok=True)
    FORMATS[wanted](runs, folder)
    return len(runs)
