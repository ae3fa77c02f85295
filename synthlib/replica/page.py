"""Behaviour policies and clones on the page of the data sets (notebooks/01_datasets.ipynb).

The rest of the page, which needs no policy, is :mod:`synthlib.report.data_page`.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from synthlib.errors import stopping_in_words
from synthlib.machine.switches import TrainingIsOff, may_train
from synthlib.offline.cards import episode_returns
from synthlib.offline.datasets import load
from synthlib.offline.evaluation import Evaluation, Evaluator
from synthlib.offline.sources import REPLICA_FOLDER
from synthlib.paths import data_cache
from synthlib.replica.cloning import clone, evaluate_clone
from synthlib.replica.frames import strip
from synthlib.replica.policies import BehaviourPolicy, load_policy
from synthlib.report.data_page import Effort
from synthlib.report.palette import arm_styles
from synthlib.tasks import ENVIRONMENTS, normalised_score

Policies = dict[tuple[str, str], BehaviourPolicy]
"""Behaviour policies by (environment, tier)."""


class CloningCheck(NamedTuple):
    """A clone, compared with the data that it imitates and with the policy that collected the data.

    ``returns`` (E,): raw returns of the episodes in the data. ``noiseless``: evaluation of the behaviour policy without
    exploration noise, None when the policy is not known. ``clone``: evaluation of the clone. ``losses`` (U,): the
    clone's loss at each update. ``noise``: standard deviation of the exploration noise in the actions, None when the
    policy is not known.
    """

    environment: str
    returns: np.ndarray
    noiseless: Evaluation | None
    clone: Evaluation
    losses: np.ndarray
    noise: float | None


def behaviour_policies(cards: dict[str, dict[str, Any]]) -> Policies:
    """The policies of this project that collected the data of ``cards``, according to the cards' provenance."""
    made_by = {facts.get("algorithm") for card in cards.values() for facts in card["provenance"].values()}
    policies: Policies = {}
    for environment, tier in ((environment, tier) for environment in ENVIRONMENTS for tier in ("medium", "expert")):
        path = REPLICA_FOLDER / f"{environment}_{tier}.npz"
        if any(name.startswith(environment) for name in cards) and path.is_file():
            policy = load_policy(path)
            if "{algorithm}, seed {seed}, {steps:,} steps".format(**policy.facts) in made_by:
                policies[environment, tier] = policy
    return policies


def behaviour_strips(policies: Policies) -> Iterator[tuple[str, tuple[Figure, str]]]:
    """Yield (file name, (figure, alt text)) for each policy: frames of an episode without exploration noise."""
    for (environment, tier), policy in policies.items():
        figure, alt = strip(policy)
        facts = "{algorithm} after {steps:,} steps".format(**policy.facts)
        figure.suptitle(f"{environment}, {tier} policy: {facts}", fontsize=9)
        figure.set_layout_engine("constrained")
        yield f"frames_{environment}_{tier}", (figure, f"{tier} policy of {alt}")


def cloning_checks(names: Iterable[str], source: str, spent: Effort, policies: Policies) -> dict[str, CloningCheck]:
    """Clone each *medium* data set in ``names``: {name: check}. ``spent`` has the numbers of updates and episodes.

    Raises TrainingIsOff where trainings are off (a clone is trained), and Stopped at Ctrl-C.
    """
    if not may_train():
        raise TrainingIsOff("trainings are off, and cloning a data set is one")
    with stopping_in_words("a clone is not kept: run this cell again, and it begins anew"):
        return {name: _cloning_check(name, source, spent, policies) for name in names if name.endswith("-medium")}


def _cloning_check(name: str, source: str, spent: Effort, policies: Policies) -> CloningCheck:
    data = load(name, source, data_cache())
    policy, noiseless = policies.get((data.environment, data.tier)), None
    if policy is not None:
        width = len(policy.layers[0][0])  # the ant's policy takes observations without the zeros
        evaluator = Evaluator(data.environment, spent.episodes, data.masses)
        noiseless = evaluator.evaluate(lambda observations: policy.act(observations[:, :width]), seed=0)
    cloned = clone(data, spent.updates)
    evaluation = evaluate_clone(cloned, data, spent.episodes)
    noise = None if policy is None else policy.facts["exploration_noise"]
    return CloningCheck(data.environment, episode_returns(data), noiseless, evaluation, cloned.losses, noise)


def cloning_table(checks: dict[str, CloningCheck]) -> pd.DataFrame:
    """Normalised scores, mean ± standard error over episodes, with one row per data set."""
    rows = {
        name: {
            "the data": _with_error(check.environment, check.returns),
            "their policy without noise": _with_error(check.environment, check.noiseless and check.noiseless.returns),
            "clone": _with_error(check.environment, check.clone.returns),
            "clone / data": f"{check.clone.score / normalised_score(check.environment, check.returns.mean()):.0%}",
        }
        for name, check in checks.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _with_error(environment: str, returns: np.ndarray | None) -> str:
    if returns is None:
        return "not known"
    scores = normalised_score(environment, returns)
    error = f" ± {scores.std(ddof=1) / np.sqrt(len(scores)):.1f}" if len(scores) > 1 else ""
    return f"{scores.mean():.1f}{error}"


def cloning_curves(checks: dict[str, CloningCheck]) -> tuple[Figure, str]:
    """(figure, alt text): the loss of each clone against updates, and the variance of the exploration noise."""
    figure, axis = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    styles, words = arm_styles(checks), []
    for name, check in checks.items():
        window = max(len(check.losses) // 50, 1)
        means = check.losses[: len(check.losses) // window * window].reshape(-1, window).mean(axis=1)
        updates = window * np.arange(1, len(means) + 1)
        axis.plot(updates, means, label=name, markevery=max(len(means) // 8, 1), markersize=5, **styles[name])
        words.append(f"{name} {means[0]:.3f} to {means[-1]:.3f}")
    for noise in {check.noise for check in checks.values() if check.noise is not None}:
        axis.axhline(noise**2, color="black", linewidth=1)
        axis.annotate("variance of the exploration noise", (0.99, noise**2), xycoords=("axes fraction", "data"))
        axis.texts[-1].set(ha="right", va="bottom", fontsize=8)
    axis.set_yscale("log")
    axis.set_xlabel("updates")
    axis.set_ylabel("squared error of an action entry")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False, fontsize=9, loc="upper right")
    sns.despine(figure)
    return figure, f"Loss of behaviour cloning, each point a mean over its last updates: {'; '.join(words)}."
