"""The authors' evaluations as one table that belongs to the repository: synthlib/paper/authors_evaluations.csv.xz.

One row per run and quantity, one column per number of updates, so that digits of one kind stand together and pack well:

    quantity,arm,dataset,seed,5000,10000,...
    return,dt,hopper-medium,666,...

pandas reads it as it is. The score is not in it: it follows from the return. It is made of a clone of the authors'
repository, or of a CSV file in the layout of :data:`synthlib.report.authors_logs.COLUMNS`, by

    make authors-evaluations LOGS=clone

synthlib/paper/authors_evaluations.md says where the numbers come from.
"""

import lzma
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from synthlib.machine.files import write_atomically
from synthlib.tasks import environment_of, normalised_score

TABLE = Path(str(files("synthlib.paper"))) / "authors_evaluations.csv.xz"
QUANTITIES = ("return", "train_loss", "train_seconds")
_RUN = ["arm", "dataset", "seed"]
_PACKING = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "pb": 0}]  # pb: of text, not of 4-byte words


def is_packed(table: pd.DataFrame) -> bool:
    """Whether ``table`` has this layout, and not one row per evaluation."""
    return "quantity" in table


def packed(logs: pd.DataFrame) -> pd.DataFrame:
    """``logs``, one row per evaluation, in the layout of the file; the runs keep their order."""
    order = pd.MultiIndex.from_frame(logs[_RUN].drop_duplicates())
    wide = logs.set_index([*_RUN, "updates"])[list(QUANTITIES)].unstack("updates").reindex(order)
    return pd.concat({name: wide[name] for name in QUANTITIES}, names=["quantity"]).reset_index()


def unpacked(table: pd.DataFrame) -> pd.DataFrame:
    """One row per evaluation, columns :data:`synthlib.report.authors_logs.COLUMNS`, from the layout of the file.

    Raises ValueError when a quantity or a run of one is missing.
    """
    blocks = {name: rows.set_index(_RUN).drop(columns="quantity") for name, rows in table.groupby("quantity")}
    if set(blocks) != set(QUANTITIES):
        raise ValueError(f"the table has the quantities {', '.join(blocks)}; wanted: {', '.join(QUANTITIES)}")
    returns = blocks["return"]
    if any(len(block) != len(returns) for block in blocks.values()):
        raise ValueError("the table does not have all quantities of every run; it may be truncated")
    there = returns.notna().to_numpy()
    run, evaluation = np.nonzero(there)
    logs = returns.index.to_frame(index=False).iloc[run].reset_index(drop=True)
    logs["updates"] = returns.columns.to_numpy(int)[evaluation]
    for name in QUANTITIES:
        logs[name] = blocks[name].reindex(returns.index).to_numpy()[there]
    scores = pd.Series(np.nan, index=logs.index)
    for dataset, rows in logs.groupby("dataset").groups.items():
        scores[rows] = normalised_score(environment_of(str(dataset)), logs.loc[rows, "return"])
    logs.insert(logs.columns.get_loc("return") + 1, "score", scores)
    return logs


def write_table(logs: pd.DataFrame, path: Path = TABLE) -> Path:
    """Write ``logs``, one row per evaluation, as the packed table ``path``; returns ``path``."""
    text = packed(logs).to_csv(index=False, lineterminator="\n").encode()
    write_atomically(path, lambda file: file.write_bytes(lzma.compress(text, filters=_PACKING)))
    return path


def main(logs: str = "") -> None:
    """Make the committed table of a clone or CSV file; without one the authors' repository is cloned first."""
    from synthlib.paths import data_cache
    from synthlib.report.authors_logs import download_logs, find_logs, read_logs

    source = find_logs(logs) if logs else download_logs(data_cache() / "authors_logs")
    read = read_logs(source)
    path = write_table(read)
    runs = len(read[_RUN].drop_duplicates())
    print(f"{len(read):,} evaluations of {runs:,} runs: {path.name}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
