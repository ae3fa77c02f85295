"""The offline data sets: one loader for every data source, and the forms that CQL and the Decision Transformer read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from synthlib.machine.cached import mapped_arrays
from synthlib.offline.arrays import clip_actions
from synthlib.offline.episodes import episode_bounds, known_timeouts
from synthlib.offline.hdf5 import DataFileError, read_d4rl_file
from synthlib.offline.masses import choose_masses, with_label
from synthlib.offline.official import is_official
from synthlib.offline.sources import DataSource, checksum, find_files, parse_source
from synthlib.tasks import MAX_EPISODE_STEPS, parse_name

ARRAYS = ("observations", "actions", "rewards", "terminals", "timeouts")
ACTION_CLIP = 0.999  # CQL only: a tanh policy cannot reach +-1 (faithfulness 6.1)
Q_MAX_REWARDS = 100  # 1 / (1 - discount), discount 0.99: no discounted return exceeds so many times the largest reward
ADAPTED = "adapted"  # key in the metadata of a file: sentences on what the loader changed, or took as it is
_CHECKS = 2  # counts up when files are checked more strictly: what was unpacked before is then not believed
Array = TypeVar("Array")  # a NumPy array, or a tensor where an agent learns


@dataclass(frozen=True)
class OfflineDataset:
    """One data set: N transitions in the order of collection, episodes one after the other.

    ``observations`` (N, O), ``actions`` (N, A) and ``rewards`` (N,) are float32. ``terminals`` (N,) bool is True where
    the environment terminated an episode. ``timeouts`` (N,) bool is True where time ran out, and None when the file
    does not say where (:func:`synthlib.offline.episodes.known_timeouts`). ``next_observations`` (N, O) is None unless
    :func:`load` was asked for it. ``data_source`` is replica, d4rl or path:DIR. ``checksum``, the SHA-256 of the
    content, belongs to a run's identity; the files' folder does not. ``masses`` are the body masses for evaluations
    (:func:`synthlib.offline.masses.choose_masses`). ``metadata`` maps the name of each file to the
    metadata that the file contains. Its key :data:`ADAPTED` has sentences on what the loader changed or found odd.
    """

    name: str
    environment: str
    tier: str
    data_source: str
    files: tuple[Path, ...]
    checksum: str
    masses: str
    observations: np.ndarray = field(repr=False)
    actions: np.ndarray = field(repr=False)
    rewards: np.ndarray = field(repr=False)
    terminals: np.ndarray = field(repr=False)
    timeouts: np.ndarray | None = field(repr=False)
    next_observations: np.ndarray | None = field(default=None, repr=False)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.rewards)


class Transitions(NamedTuple, Generic[Array]):
    """M transitions (s, a, r, s', d), float32; d is bool in a data set and 0.0 or 1.0 in a minibatch."""

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
    """The training data of CQL: M rows of a data set, and the generator that draws every minibatch from them.

    ``rows`` (M,) int32 are indices. The data set is not copied, so processes that load it from one cache share its
    memory. ``q_max`` is the upper bound of next-state values (faithfulness 6.1).
    """

    dataset: OfflineDataset
    rows: np.ndarray
    q_max: float
    generator: np.random.RandomState

    def draw(self, size: int) -> Transitions[np.ndarray]:
        """:class:`Transitions` of ``size`` rows drawn with replacement; see :meth:`batch`."""
        return self.batch(self.generator.randint(len(self.rows), size=size))

    def batch(self, places: np.ndarray) -> Transitions[np.ndarray]:
        """:class:`Transitions` of ``rows[places]`` as CQL takes them: actions clipped to +-0.999, terminals float32."""
        drawn = _transitions(self.dataset, self.rows[places])
        return drawn._replace(
            actions=np.clip(drawn.actions, -ACTION_CLIP, ACTION_CLIP), terminals=drawn.terminals.astype(np.float32)
        )


def load(
    name: str,
    data: str | DataSource = "replica",
    cache: str | Path | None = None,
    next_observations: bool = False,
) -> OfflineDataset:
    """Load the :class:`OfflineDataset` called ``name`` from the data source ``data`` (replica, d4rl or path:DIR).

    With a ``cache`` folder, the arrays are checked and unpacked there once, then memory-mapped, so that many processes
    share one copy. Without a cache, the files are read and checked every time. ``next_observations=True`` adds this
    array where the files have it (D4RL's own conversion never uses it). Raises ValueError (unknown name or data
    source), FileNotFoundError, :class:`DataFileError`.
    """
    data = parse_source(data)
    environment, tier = parse_name(name)
    files = find_files(name, data)
    digest = checksum(name, data, cache)
    names = (*ARRAYS, "next_observations") if next_observations else ARRAYS
    if cache is None:
        arrays, metadata = _read(files, environment, names, cache)
    else:
        kind = "next" if next_observations else "plain"
        folder = Path(cache) / "datasets" / f"{name}-{digest[:16]}-{kind}-{_CHECKS}"
        arrays, metadata = mapped_arrays(folder, lambda: _read(files, environment, names, cache))
    return OfflineDataset(
        name=name,
        environment=environment,
        tier=tier,
        data_source=data.label,
        files=files,
        checksum=digest,
        masses=choose_masses(name, data, cache).masses,
        observations=arrays["observations"],
        actions=arrays["actions"],
        rewards=arrays["rewards"],
        terminals=arrays["terminals"],
        timeouts=arrays.get("timeouts"),
        next_observations=arrays.get("next_observations"),
        metadata={path.name: with_label(facts) for path, facts in zip(files, metadata, strict=True)},
    )


def qlearning_transitions(
    dataset: OfflineDataset, terminate_on_end: bool = False, max_episode_steps: int = MAX_EPISODE_STEPS
) -> Transitions[np.ndarray]:
    """The :class:`Transitions` that D4RL's ``qlearning_dataset`` makes of a data set (faithfulness 7.5).

    The next state is the next row, even where the file has ``next_observations``; so the last row is lost. Rows where
    time ran out are left out, so that no value is carried over a reset; ``terminate_on_end`` keeps them. The next state
    of a terminal row is the next episode's first state, which no update uses. Without ``timeouts``, time runs out every
    ``max_episode_steps`` rows.
    """
    return _transitions(dataset, _transition_rows(dataset, terminate_on_end, max_episode_steps))


def _transition_rows(
    dataset: OfflineDataset, terminate_on_end: bool = False, max_episode_steps: int = MAX_EPISODE_STEPS
) -> np.ndarray:
    """Indices (M,) of the rows that become transitions."""
    terminals = np.asarray(dataset.terminals[:-1])
    if dataset.timeouts is None:
        final = _time_limit_rows(terminals, max_episode_steps, after_limit=int(terminate_on_end))
    else:
        final = np.asarray(dataset.timeouts[:-1])
    # With terminate_on_end, D4RL keeps the rows where time ran out, but does not mark them as terminal.
    return np.arange(len(terminals)) if terminate_on_end else np.flatnonzero(~final)


def _transitions(dataset: OfflineDataset, rows: np.ndarray) -> Transitions[np.ndarray]:
    columns = dataset.observations, dataset.actions, dataset.rewards, dataset.terminals
    observations, actions, rewards, terminals = map(np.asarray, columns)  # views without memmap's slow indexing
    return Transitions(observations[rows], actions[rows], rewards[rows], observations[rows + 1], terminals[rows])


def trajectories(dataset: OfflineDataset, max_episode_steps: int = MAX_EPISODE_STEPS) -> list[Trajectory]:
    """The whole episodes of a data set, in order, as views of its arrays (faithfulness 7.7).

    An episode ends with a terminal row, or with a row where time ran out. An unfinished last episode is dropped.
    Without ``timeouts``, time runs out after ``max_episode_steps`` rows.
    """
    terminals = np.asarray(dataset.terminals)
    if dataset.timeouts is None:
        ends = terminals | _time_limit_rows(terminals, max_episode_steps, after_limit=1)
    else:
        ends = terminals | dataset.timeouts
    columns = (dataset.observations, dataset.actions, dataset.rewards, terminals)
    return [Trajectory(*(column[a:b] for column in columns)) for a, b in zip(*episode_bounds(ends), strict=True)]


def cql_data(dataset: OfflineDataset, ratio: float = 1.0) -> CQLData:
    """:class:`CQLData` of a data set: floor(``ratio`` M) of its M transitions in the authors' order (faithfulness 6.1).

    One generator with seed 0 draws the order, the subset and the minibatches: they are the same for every seed and arm.
    ``q_max`` is 100 times the largest reward of the subset. Raises ValueError when ``ratio`` is outside (0, 1] or
    leaves no transition.
    """
    rows = _transition_rows(dataset)
    kept = int(len(rows) * ratio)
    if not (0 < ratio <= 1 and kept):
        raise ValueError(f"data ratio {ratio} of {len(rows)} transitions: must be in (0, 1] and leave at least one")
    generator = np.random.RandomState(0)
    rows = rows[generator.choice(len(rows), kept, replace=False)].astype(np.int32)
    return CQLData(dataset, rows, Q_MAX_REWARDS * float(dataset.rewards[rows].max()), generator)


def _time_limit_rows(terminals: np.ndarray, limit: int, after_limit: int) -> np.ndarray:
    """Rows, bool (N,), where D4RL's program decides that time ran out, for a file without ``timeouts``.

    The program counts the rows since the last episode's end. Its counter starts at 0 for the first episode, at 1 after
    a terminal row and at ``after_limit`` after a full episode. So time may run out one step early. This is an error in
    D4RL; it is kept here.
    """
    final = np.zeros(len(terminals), dtype=bool)
    start, counter = 0, 0
    for stop in np.append(np.flatnonzero(terminals) + 1, len(terminals)):
        final[start + limit - 1 - counter : stop : limit - after_limit] = True
        counter = after_limit if stop and final[stop - 1] else 1
        start = stop
    return final


def _read(
    files: Sequence[Path], environment: str, names: Sequence[str], cache: str | Path | None
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """The arrays of one file, or of two files joined, and the metadata of each file."""
    parts = [_read_file(path, environment, names, cache) for path in files]
    metadata = [facts for _, facts in parts]
    arrays = [part for part, _ in parts]
    if len(arrays) == 1:
        return arrays[0], metadata
    first, second = arrays
    if ("timeouts" in first) != ("timeouts" in second):
        lacking = files["timeouts" in first]
        raise DataFileError(f"{lacking} has no timeouts, but the file that it is joined with has; add them to it")
    if "timeouts" in first and not first["terminals"][-1]:
        first["timeouts"][-1] = True  # no transition leads from one file into the other
    shared = [name for name in names if name in first and name in second]
    return {name: np.concatenate([part[name] for part in arrays]) for name in shared}, metadata


def _read_file(
    path: Path, environment: str, names: Sequence[str], cache: str | Path | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of one file that are in ``names``, checked and adapted, and its metadata.

    D4RL's own files, known by their checksum, are read as D4RL's program reads them, whatever their flags say.
    """
    if is_official(path, cache):
        return read_d4rl_file(path, environment, names)
    arrays, metadata = read_d4rl_file(path, environment)
    timeouts, note = known_timeouts(arrays, environment, path)
    notes = [note] if note else []
    if timeouts is not None:
        arrays["timeouts"] = timeouts
    actions = arrays["actions"]
    arrays["actions"] = clip_actions(actions)
    if arrays["actions"] is not actions:
        notes.append(f"actions reach {np.abs(actions).max():.3g} and are clipped to [-1, 1], as MuJoCo does")
    return {name: arrays[name] for name in names if name in arrays}, metadata | ({ADAPTED: notes} if notes else {})
