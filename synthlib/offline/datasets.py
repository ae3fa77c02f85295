"""The offline data sets: one loader for every source, and what D4RL, CQL and the decision transformer make of them."""

import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from synthlib.offline.hdf5 import DataFileError, read_d4rl_file
from synthlib.offline.sources import checksum, find_files, parse_source
from synthlib.tasks import MAX_EPISODE_STEPS, parse_name

ARRAYS = ("observations", "actions", "rewards", "terminals", "timeouts")
ACTION_CLIP = 0.999  # CQL only: a tanh policy cannot reach +-1 (faithfulness 6.1)
Q_MAX_REWARDS = 100  # 1 / (1 - 0.99): no return can exceed so many times the largest reward
Array = TypeVar("Array")  # a NumPy array, or a tensor where an agent learns


@dataclass(frozen=True)
class OfflineDataset:
    """One data set as stored: N transitions in the order of collection, episodes one after the other.

    ``observations`` (N, O) and ``actions`` (N, A) float32, ``rewards`` (N,) float32, ``terminals`` (N,) bool where an
    episode ended by itself, ``timeouts`` (N,) bool where time ran out (None: the file does not say).
    ``next_observations`` (N, O) is None unless it was asked for. ``checksum`` is the SHA-256 of the content and
    belongs to a run's identity; the source's folder does not.
    """

    name: str
    environment: str
    tier: str
    source: str
    files: tuple
    checksum: str
    masses: str
    observations: np.ndarray = field(repr=False)
    actions: np.ndarray = field(repr=False)
    rewards: np.ndarray = field(repr=False)
    terminals: np.ndarray = field(repr=False)
    timeouts: np.ndarray | None = field(repr=False)
    next_observations: np.ndarray | None = field(default=None, repr=False)
    metadata: dict = field(default_factory=dict, repr=False)

    def __len__(self):
        return len(self.rewards)


class Transitions(NamedTuple, Generic[Array]):
    """M transitions (s, a, r, s', d), float32; a data set's d is bool, and a minibatch's is 1 at a terminal step."""

    observations: Array  # (M, O)
    actions: Array  # (M, A)
    rewards: Array  # (M,)
    next_observations: Array  # (M, O)
    terminals: Array  # (M,)


class Trajectory(NamedTuple):
    """One whole episode of T steps: float32 (T, O), (T, A), (T,), and bool (T,)."""

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminals: np.ndarray


class CQLData(NamedTuple):
    """What CQL learns from: the ``rows`` (M,) of a data set that stays where it is, so that processes which load it
    from one cache share its memory; the cap on next-state values; and the generator that draws every minibatch."""

    dataset: OfflineDataset
    rows: np.ndarray
    q_max: float
    generator: np.random.RandomState

    def draw(self, size):
        """:class:`Transitions` of ``size`` rows drawn with replacement; see :meth:`batch`."""
        return self.batch(self.generator.randint(len(self.rows), size=size))

    def batch(self, places):
        """:class:`Transitions` of ``rows[places]`` as the authors have them: actions clipped, terminals float32."""
        drawn = _transitions(self.dataset, self.rows[places])
        return drawn._replace(
            actions=np.clip(drawn.actions, -ACTION_CLIP, ACTION_CLIP), terminals=drawn.terminals.astype(np.float32)
        )


def load(name, source="replica", cache=None, next_observations=False):
    """The :class:`OfflineDataset` called ``name``.

    With a ``cache`` folder the arrays are unpacked there once and memory-mapped, so that many processes share one
    copy. ``next_observations=True`` adds them where the file can say (D4RL's own conversion never uses them).
    Raises ValueError (unknown name or source), FileNotFoundError, :class:`DataFileError`.
    """
    source = parse_source(source)
    environment, tier = parse_name(name)
    files = find_files(name, source)
    digest = checksum(name, source)
    names = (*ARRAYS, "next_observations") if next_observations else ARRAYS
    if cache is None:
        arrays, metadata = _read(files, environment, names)
    else:
        kind = "next" if next_observations else "plain"
        folder = Path(cache) / "datasets" / f"{name}-{digest[:16]}-{kind}"
        arrays, metadata = _unpacked(folder, lambda: _read(files, environment, names))
    masses = {facts.get("masses", "d4rl") for facts in metadata}
    if len(masses) > 1:
        raise DataFileError(f"{name}: its files were made with different body masses: {', '.join(map(str, files))}")
    return OfflineDataset(
        name=name,
        environment=environment,
        tier=tier,
        source=source.label,
        files=files,
        checksum=digest,
        masses=masses.pop(),
        metadata={path.name: facts for path, facts in zip(files, metadata, strict=True)},
        **(dict.fromkeys(names) | arrays),
    )


