"""What a preset's number of seeds can find, if arms differ and spread as they did in the authors' runs.

A preset of fewer updates than the paper's is held against the authors' evaluations after as many updates, on the data
sets it has: the difference of two arms there, and the chance that the preset's seeds show it (two-sided Welch test at
5 % of the mean over data sets, :func:`synthlib.verdicts.power`).
"""

import numpy as np
import pandas as pd

from synthlib.paper import logged_scores
from synthlib.study import can_train, load_artefact, load_preset, presets
from synthlib.verdicts import power, seeds_needed


def power_of_presets(artefact="table1"):
    """One row per preset and pair of the ``artefact``'s arms that its verdict compares.

    Columns ``difference`` in points, ``spread`` and ``other spread`` (standard deviation over seeds, root mean square
    over data sets), ``seeds`` of the preset, its ``power``, and ``seeds for 80 %`` (NaN: more than 10,000). Presets
    that end where the authors did not evaluate are left out.
    """
    artefact, rows = load_artefact(artefact), {}
    for preset in presets():
        if not can_train(preset, "dt"):
            continue
        settings = load_preset(preset, "dt")
        scores = logged_scores()
        scores = scores[scores["dataset"].isin(settings["datasets"]) & (scores["updates"] == settings["updates"])]
        for baseline in (artefact.baseline, artefact.control):
            for arm in artefact.arms:
                # The control is held against the baseline; asking the other way round is the same question.
                if arm not in (artefact.baseline, baseline) and not scores.empty:
                    rows[preset, f"{arm} - {baseline}"] = _row(scores, arm, baseline, settings["seeds"])
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["preset", "comparison"])


def _row(scores, arm, baseline, seeds):
    means, spreads = [], []
    for name in (arm, baseline):
        of_arm = scores[scores["arm"] == name].sort_values("dataset")
        means.append(of_arm["mean"].mean())
        spreads.append((of_arm["std"] * np.sqrt(of_arm["n"] / (of_arm["n"] - 1))).to_numpy())
    difference = means[0] - means[1]
    needed = seeds_needed(difference, *spreads)
    return {
        "difference": difference,
        "spread": np.sqrt(np.mean(spreads[0] ** 2)),
        "other spread": np.sqrt(np.mean(spreads[1] ** 2)),
        "seeds": seeds,
        "power": power(difference, *spreads, seeds),
        "seeds for 80 %": np.nan if needed is None else needed,
    }
