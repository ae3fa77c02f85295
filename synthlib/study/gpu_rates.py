"""How many operations a second a GPU does in a training: measured where there is a bench of a card, else assumed.

The operations of a training are counted (:attr:`synthlib.runs.job.Training.operations`). A rate, in operations per
second, is measured by ``make bench DEVICE=cuda`` for a column of runs. Without such a measurement the rate is assumed:
a share of the float32 limit of one H100.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from synthlib.machine.files import read_json
from synthlib.paths import ROOT, outputs

H100_LIMIT = 67e12
"""Float32 operations per second of an H100 SXM, as its maker says: matrix products without tensor cores."""
ASSUMED_SHARE = 0.3
"""Of this limit, for products as small as these networks' where nothing was measured. An assumption."""
COLUMNS = {
    "cql": "columns",
    "dt": "columns-dt",
    "gpt2_pretraining": "columns-gpt2",
    "critic_pretraining": "columns-critics",
}
"""The line of ``make bench DEVICE=cuda`` that has the rate of each kind of training."""


class Rate(NamedTuple):
    """Operations per second, and where they come from."""

    operations: float
    source: str


def rates(folder: Path | None = None) -> dict[str, Rate]:
    """{kind of training: rate}, from the bench of a card in ``folder``, else assumed.

    The default is the user's own outputs/bench-cuda, and without one the repository's.
    """
    assumed = Rate(ASSUMED_SHARE * H100_LIMIT, f"assumed, {ASSUMED_SHARE:.0%} of an H100's float32 limit")
    found = dict.fromkeys(COLUMNS, assumed)
    benches = [root / "bench-cuda" for root in (outputs(), ROOT / "outputs")]
    folder = folder or next((one for one in benches if (one / "bench.csv").exists()), benches[0])
    if not (folder / "bench.csv").exists():
        return found
    card = read_json(folder / "machine.json")["device"]
    rows = pd.read_csv(folder / "bench.csv").drop_duplicates("line").set_index("line")  # the first contestant is ours
    for kind, line in COLUMNS.items():
        if line in rows.index:
            # The share of the rate of torch's own product, times this rate.
            measured = rows.loc[line, "of_floor"] * rows.loc[line, "gflops_mkl"] * 1e9
            found[kind] = Rate(float(measured), f"measured on {card}")
    return found
