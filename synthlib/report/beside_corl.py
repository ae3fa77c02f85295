"""Why CORL's scores on some of the data sets are far above the paper's: the numbers, and what is known of the reasons.

CORL (github corl-team/CORL) is an independent implementation of both methods, with its own networks and tuned settings.
"""

import pandas as pd

from synthlib.paper import corl_scores, paper_table
from synthlib.report.verdicts import CELL_MARGIN

_TABLES = {"DT": (1, "DT+Synthetic"), "CQL": (6, "S=1000")}  # where its baselines are printed, and beside which arm
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
    """The nine data sets that both have: ``paper, CORL, difference, gain`` in points.

    The first three are of the baselines; ``gain`` is what the paper prints for the best pre-trained arm, less its own.

    ``algorithm``: "DT" or "CQL"; KeyError for another.
    """
    number, pretrained = _TABLES[algorithm]
    printed = paper_table(number).query("not is_average").pivot(index="dataset", columns="arm", values="mean")
    printed = printed.reindex(paper_table(number)["dataset"].unique())
    corl = corl_scores().query("arm == @algorithm and metric == 'final'").set_index("dataset")["mean"]
    frame = pd.DataFrame({"paper": printed[algorithm], "CORL": corl.reindex(printed.index)})
    frame = frame.assign(difference=frame["CORL"] - frame["paper"], gain=printed[pretrained] - printed[algorithm])
    return frame.dropna()


def why_corl(algorithm: str) -> str:
    """A few sentences: how large the difference is, where it is largest, what is known of the reasons, what follows."""
    table = corl_table(algorithm)
    most = table.loc[table["difference"].idxmax()]
    is_far = table["difference"] > CELL_MARGIN
    far, pretrained = table.index[is_far], _TABLES[algorithm][1]
    lines = [
        f"CORL's {algorithm} is {table['difference'].mean():.1f} points above the paper's {algorithm} on average over "
        f"{len(table)} data sets, and by more than {CELL_MARGIN:g} points on {len(far)} of them ({', '.join(far)}). "
        f"Most on {most.name}: {most['CORL']:.1f} beside {most['paper']:.1f}.",
        "What is known to differ:",
        *(f"- {reason}." for reason in _REASONS[algorithm]),
        "Nobody has run the steps between the two one by one, so none of these differences can be called the reason. "
        f"What follows: on these {len(far)} data sets the baseline can be improved without any pre-training. The gain "
        f"printed for {pretrained} is {table.loc[is_far, 'gain'].mean():.1f} points there and "
        f"{table.loc[~is_far, 'gain'].mean():.1f} on the other {(~is_far).sum()}. Whether pre-training would add to an "
        "improved baseline, the paper does not ask.",
    ]
    return "\n".join(lines)
