"""Pick the medium and the expert policy among the policies of one TD3 training.

One evaluation of five episodes is not precise, so the best policies of the learning curve play many noisy episodes.
"""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from synthlib.machine.files import read_json
from synthlib.machine.processors import usable_processors
from synthlib.offline.masses import LABEL, with_label
from synthlib.offline.sources import REPLICA_FOLDER
from synthlib.replica.policies import (
    BehaviourPolicy,
    collect_episode,
    environment_for,
    policy_from_torch,
    save_policy,
)
from synthlib.tasks import normalised_score

MEDIUM_SCORES = {"halfcheetah": 42, "hopper": 44, "walker2d": 62, "ant": 80}  # approximate scores of D4RL's medium data
PICK_SEED = 1000  # no data set has this seed, so no policy is picked by the episodes that are in the data


def keep_both(environment: str, folder: Path, processes: int | None = None) -> None:
    """Pick the medium and the expert policy of the training in ``folder`` and store them with its learning curve.

    They are stored in the folder of the embedded replica data. Prints the score of each candidate.
    """
    keep_learning_curve(folder, REPLICA_FOLDER / f"{environment}_training.csv")
    for tier, target in (("medium", MEDIUM_SCORES[environment]), ("expert", None)):
        print(f"{environment} {tier} (wanted: {'the highest' if target is None else f'near {target}'})")
        policy = pick(folder, target, processes=processes)
        save_policy(REPLICA_FOLDER / f"{environment}_{tier}.npz", policy)
        print(f"-> {policy.facts['steps']:,} steps\n")


def learning_curve(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Environment steps (N,) and normalised scores (N,) of a training's evaluations, in order."""
    table = _evaluations(folder)
    return table[:, 0].astype(int), table[:, 1]


def keep_learning_curve(folder: Path, path: Path) -> None:
    """Copy a training's evaluations, in order and without repetitions, to the CSV file ``path`` with a header."""
    header = "steps,score,seconds,lowest_return,highest_return"
    formats = ("%d", "%.3f", "%.1f", "%.1f", "%.1f")
    np.savetxt(path, _evaluations(folder), delimiter=",", fmt=formats, header=header, comments="")


def _evaluations(folder: Path) -> np.ndarray:
    """The rows of ``evaluations.csv`` without repetitions: a training that is killed while it saves repeats a row."""
    table = np.loadtxt(Path(folder) / "evaluations.csv", delimiter=",", ndmin=2)
    return table[np.unique(table[:, 0], return_index=True)[1]]


def saved_policy(folder: Path, steps: int) -> BehaviourPolicy:
    """The policy that the training in ``folder`` saved after ``steps`` environment steps."""
    config = with_label(read_json(Path(folder) / "config.json"))
    facts = {name: config[name] for name in ("environment", LABEL, "seed", "exploration_noise")}
    state = torch.load(Path(folder) / "policies" / f"{steps}.pt", weights_only=True)
    return policy_from_torch(state, facts | {"algorithm": "TD3", "steps": int(steps)})


def pick(
    folder: Path,
    target: float | None = None,
    candidates: int = 20,
    first: int = 10,
    final: int = 50,
    processes: int | None = None,
    report: Callable[[str], object] = print,
) -> BehaviourPolicy:
    """The policy whose mean normalised score is nearest to ``target``; without a target, the highest.

    The ``candidates`` best policies of the learning curve play ``first`` noisy episodes each. Then the best three of
    them play ``final`` episodes each. All policies play with the same seeds. The facts of the policy get the mean score
    (``noisy_score``) and its standard error (``noisy_score_error``).
    """
    steps, curve = learning_curve(folder)

    def distance(scores: np.ndarray) -> np.ndarray:
        return -scores if target is None else np.abs(scores - target)

    chosen = steps[np.argsort(distance(curve), kind="stable")[:candidates]]
    policies = [saved_policy(folder, step) for step in chosen]
    with multiprocessing.get_context("spawn").Pool(processes or usable_processors()) as pool:
        for episodes, left in ((first, 3), (final, 1)):
            jobs = [(policy, index) for policy in policies for index in range(episodes)]
            scores = np.reshape(pool.map(_noisy_score, jobs, chunksize=4), (len(policies), episodes))
            for policy, row in zip(policies, scores, strict=True):
                mean, error = row.mean(), row.std(ddof=1) / np.sqrt(episodes)
                policy.facts.update(noisy_score=round(float(mean), 2), noisy_score_error=round(float(error), 2))
                report(f"{policy.facts['steps']:>9,} steps: {mean:6.1f} +- {error:.1f} in {episodes} noisy episodes")
            policies = [policies[i] for i in np.argsort(distance(scores.mean(axis=1)), kind="stable")[:left]]
    return policies[0]


def _noisy_score(job: tuple[BehaviourPolicy, int]) -> float:
    """Normalised score of a policy in one noisy episode; ``job`` is (policy, index of the episode)."""
    policy, index = job
    episode = collect_episode(policy, environment_for(policy), PICK_SEED, index)
    return normalised_score(policy.facts["environment"], episode.rewards.sum())
