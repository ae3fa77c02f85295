"""The page of the data (notebooks/01_datasets.ipynb): every data set of a source side by side, and checks on them.

Nothing here assumes that a source is complete: what it lacks is named and left out.
"""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from synthlib.machine.files import write_json, write_text
from synthlib.offline.cards import D4RL_SIZES, card, card_markdown, episode_returns
from synthlib.offline.datasets import load
from synthlib.offline.evaluation import Evaluation, Evaluator
from synthlib.offline.hdf5 import DataFileError
from synthlib.offline.replay_check import report
from synthlib.offline.sources import REPLICA_FOLDER, find_files, parse_source
from synthlib.paths import data_cache, outputs
from synthlib.replica.cloning import clone, evaluate_clone
from synthlib.replica.frames import strip
from synthlib.replica.policies import load_policy
from synthlib.report.figures import arm_styles, save_figure
from synthlib.study.params import ParameterError
from synthlib.tasks import ENVIRONMENTS, environment_of, normalised_score

TIERS = ("medium", "medium-replay", "medium-expert")
BINS = 40
GREY = "0.45"


class Effort(NamedTuple):
    """What a preset spends on the checks, per data set: transitions replayed in the physics, updates of cloning, and
    episodes of every evaluation."""

    rows: int
    updates: int
    episodes: int


EFFORTS = {
    "smoke": Effort(20, 20, 1),
    "quick": Effort(500, 5000, 10),
    "evening": Effort(2000, 20_000, 50),
    "scouting": Effort(2000, 20_000, 50),
    "overnight": Effort(2000, 20_000, 50),
    "paper": Effort(5000, 50_000, 100),
}


class CloningCheck(NamedTuple):
    """A clone beside what it imitates: raw ``returns`` (E,) of the episodes in the data, the ``Evaluation`` of the
    behaviour policy without exploration noise (None: not known) and of the clone, the clone's ``losses`` (U,) and the
    scale of the ``noise`` in the actions (None: not known)."""

    environment: str
    returns: np.ndarray
    noiseless: Evaluation | None
    clone: Evaluation
    losses: np.ndarray
    noise: float | None


def effort(preset):
    """The :class:`Effort` of a preset; ParameterError for an unknown one."""
    if preset not in EFFORTS:
        raise ParameterError(f"unknown preset {preset!r}; known: {', '.join(EFFORTS)}")
    return EFFORTS[preset]


def page_folder(notebook, preset, source):
    """``outputs/<preset>/<notebook>``, with the source of data in the name unless it is the replica."""
    kind = parse_source(source).kind
    return outputs() / preset / (notebook if kind == "replica" else f"{notebook}-{kind}")


def find(source):
    """(names of the data sets that are there, {name: why not} of the others), environment by environment.

    FileNotFoundError when there is none at all. A file that is there but damaged is an error later, not missing.
    """
    present, missing = [], {}
    for name in (f"{environment}-{tier}" for environment in ENVIRONMENTS for tier in TIERS):
        try:
            find_files(name, source)
            present.append(name)
        except FileNotFoundError as error:
            missing[name] = str(error)
    if not present:
        raise FileNotFoundError(f"none of the data sets is there: {next(iter(missing.values()))}")
    return present, missing


def availability(present, missing):
    """Sentences on what :func:`find` found; the reason of the first that is missing stands for all."""
    sentence = f"{len(present)} of {len(present) + len(missing)} data sets are there."
    if not missing:
        return sentence
    return f"{sentence}\nMissing: {', '.join(missing)}.\n{next(iter(missing.values()))}."


def cards_of(names, source):
    """``{name: card}``; raises as ``cards.card``."""
    return {name: card(name, source, data_cache()) for name in names}


