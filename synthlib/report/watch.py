"""One episode of a fine-tuned policy: its score, and a film of it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from synthlib.errors import Failed
from synthlib.offline.environments import make_environment
from synthlib.offline.evaluation import evaluation_seed, rollout
from synthlib.offline.film import SIZE, Filmed, choose_library, write_gif
from synthlib.offline.finetuning import reference_of
from synthlib.paths import store_root
from synthlib.robots import is_own
from synthlib.runs.policies import policy_of, why_not
from synthlib.runs.store import Store
from synthlib.study.algorithms import training
from synthlib.study.plan import Cell, Plan
from synthlib.tasks import MAX_EPISODE_STEPS, environment_of, normalised_score, pad_observation


class Episode(NamedTuple):
    """What a policy did in one episode."""

    cell: Cell
    score: float
    raw_return: float
    steps: int
    at_the_end: float
    """The score of the run's last evaluation: the mean of all its episodes."""
    filmed: Filmed | None
    """None where it was not drawn."""

    def __str__(self) -> str:
        cell = self.cell
        words = f"{cell.arm}, {cell.dataset}, seed {cell.seed}, after {cell.job.updates:,} updates"
        return (
            f"{words}: score {self.score:.1f} (return {self.raw_return:.0f}, {self.steps} steps); "
            f"the run's last evaluation has the mean score {self.at_the_end:.1f}"
        )


def watchable(plan: Plan) -> Cell:
    """The first run of ``plan`` that has its policy. Raises Failed, with what to do, when none has."""
    store, why = Store(store_root()), ""
    name, size = plan.artefact.name, f"PRESET={plan.preset}"
    for cell in plan.cells:
        if store.is_done(cell.job):
            if policy_of(cell.job, training(cell.job), store) is not None:
                return cell
            why = why or why_not(cell.job, store)
    reason = f"The first that is finished: {why}" if why else "None of them is finished"
    raise Failed(
        f"no run of {name} that was asked for has its policy here. {reason}. "
        f"make run-{name} {size} KEEP_POLICY=1 trains what is missing and keeps the policies"
    )


def play(cell: Cell, draw: bool = True) -> Episode:
    """Play the first episode of the last evaluation of ``cell``'s run once more, and film it where ``draw``."""
    store, job = Store(store_root()), cell.job
    record = training(job)
    policy = policy_of(job, record, store)
    assert policy is not None and record.actor is not None, "watchable has seen it"
    act, robot = record.actor(job, policy), environment_of(cell.dataset)
    options = {"render_mode": "rgb_array", "width": SIZE, "height": SIZE} if draw else {}
    env = make_environment(robot, job.config["physics"]["masses"], **options)
    env = env if is_own(robot) else env.unwrapped
    one = Filmed(env) if draw else env
    limit = job.config.get("model", {}).get("time_limit", MAX_EPISODE_STEPS)

    def padded(observations: np.ndarray, rewards: np.ndarray, running: np.ndarray) -> np.ndarray:
        actions: np.ndarray = act(pad_observation(robot, observations), rewards, running)
        return actions

    returns, lengths = rollout(padded, [one], evaluation_seed(cell.seed, job.updates), limit, where=f"in {robot} ")
    env.close()
    score, last = (
        float(normalised_score(robot, returns[0], reference_of(job.config))),
        float(store.evaluations(job)["score"].iloc[-1]),
    )
    return Episode(cell, score, float(returns[0]), int(lengths[0]), last, one if isinstance(one, Filmed) else None)


def watch(plan: Plan, folder: Path) -> tuple[Episode, Path | str]:
    """(an episode of the first run of ``plan`` that has its policy, its film in ``folder``).

    Where nothing can be drawn, a sentence stands in place of the film. Raises Failed when no run has its policy.
    """
    cell = watchable(plan)
    try:
        choose_library()
    except Failed as nothing:
        return play(cell, draw=False), str(nothing)
    episode = play(cell)
    assert episode.filmed is not None
    path = folder / f"{cell.job.key}.gif"
    write_gif(episode.filmed.pictures, episode.filmed.seconds, path)
    return episode, path
