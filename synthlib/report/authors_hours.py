"""How long the authors' Decision Transformer runs took: hours of their 100,000 updates, without the evaluations.

Their programs logged the seconds of every 5,000 updates. The runs were made on the processors of a cluster, which were
not all equally fast, and nothing says which run had which. A GPU would have been faster: Table 12 is another
measurement (contradiction 26).
"""

import pandas as pd

from synthlib.paper import logged_hours

ARMS = {
    "dt": "DT",
    "control-mc-step1": "DT, matched",
    "wiki": "DT+Wiki",
    "wiki-no-kmeans": "DT+Wiki, no k-means",
    "mc1-s100-t1-20k": "DT+Synthetic",
}
"""Label in the logs -> arm."""
SAME_SEEDS = "DT+Wiki, the same seeds"
"""The runs of DT+Wiki with the seeds of "DT+Wiki, no k-means", which has three."""
_SEEDS_OF = {SAME_SEEDS: "DT+Wiki, no k-means"}


def hours_of_runs(logs: pd.DataFrame) -> pd.DataFrame:
    """One row per whole run of :data:`ARMS` in ``logs``: ``arm, dataset, seed, hours``."""
    chosen = logs[logs["arm"].isin(ARMS)]
    hours = chosen.groupby(["arm", "dataset", "seed"])["train_seconds"].sum().div(3600).rename("hours").reset_index()
    return hours.assign(arm=hours["arm"].map(ARMS))


def summary(logs: pd.DataFrame | None) -> pd.DataFrame:
    """``arm, dataset, mean, std, minimum, maximum, n``: hours over seeds, from ``logs`` or else as committed."""
    if logs is None:
        return logged_hours()
    runs = hours_of_runs(logs)
    seeds = set(runs.loc[runs["arm"] == _SEEDS_OF[SAME_SEEDS], "seed"])
    same = runs[(runs["arm"] == "DT+Wiki") & runs["seed"].isin(seeds)].assign(arm=SAME_SEEDS)
    cells = pd.concat([runs, same]).groupby(["arm", "dataset"], sort=False)["hours"]
    names = {"mean": "mean", "std": "std", "minimum": "min", "maximum": "max", "n": "size"}
    found = cells.agg(**{name: what for name, what in names.items() if name != "std"})
    found.insert(1, "std", cells.std(ddof=0))
    return found.reset_index()