def save_cards(cards, folder):
    """Write all cards to ``folder`` as cards.json and, to be read, cards.md."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "cards.json", cards)
    write_text(folder / "cards.md", "\n".join(card_markdown(card) for card in cards.values()))


def summary(cards):
    """One row per data set, in words and numbers to be displayed."""
    rows = {
        name: {
            "episodes": f"{card['episodes']:,}",
            "transitions": f"{card['transitions']:,}",
            "of D4RL's": f"{card['transitions'] / D4RL_SIZES[name]:.1%}" if name in D4RL_SIZES else "",
            "episode length": f"{card['mean_length']:.0f}",
            "mean return": f"{card['mean_return']:.0f}",
            "normalised score": f"{card['score']:.1f}",
            "ended by itself": f"{card['terminations'] / card['episodes']:.0%}",
        }
        for name, card in cards.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def foldable(cards):
    """Every card in full, folded up, as Markdown."""
    page = "<details><summary>{}</summary>\n\n{}\n</details>\n"
    return "\n".join(page.format(name, card_markdown(card)) for name, card in cards.items())


def return_histograms(names, source):
    """(figure, alt text): normalised returns of the episodes, environments down, tiers across."""
    environments = [environment for environment in ENVIRONMENTS if any(n.startswith(environment) for n in names)]
    size = (10, 1.9 * len(environments) + 0.6)
    figure, grid = plt.subplots(len(environments), 3, figsize=size, sharex="row", squeeze=False, layout="constrained")
    words = []
    for environment, row in zip(environments, grid, strict=True):
        scores = {}
        for tier in (tier for tier in TIERS if f"{environment}-{tier}" in names):
            data = load(f"{environment}-{tier}", source, data_cache())
            scores[tier] = normalised_score(environment, episode_returns(data))
        edges = np.histogram_bin_edges(np.concatenate(list(scores.values())), BINS)
        for axis, tier in zip(row, TIERS, strict=True):
            axis.set_title(f"{environment}, {tier}", fontsize=10)
            if tier not in scores:
                axis.text(0.5, 0.5, "not there", transform=axis.transAxes, ha="center", color=GREY)
                axis.set_yticks([])
                continue
            mean, count = scores[tier].mean(), len(scores[tier])
            axis.hist(scores[tier], edges, weights=np.full(count, 100 / count), color=GREY)
            axis.axvline(mean, color="black", linestyle="--", linewidth=1.2)
            axis.set_ymargin(0.3)  # room for the number
            axis.annotate(f" mean {mean:.0f}", (mean, 0.9), xycoords=("data", "axes fraction"), fontsize=9)
            words.append(f"{environment}-{tier} {mean:.0f} ({scores[tier].min():.0f} to {scores[tier].max():.0f})")
        row[0].set_ylabel("% of episodes")
    figure.supxlabel("normalised return of an episode (each row has its own scale)", fontsize=9)
    sns.despine(figure)
    return figure, f"Histograms of normalised returns; mean and range: {'; '.join(words)}."


def behaviour_policies(cards):
    """``{(environment, tier): policy}`` for the data that a card's provenance traces to this project's policies."""
    made_by = {facts.get("algorithm") for card in cards.values() for facts in card["provenance"].values()}
    policies = {}
    for environment, tier in ((environment, tier) for environment in ENVIRONMENTS for tier in ("medium", "expert")):
        path = REPLICA_FOLDER / f"{environment}_{tier}.npz"
        if any(name.startswith(environment) for name in cards) and path.is_file():
            policy = load_policy(path)
            if "{algorithm}, seed {seed}, {steps:,} steps".format(**policy.facts) in made_by:
                policies[environment, tier] = policy
    return policies


def behaviour_strips(policies):
    """Yield (name for a file, (figure, alt text)) of each policy: moments of an episode without its noise."""
    for (environment, tier), policy in policies.items():
        figure, alt = strip(policy)
        facts = "{algorithm} after {steps:,} steps".format(**policy.facts)
        figure.suptitle(f"{environment}, {tier} policy: {facts}", fontsize=9)
        figure.set_layout_engine("constrained")
        yield f"frames_{environment}_{tier}", (figure, f"{tier} policy of {alt}")


def physics_findings(names, source, rows):
    """A sentence for one data set of each environment: which body masses it was made with, by replaying it."""
    first = {environment_of(name): name for name in reversed(names)}
    sentences = []
    for name in reversed(first.values()):
        try:
            sentences.append(report(name, source, rows))
        except DataFileError as error:
            sentences.append(f"{name}: cannot be replayed: {error}")
    return sentences


def cloning_checks(names, source, spent, policies):
    """``{name: CloningCheck}`` of the *medium* sets among ``names``; ``policies`` as of :func:`behaviour_policies`."""
    return {name: _cloning_check(name, source, spent, policies) for name in names if name.endswith("-medium")}


def _cloning_check(name, source, spent, policies):
    data = load(name, source, data_cache())
    policy, noiseless = policies.get((data.environment, data.tier)), None
    if policy is not None:
        width = len(policy.layers[0][0])  # the ant's policy sees no zeros
        evaluator = Evaluator(data.environment, spent.episodes, data.masses)
        noiseless = evaluator.evaluate(lambda observations: policy.act(observations[:, :width]), seed=0)
    cloned = clone(data, spent.updates)
    evaluation = evaluate_clone(cloned, data, spent.episodes)
    noise = None if policy is None else policy.facts["exploration_noise"]
    return CloningCheck(data.environment, episode_returns(data), noiseless, evaluation, cloned.losses, noise)


def cloning_table(checks):
    """Normalised scores as mean and standard error over episodes, one row per data set."""
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


def _with_error(environment, returns):
    if returns is None:
        return "not known"
    scores = normalised_score(environment, returns)
    error = f" ± {scores.std(ddof=1) / np.sqrt(len(scores)):.1f}" if len(scores) > 1 else ""
    return f"{scores.mean():.1f}{error}"


def cloning_curves(checks):
    """(figure, alt text): the loss of every clone, beside what exploration noise alone would leave."""
    figure, axis = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    styles, words = arm_styles(checks), []
    for name, check in checks.items():
        window = max(len(check.losses) // 50, 1)
        means = check.losses[: len(check.losses) // window * window].reshape(-1, window).mean(axis=1)
        updates = window * np.arange(1, len(means) + 1)
        axis.plot(updates, means, label=name, markevery=max(len(means) // 8, 1), markersize=5, **styles[name])
        words.append(f"{name} {means[0]:.3f} to {means[-1]:.3f}")
    for noise in {check.noise for check in checks.values()} - {None}:
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


def show(drawing, path):
    """A (figure, alt text) as it is saved under ``path``, without a suffix, for a notebook; prints its alt text."""
    from IPython.display import Image

    figure, alt = drawing
    width = int(100 * figure.get_size_inches()[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, alt, path)
    print(alt)
    return Image(filename=path.with_suffix(".png"), width=width, alt=alt)
