"""Does this project agree with the real ``d4rl`` 1.1 and ``gym`` 0.26.2? (``make crosscheck-d4rl``)

The two are unmaintained and need NumPy 1, so they live in an environment of their own (``requirements.lock`` beside
this file). This side writes files and states, lets ``legacy_side.py`` convert and step them there, and compares.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

from synthlib.offline.datasets import OfflineDataset, qlearning_transitions, trajectories
from synthlib.offline.download import OFFICIAL
from synthlib.offline.environments import make_environment
from synthlib.offline.hdf5 import read_d4rl_file
from synthlib.offline.official import file_name
from synthlib.offline.replay import CANDIDATES
from synthlib.offline.sources import REPLICA_FOLDER
from synthlib.tasks import DATASETS, DIMENSIONS, ENVIRONMENTS, environment_of, normalised_score

ROWS = 20_000  # of each replica file: d4rl converts row by row, in Python
STATES = 300
TOLERANCE = 1e-6


def write_file(path, environment, arrays, limit=1000):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    np.save(path.with_suffix(".sizes.npy"), [*DIMENSIONS[environment], limit])


def toy_arrays(timeouts, column_rewards):
    rng = np.random.default_rng(0)
    rows, (observations, actions) = 400, DIMENSIONS["hopper"]
    arrays = {
        "observations": rng.normal(size=(rows, observations)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (rows, actions)).astype(np.float32),
        "rewards": rng.normal(size=(rows, 1) if column_rewards else rows).astype(np.float32),
        "terminals": rng.random(rows) < 0.1,
    }
    return arrays | ({"timeouts": rng.random(rows) < 0.1} if timeouts else {})


def write_questions(folder):
    """Files and states for the other side, and the limit of steps of each file."""
    limits = {}
    for timeouts in (True, False):
        name = f"hopper-toy-{'with' if timeouts else 'without'}-timeouts"
        limits[name] = 7
        write_file(folder / f"{name}.hdf5", "hopper", toy_arrays(timeouts, column_rewards=not timeouts), limits[name])
    for path in sorted(REPLICA_FOLDER.glob("*.hdf5")):
        environment = path.name.split("_")[0]
        arrays, _ = read_d4rl_file(path, environment)
        name = f"{environment}-{path.stem.removeprefix(environment + '_')}"
        limits[name] = 1000
        cut = {key: array[:ROWS] for key, array in arrays.items() if key != "next_observations"}
        write_file(folder / f"{name}.hdf5", environment, cut)
    for environment in ENVIRONMENTS:
        for masses in CANDIDATES:
            np.savez(folder / f"steps-{environment}-{masses}.npz", **visited_states(environment, masses))
    return limits


def visited_states(environment, masses):
    """States that random actions visit, with the next action and the body masses."""
    env = make_environment(environment, masses).unwrapped
    rng = np.random.default_rng(0)
    columns = {"qpos": [], "qvel": [], "actions": []}
    env.reset(seed=0)
    while len(columns["qpos"]) < STATES:
        action = rng.uniform(-1, 1, env.action_space.shape)
        for name, value in zip(columns, (env.data.qpos, env.data.qvel, action), strict=True):
            columns[name].append(value.copy())
        if env.step(action)[2]:
            env.reset()
    model = {name: getattr(env.model, name) for name in ("body_mass", "body_inertia", "body_ipos", "body_iquat")}
    return {name: np.array(rows) for name, rows in columns.items()} | model | {"environment": environment}


def our_steps(asked, masses):
    env = make_environment(str(asked["environment"]), masses).unwrapped
    env.reset(seed=0)
    answers = []
    for qpos, qvel, action in zip(asked["qpos"], asked["qvel"], asked["actions"], strict=True):
        env.reset_model()
        env.data.qacc_warmstart[:] = 0
        env.set_state(qpos, qvel)
        answers.append(env.step(action)[:3])
    return tuple(np.array(column) for column in zip(*answers, strict=True))


def compare(folder, limits):
    """Lines of (what was compared, how it came out, whether it agrees)."""
    answers = folder / "answers"
    for name, limit in limits.items():
        environment = name.split("-")[0]  # a file here, such as hopper-toy-with-timeouts, is no data set by name
        arrays, _ = read_d4rl_file(folder / f"{name}.hdf5", environment)
        data = OfflineDataset(name, environment, "", "", (), "", "", **({"timeouts": None} | arrays))
        with np.load(answers / f"{name}.npz") as theirs:
            same = all(
                np.array_equal(array, theirs[f"qlearning/{flag}/{key}"])
                for flag in (False, True)
                for key, array in qlearning_transitions(data, flag, limit)._asdict().items()
            )
            lengths = [len(episode.rewards) for episode in trajectories(data, limit)]
            same &= np.array_equal(lengths, theirs["lengths"])
            count = len(theirs["qlearning/False/rewards"])
        yield f"{name}: {count:,} transitions, {len(lengths)} episodes", "equal" if same else "DIFFERENT", same
    with np.load(answers / "scores.npz") as theirs:
        gaps = [
            np.abs(normalised_score(environment_of(name), theirs["returns"]) - theirs[f"score/{name}"]).max()
            for name in DATASETS
        ]
        yield "normalised scores of the 12 data sets", f"largest gap {max(gaps):.0e}", max(gaps) < 1e-9
        urls = [str(theirs[f"url/{name}"]) == f"{OFFICIAL}/{file_name(name)}" for name in DATASETS]
        yield "addresses of the 12 official files", f"{sum(urls)} of 12 equal", all(urls)
        versions = ", ".join(theirs["versions"])
    for environment in ENVIRONMENTS:
        for masses in CANDIDATES:
            with np.load(folder / f"steps-{environment}-{masses}.npz") as asked:
                observations, rewards, terminals = our_steps(asked, masses)
            with np.load(answers / f"steps-{environment}-{masses}.npz") as theirs:
                gaps = np.abs(observations - theirs["observations"]).max(), np.abs(rewards - theirs["rewards"]).max()
                ends = np.count_nonzero(terminals != theirs["terminals"])
            text = f"observation {gaps[0]:.0e}, reward {gaps[1]:.0e}, ends that differ {ends}"
            yield f"one step of {environment}, {masses} masses", text, max(gaps) < TOLERANCE and not ends
    yield "the other side", versions, True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", help="interpreter of the environment that has d4rl and gym")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        limits = write_questions(folder)
        command = [parser.parse_args().python, Path(__file__).with_name("legacy_side.py"), folder]
        answer = subprocess.run(command, capture_output=True, text=True)  # gym greets with a page of warnings
        if answer.returncode:
            sys.exit(f"the other environment failed:\n{answer.stderr}")
        lines = list(compare(folder, limits))
    for what, how, agrees in lines:
        print(f"{'ok  ' if agrees else 'FAIL'} {what}: {how}")
    sys.exit(not all(agrees for _, _, agrees in lines))


if __name__ == "__main__":
    main()
