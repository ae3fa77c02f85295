"""The replica data: D4RL's recipe with this project's own behaviour policies (see synthlib/offline/cards.py).

*medium* and *expert* are noisy episodes of two policies from one training. *medium-replay* is the replay buffer of this
training up to the medium policy: complete episodes, thinned evenly over time. *medium-expert* is joined from medium and
expert when it is loaded. The repository has the policies and a small data set of each tier; :func:`regenerate` rolls
the policies out to any size.
"""

import importlib.metadata
import itertools
import multiprocessing
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from synthlib.machine.files import read_json, write_json
from synthlib.machine.processors import usable_processors
from synthlib.offline.cards import episode_statistics
from synthlib.offline.environments import unwrapped_environment
from synthlib.offline.hdf5 import compact, sha256_of, write_d4rl_file
from synthlib.offline.masses import LABEL
from synthlib.offline.sources import REPLICA_FOLDER
from synthlib.replica.policies import BehaviourPolicy, Episode, collect_episode, environment_for, load_policy
from synthlib.tasks import REFERENCE_RETURNS, masses_of_robot, pad_observation

VERSION = "v0"
EMBEDDED_SIZE = 48_000  # transitions per tier: keeps twelve files and eight policies under 50 MB
PHYSICS = "gymnasium 1.4.0 with mujoco 3.3.7"
COLUMNS = ("observations", "actions", "rewards", "next_observations")
SEEDS = {"medium": 1, "expert": 2}  # the seeds of the episodes
Arrays = dict[str, np.ndarray]

_worker: dict[str, Any] = {}  # in a process of the pool of :func:`collect`: its "policy" and its "env"


def collect(
    policy: BehaviourPolicy, size: int, seed: int, processes: int | None = None, progress: bool = False
) -> list[Episode]:
    """Complete episodes of ``policy`` until they hold at least ``size`` transitions.

    Episode ``i`` depends on (seed, i) only, so the result is the same for any number of ``processes`` (default: one per
    usable processor). ``progress`` shows a progress bar when the output is a terminal.
    """
    processes = processes or usable_processors()
    jobs = ((seed, index) for index in itertools.count())
    episodes: list[Episode] = []
    count = 0
    environment, hidden = policy.facts["environment"], None if progress else True  # None: shown on a terminal
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


def _start_worker(policy: BehaviourPolicy) -> None:
    _worker.update(policy=policy, env=environment_for(policy))


def _collect_in_worker(job: tuple[int, int]) -> Episode:
    return collect_episode(_worker["policy"], _worker["env"], *job)


def episodes_to_arrays(episodes: Sequence[Episode]) -> Arrays:
    """All steps of ``episodes``, one after the other, in D4RL's layout.

    :data:`COLUMNS` and the physics states ``infos/qpos`` and ``infos/qvel`` are float32. ``terminals`` and ``timeouts``
    are bool; one of them marks the last step of each episode.
    """

    def join(name: str) -> np.ndarray:
        return np.concatenate([getattr(episode, name) for episode in episodes], dtype=np.float32)

    arrays = {name: join(name) for name in COLUMNS}
    states = {f"infos/{name}": join(name) for name in ("qpos", "qvel")}
    ends = np.cumsum([len(episode.rewards) for episode in episodes]) - 1
    terminals, timeouts = np.zeros((2, len(arrays["rewards"])), dtype=bool)
    terminals[ends] = [episode.terminal for episode in episodes]
    timeouts[ends] = ~terminals[ends]
    return arrays | {"terminals": terminals, "timeouts": timeouts} | states


def replay_arrays(environment: str, folder: Path, steps: int, size: int) -> Arrays:
    """About ``size`` rows of the first ``steps`` steps of the training in ``folder``, as :func:`episodes_to_arrays`.

    Only complete episodes are kept, evenly over the training: an episode is kept when the rows kept before it,
    plus half of its own, are at most ``share`` of all rows up to its end. ``share`` is ``size`` over the rows of all
    complete episodes. Raises ValueError when ``size`` is too small for one episode.
    """
    columns = {path.stem: np.load(path, mmap_mode="r") for path in (Path(folder) / "replay").glob("*.npy")}
    ends = np.asarray(columns["ends"][:steps])
    stops = np.flatnonzero(ends) + 1
    starts = np.concatenate([[0], stops[:-1]])
    share = min(1.0, size / stops[-1])
    kept, pieces = 0, []
    for start, stop in zip(starts, stops, strict=True):
        if kept + (stop - start) / 2 <= share * stop:
            kept += stop - start
            pieces.append(np.arange(start, stop))
    if not pieces:
        raise ValueError(f"{size} transitions of {environment}'s replay buffer are not one whole episode; ask for more")
    rows = np.concatenate(pieces)
    arrays = {name: columns[name][rows] for name in COLUMNS}
    positions = unwrapped_environment(environment).model.nq
    qpos, qvel = np.split(columns["physics"][rows].astype(np.float32), [positions], axis=1)
    flags = {"terminals": ends[rows] == 1, "timeouts": ends[rows] == 2}
    return arrays | flags | {"infos/qpos": qpos, "infos/qvel": qvel}


