"""The replica data: D4RL's recipe with this project's own behaviour policies (data card of each:
``synthlib.offline.cards``).

*medium* and *expert* are stochastic episodes of two policies of one training run; *medium-replay* is the real replay
buffer of that run up to the medium policy, whole episodes thinned evenly over time; *medium-expert* is joined at load.
A small core is committed; ``python -m synthlib.replica.collection --size 1000000`` rolls out any size from the
committed policies.
"""

import argparse
import importlib.metadata
import itertools
import multiprocessing
import shutil
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from synthlib.machine.files import read_json, write_json
from synthlib.machine.processors import usable_processors
from synthlib.offline.cards import episode_statistics
from synthlib.offline.environments import make_environment
from synthlib.offline.hdf5 import compact, sha256_of, write_d4rl_file
from synthlib.offline.sources import REPLICA_FOLDER
from synthlib.paths import outputs
from synthlib.replica.policies import collect_episode, environment_for, load_policy
from synthlib.tasks import ENVIRONMENTS, REFERENCE_RETURNS, pad_observation

VERSION = "v0"
CORE_SIZE = 48_000  # transitions per tier: keeps twelve files and eight policies under 50 MB
PHYSICS = "gymnasium 1.4.0 with mujoco 3.3.7"
COLUMNS = ("observations", "actions", "rewards", "next_observations")
SEEDS = {"medium": 1, "expert": 2}  # of the episode streams


def collect(policy, size, seed, processes=None, progress=False):
    """Whole episodes of ``policy`` until they hold at least ``size`` transitions, as a list of ``Episode``.

    Episode ``i`` depends on (seed, i) only, so the result is the same for any number of ``processes``.
    """
    processes = processes or usable_processors()
    jobs = ((seed, index) for index in itertools.count())
    episodes, count = [], 0
    environment, hidden = policy.facts["environment"], None if progress else True  # None: only on a terminal
    bar = tqdm(total=size, desc=environment, unit=" steps", unit_scale=True, disable=hidden)
    context = multiprocessing.get_context("spawn")
    with bar, context.Pool(processes, _start_worker, (policy,)) as pool:
        while count < size:
            for episode in pool.imap(_collect_in_worker, list(itertools.islice(jobs, 4 * processes))):
                if count < size:
                    episodes.append(episode)
                    count += len(episode.rewards)
                    bar.update(len(episode.rewards))
    return episodes


def _start_worker(policy):
    _start_worker.policy, _start_worker.env = policy, environment_for(policy)


def _collect_in_worker(job):
    return collect_episode(_start_worker.policy, _start_worker.env, *job)


def episodes_to_arrays(episodes):
    """Flat float32 arrays in D4RL's layout, with the physics states under ``infos``."""
    join = lambda name: np.concatenate([getattr(episode, name) for episode in episodes], dtype=np.float32)  # noqa: E731
    arrays = {name: join(name) for name in COLUMNS}
    states = {f"infos/{name}": join(name) for name in ("qpos", "qvel")}
    ends = np.cumsum([len(episode.rewards) for episode in episodes]) - 1
    terminals, timeouts = np.zeros((2, len(arrays["rewards"])), dtype=bool)
    terminals[ends] = [episode.terminal for episode in episodes]
    timeouts[ends] = ~terminals[ends]
    return arrays | {"terminals": terminals, "timeouts": timeouts} | states


def replay_arrays(environment, folder, steps, size):
    """Flat arrays of a training's first ``steps`` steps, thinned to about ``size`` rows of whole episodes.

    ``folder`` is the training's. An episode is kept when what was kept so far lags behind an even share, so that
    every phase of the training is there in proportion.
    """
    columns = {path.stem: np.load(path, mmap_mode="r") for path in (Path(folder) / "replay").glob("*.npy")}
    ends = np.asarray(columns["ends"][:steps])
    stops = np.flatnonzero(ends) + 1
    starts = np.concatenate([[0], stops[:-1]])
    share = min(1.0, size / stops[-1])
    kept, rows = 0, []
    for start, stop in zip(starts, stops, strict=True):
        if kept + (stop - start) / 2 <= share * stop:
            kept += stop - start
            rows.append(np.arange(start, stop))
    if not rows:
        raise ValueError(f"{size} transitions of {environment}'s replay buffer are not one whole episode; ask for more")
    rows = np.concatenate(rows)
    arrays = {name: columns[name][rows] for name in COLUMNS}
    positions = make_environment(environment).unwrapped.model.nq
    qpos, qvel = np.split(columns["physics"][rows].astype(np.float32), [positions], axis=1)
    flags = {"terminals": ends[rows] == 1, "timeouts": ends[rows] == 2}
    return arrays | flags | {"infos/qpos": qpos, "infos/qvel": qvel}


def write_tier(folder, tier, arrays, policy, seed, whole):
    """Write one tier's file, list it in the folder's manifest, and return its entry there.

    ``whole`` keeps next observations, physics states and the ant's zeros, as D4RL's files do.
    """
    facts = policy.facts
    path = folder / f"{facts['environment']}_{tier}-{VERSION}.hdf5"
    attributes = {
        "source": "replica",
        "environment": facts["environment"],
        "masses": facts["masses"],
        "gymnasium": importlib.metadata.version("gymnasium"),
        "mujoco": importlib.metadata.version("mujoco"),
        "algorithm": f"{facts['algorithm']}, seed {facts['seed']}, {facts['steps']:,} steps",
        "exploration_noise": facts["exploration_noise"],
        "licence": "MIT",
    }
    if seed is not None:
        attributes["episode_seed"] = seed
    folder.mkdir(parents=True, exist_ok=True)
    if whole:
        padded = {k: pad_observation(facts["environment"], arrays[k]) for k in ("observations", "next_observations")}
        write_d4rl_file(path, arrays | padded, attributes)
    else:
        write_d4rl_file(path, compact(arrays), attributes)
    statistics = statistics_of(facts["environment"], arrays)
    entry = {"sha256": sha256_of(path), "bytes": path.stat().st_size, **attributes, **statistics}
    manifest = folder / "manifest.json"
    listed = read_json(manifest) if manifest.is_file() else {"files": {}}
    listed["files"][path.name] = entry
    write_json(manifest, listed)
    return entry


