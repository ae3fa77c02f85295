"""Why CORL's scores on some of the data sets are far above the paper's: the numbers, and what is known of the reasons.

CORL (github corl-team/CORL) is an independent implementation of both methods, with its own networks and tuned settings.
"""

import pandas as pd

from synthlib.paper import corl_scores, paper_table
from synthlib.report.verdicts import CELL_MARGIN

_TABLES = {"DT": 1, "CQL": 6}  # where the paper prints its baselines
_REASONS = {
    "CQL": (
        "Network: CORL's critics have three hidden layers, the paper's two; an issue of CORL's repository reports that "
        "with this code base more layers mend the scores on locomotion (faithfulness 6.9)",
        "Hyperparameters: on halfcheetah-medium CORL samples ten actions for the conservative term and weights it by "
        "10, the paper three and 5; its policy learns ten times slower, and its target has no cap",
        "Data: CORL standardises the observations; the paper's program does not",
        "Evaluation: CORL has 4 seeds and its own choice of the last score, the paper 20 and the mean of the last four "
        "evaluations of ten episodes",
    ),
    "DT": (
        "Network: the paper's program adds the time embedding after the layer norm of the input, the original DT "
        "before it (faithfulness 3.1), and drops 0.2 of the residual stream",
        "Hyperparameters: the paper warms up for 5,000 updates with minibatches of 64 sequences; CORL tunes its "
        "settings for each data set",
        "Evaluation: the paper runs ten episodes an evaluation and reports one target return of two; CORL has 4 seeds "
        "and an evaluation of its own",
    ),
}


def corl_table(algorithm: str) -> pd.DataFrame:
    """The nine data sets that both have, without pre-training: ``paper, CORL, difference`` in points.

    ``algorithm``: "DT" or "CQL"; KeyError for another.
    """
    printed = paper_table(_TABLES[algorithm]).query("arm == @algorithm and not is_average").set_index("dataset")["mean"]
    corl = corl_scores().query("arm == @algorithm and metric == 'final'").set_index("dataset")["mean"]
    frame = pd.DataFrame({"paper": printed, "CORL": corl}).dropna().reindex(printed.index.intersection(corl.index))
    return frame.assign(difference=frame["CORL"] - frame["paper"])


def why_corl(algorithm: str) -> str:
    """A few sentences: how large the difference is, where it is largest, what is known of the reasons, what follows."""
    table = corl_table(algorithm)
    most = table.loc[table["difference"].idxmax()]
    far = table.index[table["difference"] > CELL_MARGIN]
    lines = [
        f"CORL's {algorithm} is {table['difference'].mean():.1f} points above the paper's {algorithm} on average over "
        f"{len(table)} data sets, and by more than {CELL_MARGIN:g} points on {len(far)} of them ({', '.join(far)}). "
        f"Most on {most.name}: {most['CORL']:.1f} beside {most['paper']:.1f}.",
        "What is known to differ:",
        *(f"- {reason}." for reason in _REASONS[algorithm]),
        "Nobody has run the steps between the two one by one, so none of these differences can be called the reason. "
        f"What follows: on these {len(far)} data sets the baseline can be improved by more than pre-training adds in "
        "the average, and without it. Whether pre-training would add to the improved one, the paper does not ask.",
    ]
    return "\n".join(lines)