def write_tier(
    folder: Path, tier: str, arrays: Arrays, policy: BehaviourPolicy, seed: int | None, whole: bool
) -> dict[str, Any]:
    """Write the file of one tier and its entry in ``manifest.json``; returns the entry.

    ``seed`` is the seed of the episodes, None for a replay buffer. With ``whole``, the file has next observations,
    physics states and the ant's zeros, as D4RL's files have. Otherwise it is :func:`synthlib.offline.hdf5.compact`.
    """
    facts = policy.facts
    path = folder / f"{facts['environment']}_{tier}-{VERSION}.hdf5"
    attributes = {
        "source": "replica",
        "environment": facts["environment"],
        LABEL: facts[LABEL],
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


def statistics_of(environment: str, arrays: Arrays) -> dict[str, Any]:
    """Counts, mean and spread of the episodes in ``arrays`` (:func:`synthlib.offline.cards.episode_statistics`)."""
    return episode_statistics(environment, arrays["rewards"], arrays["terminals"], arrays["timeouts"])


def embed(
    environments: Iterable[str], trainings: Path, size: int = EMBEDDED_SIZE, processes: int | None = None
) -> None:
    """Make the embedded files of ``environments`` anew, in the folder of the committed policies.

    ``trainings`` is a folder with one training per environment; their replay buffers give medium-replay. ``size`` is
    the number of transitions per tier.
    """
    for environment in environments:
        policies = {tier: load_policy(REPLICA_FOLDER / f"{environment}_{tier}.npz") for tier in SEEDS}
        for tier, policy in policies.items():
            arrays = episodes_to_arrays(collect(policy, size, SEEDS[tier], processes, progress=True))
            write_tier(REPLICA_FOLDER, tier, arrays, policy, SEEDS[tier], whole=False)
        steps = policies["medium"].facts["steps"]
        arrays = replay_arrays(environment, Path(trainings) / environment, steps, size)
        write_tier(REPLICA_FOLDER, "medium_replay", arrays, policies["medium"], None, whole=False)


def regenerate(
    environments: Iterable[str],
    size: int,
    folder: Path,
    trainings: Path | None = None,
    processes: int | None = None,
    report: Callable[[str], object] = print,
    masses: str | None = None,
) -> None:
    """Roll the committed policies out to ``size`` transitions per tier in ``folder``, for ``DATA=path:FOLDER``.

    ``masses`` are the body masses (:data:`synthlib.tasks.MASSES`) of medium and expert; the default are the masses that
    the policies were trained under. Each file says which it has. Files that exist are kept. A replay buffer cannot be
    rolled out: medium-replay comes from the training's folder in ``trainings`` when there is one; otherwise it is a
    copy of the embedded file. Raises ValueError when the new episodes differ from the embedded episodes
    (:func:`differences`), unless other masses were asked for.
    """
    embedded = read_json(REPLICA_FOLDER / "manifest.json")["files"]
    for environment, tier in itertools.product(environments, (*SEEDS, "medium_replay")):
        name = f"{environment}_{tier}-{VERSION}.hdf5"
        policy = load_policy(REPLICA_FOLDER / f"{environment}_{tier.removesuffix('_replay')}.npz")
        training = Path(trainings or "") / environment
        if (folder / name).exists():
            report(f"{name}: already there")
        elif tier in SEEDS:
            own = policy.facts[LABEL]
            comparable = masses_of_robot(environment, masses or own) == masses_of_robot(environment, own)
            policy = policy._replace(facts=policy.facts | {LABEL: masses or own})
            # Another seed than the embedded data's, so that their comparison is an independent check.
            arrays = episodes_to_arrays(collect(policy, size, SEEDS[tier] + 100, processes, progress=True))
            found = differences(environment, statistics_of(environment, arrays), embedded[name])
            if found and comparable:
                raise ValueError(f"{name} came out unlike the embedded data ({'; '.join(found)}): is this {PHYSICS}?")
            entry = write_tier(folder, tier, arrays, policy, SEEDS[tier] + 100, whole=True)
            like = "as the embedded data" if comparable else f"under the {masses} masses"
            report(f"{name}: {entry['transitions']:,} transitions, score {entry['score']:.1f}, {like}")
        elif trainings and (training / "replay").is_dir():
            arrays = replay_arrays(environment, training, policy.facts["steps"], size)
            entry = write_tier(folder, tier, arrays, policy, None, whole=True)
            report(f"{name}: {entry['transitions']:,} transitions of the replay buffer")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPLICA_FOLDER / name, folder / name)
            report(f"{name}: the embedded {embedded[name]['transitions']:,} transitions (no training folder)")


def differences(environment: str, found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """One sentence for each statistic in which two manifest entries differ by more than chance; [] when they agree.

    On another processor a rollout first differs in its last bits, and after some steps it is another episode; but its
    statistics are the same on average. So the mean returns may differ by four standard errors plus one point of
    normalised score, and the mean lengths by four standard errors plus ten steps.
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
