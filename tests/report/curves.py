"""Reports of made-up learning curves."""

import numpy as np
import pandas as pd

from synthlib.report.report import Report
from synthlib.report.runs import Runs
from synthlib.study.figures import find_artefact
from synthlib.tasks import environment_of

DATASETS = ("hopper-medium", "ant-medium")


def report(name, curves, pretraining, seeds=5, spread=0.1, datasets=DATASETS):
    """The report of an artefact or figure.

    ``curves``: {arm: scores at 10, 20, ... updates}; ``pretraining``: {arm: its pre-training updates}.
    """
    generator = np.random.default_rng(0)
    rows = [
        {"arm": arm, "dataset": dataset, "seed": seed, "updates": 10 * (step + 1), "score": score + level, "loss": 1.0}
        for arm, scores in curves.items()
        for dataset in datasets
        for seed in range(seeds)
        for level in [spread * generator.normal()]
        for step, score in enumerate(scores)
    ]
    evaluations = pd.DataFrame(rows)
    records = evaluations[["arm", "dataset", "seed"]].drop_duplicates().assign(run="r", physics="p")
    records["environment"] = records["dataset"].map(environment_of)
    records["pretraining_updates"] = records["arm"].map(pretraining).fillna(0).astype(int)
    return Report(Runs(find_artefact(name), evaluations, records, "replica", "made up", None, (), {}))