def statistics_of(environment, arrays):
    return episode_statistics(environment, arrays["rewards"], arrays["terminals"], arrays["timeouts"])


def make_core(environments, training, folder=REPLICA_FOLDER, size=CORE_SIZE, processes=None):
    """Make the embedded files of ``environments`` in ``folder``, which holds the policies; ``training`` holds the
    trainings' folders with their replay buffers."""
    for environment in environments:
        policies = {tier: load_policy(folder / f"{environment}_{tier}.npz") for tier in SEEDS}
        for tier, policy in policies.items():
            arrays = episodes_to_arrays(collect(policy, size, SEEDS[tier], processes, progress=True))
            write_tier(folder, tier, arrays, policy, SEEDS[tier], whole=False)
        steps = policies["medium"].facts["steps"]
        arrays = replay_arrays(environment, Path(training) / environment, steps, size)
        write_tier(folder, "medium_replay", arrays, policies["medium"], None, whole=False)


def regenerate(environments, size, folder, training=None, processes=None, report=print):
    """Roll the committed policies out to ``size`` transitions per tier in ``folder``, for ``DATA=path:FOLDER``.

    What is there already is kept. A replay buffer cannot be rolled out: medium-replay comes from the ``training``
    folder where there is one, else it is the embedded one. Raises ValueError when new episodes are not like the
    embedded ones (see :func:`differences`).
    """
    embedded = read_json(REPLICA_FOLDER / "manifest.json")["files"]
    for environment, tier in itertools.product(environments, (*SEEDS, "medium_replay")):
        name = f"{environment}_{tier}-{VERSION}.hdf5"
        policy = load_policy(REPLICA_FOLDER / f"{environment}_{tier.removesuffix('_replay')}.npz")
        buffer = Path(training or "") / environment
        if (folder / name).exists():
            report(f"{name}: already there")
        elif tier in SEEDS:
            # Another stream than the embedded one: its episodes are then an independent check.
            arrays = episodes_to_arrays(collect(policy, size, SEEDS[tier] + 100, processes, progress=True))
            found = differences(environment, statistics_of(environment, arrays), embedded[name])
            if found:
                raise ValueError(f"{name} came out unlike the embedded data ({'; '.join(found)}): is this {PHYSICS}?")
            entry = write_tier(folder, tier, arrays, policy, SEEDS[tier] + 100, whole=True)
            report(f"{name}: {entry['transitions']:,} transitions, score {entry['score']:.1f}, as the embedded data")
        elif training and (buffer / "replay").is_dir():
            arrays = replay_arrays(environment, buffer, policy.facts["steps"], size)
            entry = write_tier(folder, tier, arrays, policy, None, whole=True)
            report(f"{name}: {entry['transitions']:,} transitions of the replay buffer")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPLICA_FOLDER / name, folder / name)
            report(f"{name}: the embedded {embedded[name]['transitions']:,} transitions (no training folder)")


def differences(environment, found, expected):
    """Sentences on where two manifest entries differ by more than chance; empty when they agree.

    Across processors rollouts differ in their last bits and then altogether, but not on average: bands are four
    standard errors plus one point of score and ten steps.
    """
    low, high = REFERENCE_RETURNS[environment]
    sentences = []
    for quantity, slack in (("return", 0.01 * (high - low)), ("length", 10)):
        gap = found[f"mean_{quantity}"] - expected[f"mean_{quantity}"]
        error = np.hypot(*(entry[f"std_{quantity}"] / np.sqrt(entry["episodes"]) for entry in (found, expected)))
        if abs(gap) > 4 * error + slack:
            sentences.append(
                f"mean {quantity} {found[f'mean_{quantity}']:.0f}, expected {expected[f'mean_{quantity}']:.0f} "
                f"+- {4 * error + slack:.0f}"
            )
    return sentences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", action="store_true", help="make the embedded files (maintainers)")
    parser.add_argument("--size", type=int, help=f"transitions per tier; the embedded files have {CORE_SIZE:,}")
    parser.add_argument("--folder", type=Path, help="default: outputs/replica-SIZE")
    parser.add_argument("--training", type=Path, default=outputs() / "behaviour", help="folder of the trainings")
    parser.add_argument("--environments", nargs="+", default=ENVIRONMENTS, choices=ENVIRONMENTS)
    parser.add_argument("--processes", type=int, help="default: one per core")
    arguments = parser.parse_args()
    size = arguments.size or CORE_SIZE
    if size < 1:
        parser.error(f"--size {size}: at least one transition is needed")
    if arguments.core:
        make_core(arguments.environments, arguments.training, size=size, processes=arguments.processes)
        return
    folder = arguments.folder or outputs() / f"replica-{size}"
    try:
        regenerate(arguments.environments, size, folder, arguments.training, arguments.processes)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"use it with DATA=path:{folder}")


if __name__ == "__main__":
    main()
