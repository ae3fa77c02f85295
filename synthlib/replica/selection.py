"""Train the behaviour policies of the replica data, and pick the medium and the expert policy of each training.

``python -m synthlib.replica.selection train hopper`` goes on where an earlier training stopped (folder: ``--folder``);
``pick`` evaluates saved policies over many noisy episodes, since one evaluation of five says little, and stores the two
chosen.
"""

import argparse
import multiprocessing
from pathlib import Path

import numpy as np
import torch

from synthlib.machine.files import read_json
from synthlib.offline.sources import REPLICA_FOLDER
from synthlib.replica.policies import collect_episode, environment_for, policy_from_torch, save_policy
from synthlib.replica.td3 import TD3Config, train
from synthlib.tasks import ENVIRONMENTS, normalised_score

STEPS = {"halfcheetah": 700_000, "hopper": 290_000, "walker2d": 430_000, "ant": 760_000}
LATE = {"halfcheetah": 565_000, "ant": 556_679}  # where the learning rate falls: these two had stopped getting better
MEDIUM_SCORES = {"halfcheetah": 42, "hopper": 44, "walker2d": 62, "ant": 80}  # D4RL's own levels, about
PICK_SEED = 1000  # not the seed of any data set: the score of the data is then not the one that was selected on


def learning_curve(folder):
    """(steps, scores) of a training's evaluations, in order."""
    table = np.loadtxt(Path(folder) / "evaluations.csv", delimiter=",", ndmin=2)
    steps, rows = np.unique(table[:, 0].astype(int), return_index=True)  # one killed while saving repeats a row
    return steps, table[rows, 1]


def keep_learning_curve(folder, path):
    """Copy a training's evaluations, each once and in order, to ``path`` with a header."""
    table = np.loadtxt(Path(folder) / "evaluations.csv", delimiter=",", ndmin=2)
    rows = np.unique(table[:, 0], return_index=True)[1]
    header = "steps,score,seconds,lowest_return,highest_return"
    np.savetxt(path, table[rows], delimiter=",", fmt=("%d", "%.3f", "%.1f", "%.1f", "%.1f"), header=header, comments="")


def saved_policy(folder, steps):
    """The policy that a training saved after ``steps`` steps."""
    config = read_json(Path(folder) / "config.json")
    facts = {name: config[name] for name in ("environment", "masses", "seed", "exploration_noise")}
    state = torch.load(Path(folder) / "policies" / f"{steps}.pt", weights_only=True)
    return policy_from_torch(state, facts | {"algorithm": "TD3", "steps": int(steps)})


def pick(folder, target=None, candidates=20, first=10, final=50, processes=None, report=print):
    """The policy whose noisy episodes score nearest to ``target`` on average, or highest without one.

    ``candidates`` are taken by the learning curve, evaluated over ``first`` episodes, and the best three again over
    ``final``; all see the same seeds. Its facts get the ``noisy_score`` and its standard error.
    """
    steps, curve = learning_curve(folder)
    distance = (lambda score: -score) if target is None else (lambda score: np.abs(score - target))
    chosen = steps[np.argsort(distance(curve), kind="stable")[:candidates]]
    policies = [saved_policy(folder, step) for step in chosen]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for episodes, left in ((first, 3), (final, 1)):
            jobs = [(policy, index) for policy in policies for index in range(episodes)]
            scores = np.reshape(pool.map(_noisy_score, jobs, chunksize=4), (len(policies), episodes))
            for policy, row in zip(policies, scores, strict=True):
                mean, error = row.mean(), row.std(ddof=1) / np.sqrt(episodes)
                policy.facts.update(noisy_score=round(float(mean), 2), noisy_score_error=round(float(error), 2))
                report(f"{policy.facts['steps']:>9,} steps: {mean:6.1f} +- {error:.1f} in {episodes} noisy episodes")
            policies = [policies[i] for i in np.argsort(distance(scores.mean(axis=1)), kind="stable")[:left]]
    return policies[0]


def _noisy_score(job):
    """Normalised score of one stochastic episode."""
    policy, index = job
    episode = collect_episode(policy, environment_for(policy), PICK_SEED, index)
    return normalised_score(policy.facts["environment"], episode.rewards.sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("train", "pick"))
    parser.add_argument("environments", nargs="+", choices=ENVIRONMENTS)
    parser.add_argument("--folder", type=Path, default=Path("outputs/behaviour"), help="holds one folder per training")
    parser.add_argument("--steps", type=int, help="length of the training; default depends on the environment")
    parser.add_argument("--processes", type=int)
    arguments = parser.parse_args()
    for environment in arguments.environments:
        folder = arguments.folder / environment
        if arguments.command == "train":
            steps, late_from = arguments.steps or STEPS[environment], LATE.get(environment)
            train(TD3Config(environment=environment, steps=steps, late_from=late_from), folder)
            continue
        keep_learning_curve(folder, REPLICA_FOLDER / f"{environment}_training.csv")
        for tier, target in (("medium", MEDIUM_SCORES[environment]), ("expert", None)):
            print(f"{environment} {tier} (wanted: {'the highest' if target is None else f'near {target}'})")
            policy = pick(folder, target, processes=arguments.processes)
            save_policy(REPLICA_FOLDER / f"{environment}_{tier}.npz", policy)
            print(f"-> {policy.facts['steps']:,} steps\n")


if __name__ == "__main__":
    main()