def qlearning_transitions(dataset, terminate_on_end=False, max_episode_steps=MAX_EPISODE_STEPS):
    """The :class:`Transitions` that D4RL's ``qlearning_dataset`` makes of a data set (faithfulness 7.5).

    The next state is the next row, whatever the file says; the last row is lost; rows where time ran out are left
    out, so that no value is carried over a reset, unless ``terminate_on_end``; terminal rows keep the next episode's
    first state, which no update ever looks at. Without ``timeouts``, time is up every ``max_episode_steps`` rows.
    """
    return _transitions(dataset, _transition_rows(dataset, terminate_on_end, max_episode_steps))


def _transition_rows(dataset, terminate_on_end=False, max_episode_steps=MAX_EPISODE_STEPS):
    terminals = np.asarray(dataset.terminals[:-1])
    if dataset.timeouts is None:
        final = _time_limit_rows(terminals, max_episode_steps, after_limit=int(terminate_on_end))
    else:
        final = np.asarray(dataset.timeouts[:-1])
    # With D4RL's flag these rows are kept, but not marked as terminal.
    return np.arange(len(terminals)) if terminate_on_end else np.flatnonzero(~final)


def _transitions(dataset, rows):
    columns = dataset.observations, dataset.actions, dataset.rewards, dataset.terminals
    observations, actions, rewards, terminals = map(np.asarray, columns)  # views without memmap's slow indexing
    return Transitions(observations[rows], actions[rows], rewards[rows], observations[rows + 1], terminals[rows])


def trajectories(dataset, max_episode_steps=MAX_EPISODE_STEPS):
    """The whole episodes of a data set as a list of :class:`Trajectory` views, in order (faithfulness 7.7).

    Cut after a terminal or timed-out row; an unfinished last episode is dropped.
    """
    terminals = np.asarray(dataset.terminals)
    if dataset.timeouts is None:
        ends = terminals | _time_limit_rows(terminals, max_episode_steps, after_limit=1)
    else:
        ends = terminals | dataset.timeouts
    stops = np.flatnonzero(ends) + 1
    starts = np.concatenate([[0], stops[:-1]]).astype(int)
    columns = (dataset.observations, dataset.actions, dataset.rewards, terminals)
    return [Trajectory(*(column[a:b] for column in columns)) for a, b in zip(starts, stops, strict=True)]


def cql_data(dataset, ratio=1.0):
    """:class:`CQLData` of a data set: floor(ratio N) transitions in the authors' order (faithfulness 6.1).

    Order, subset and minibatch stream come from one generator seeded 0, so they are the same for every seed and arm.
    ``q_max`` = 100 x the largest reward of the subset. Raises ValueError unless 0 < ratio <= 1 leaves a transition.
    """
    rows = _transition_rows(dataset)
    kept = int(len(rows) * ratio)
    if not (0 < ratio <= 1 and kept):
        raise ValueError(f"data ratio {ratio} of {len(rows)} transitions: must be in (0, 1] and leave at least one")
    generator = np.random.RandomState(0)
    rows = rows[generator.choice(len(rows), kept, replace=False)].astype(np.int32)
    return CQLData(dataset, rows, Q_MAX_REWARDS * float(dataset.rewards[rows].max()), generator)


def _time_limit_rows(terminals, limit, after_limit):
    """Where D4RL believes that time ran out when a file has no ``timeouts``: bool (N,).

    It counts rows since the last end, and its counter starts at 0 for the first episode, at 1 after a terminal row
    and at ``after_limit`` after a full episode: one step early, a slip that the reference data have and we keep.
    """
    final = np.zeros(len(terminals), dtype=bool)
    start, counter = 0, 0
    for stop in np.append(np.flatnonzero(terminals) + 1, len(terminals)):
        final[start + limit - 1 - counter : stop : limit - after_limit] = True
        counter = after_limit if stop and final[stop - 1] else 1
        start = stop
    return final


def _read(files, environment, names):
    """Arrays of one file, or of two joined, and the metadata of each."""
    parts = [read_d4rl_file(path, environment, names) for path in files]
    metadata = [facts for _, facts in parts]
    arrays = [part for part, _ in parts]
    if len(arrays) == 1:
        return arrays[0], metadata
    shared = [name for name in names if all(name in part for part in arrays)]
    if "timeouts" in shared and not arrays[0]["terminals"][-1]:
        arrays[0]["timeouts"][-1] = True  # no transition from one file into the other
    return {name: np.concatenate([part[name] for part in arrays]) for name in shared}, metadata


def _unpacked(folder, read):
    """What ``read()`` returns, kept in ``folder`` and memory-mapped from there."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
        try:
            arrays, metadata = read()
            for name, array in arrays.items():
                np.save(temporary / f"{name}.npy", array)
            (temporary / "metadata.json").write_text(json.dumps(metadata))
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was quicker, with the same content
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    return arrays, json.loads((folder / "metadata.json").read_text())
