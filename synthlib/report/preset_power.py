"""What a preset's seeds can find, if arms differ and spread as they did in the authors' runs.

A preset of fewer updates than the paper's is held against the authors' evaluations after as many updates, on the data
sets it has: the difference of two arms there, and the chance that the preset's seeds show it by the rules of
:mod:`synthlib.report.verdicts` (Welch's test at 5 %, corrected over the data sets of a column; their average is one
question).
"""

import numpy as np
import pandas as pd

from synthlib.paper import logged_scores
from synthlib.report.verdicts import AVERAGE, power, power_of_cells, seeds_needed
from synthlib.study.params import can_train, left_out, load_artefact, load_preset, number_of_seeds, presets


def power_of_presets(artefact="table1"):
    """One row per preset, pair of the ``artefact``'s arms that its verdict compares, and data set; then their average.

    Columns ``difference`` in points, ``spread`` and ``other spread`` (standard deviation over seeds; of the average
    their root mean square), ``seeds`` of the preset (of the average the fewest), its ``power``, and ``seeds for 80 %``
    of that row alone (NaN: more than 10,000). Presets that end where the authors did not evaluate are left out.
    """
    artefact, frames = load_artefact(artefact), []
    for preset in presets():
        if not can_train(preset, "dt"):
            continue
        settings = load_preset(preset, "dt")
        arms = [arm for arm in artefact.arms if arm not in left_out(artefact, settings)]
        scores = logged_scores()
        scores = scores[scores["dataset"].isin(settings["datasets"]) & (scores["updates"] == settings["updates"])]
        for baseline in (artefact.baseline, artefact.control):
            for arm in arms:
                # The control is held against the baseline; asking the other way round is the same question.
                if arm not in (artefact.baseline, baseline) and not scores.empty:
                    rows = _rows(scores, arm, baseline, settings)
                    frames.append(rows.assign(preset=preset, comparison=f"{arm} - {baseline}"))
    return pd.concat(frames).set_index(["preset", "comparison", "dataset"])


def _rows(scores, arm, baseline, settings):
    sides = [scores[scores["arm"] == name].set_index("dataset").sort_index() for name in (arm, baseline)]
    spreads = [(side["std"] * np.sqrt(side["n"] / (side["n"] - 1))).to_numpy() for side in sides]
    differences = (sides[0]["mean"] - sides[1]["mean"]).to_numpy()
    datasets = sides[0].index
    seeds = np.array([number_of_seeds(settings, dataset) for dataset in datasets])

    def row(dataset, difference, spreads, seeds, power):
        needed = seeds_needed(difference, *spreads)
        return {
            "dataset": dataset,
            "difference": difference,
            "spread": np.sqrt(np.mean(spreads[0] ** 2)),
            "other spread": np.sqrt(np.mean(spreads[1] ** 2)),
            "seeds": seeds,
            "power": power,
            "seeds for 80 %": np.nan if needed is None else needed,
        }

    by_dataset = zip(datasets, differences, np.transpose(spreads), seeds, strict=True)
    found = power_of_cells(differences, *spreads, seeds)
    rows = [
        row(name, difference, of_one[:, None], n, chance)
        for (name, difference, of_one, n), chance in zip(by_dataset, found, strict=True)
    ]
    if len(datasets) > 1:
        average = differences.mean()
        rows.append(row(AVERAGE, average, spreads, seeds.min(), power(average, *spreads, seeds)))
    return pd.DataFrame(rows)
