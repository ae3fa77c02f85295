"""Convert data sets to and from Minari, the maintained successor of D4RL's format; needs the extra ``minari``.

``python -m synthlib.offline.minari read ID NAME FOLDER`` writes a local Minari data set as ``FOLDER/NAME`` in D4RL's
layout, to be used with ``DATA=path:FOLDER``. ``write NAME ID`` converts one of our data sets to a local Minari data
set. Minari's own ``mujoco/*`` data sets come from v5 environments. Their physics differ, and the width of their ant
differs too, so their ant is refused.
"""

import argparse
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from synthlib.offline.datasets import load, trajectories
from synthlib.offline.hdf5 import check_arrays, write_d4rl_file
from synthlib.offline.masses import LABEL, choose_masses
from synthlib.offline.official import file_name
from synthlib.tasks import DIMENSIONS, REFERENCE_RETURNS, parse_name

_VERSION = "0.5.4"
"""Of the extra, whose other requirements are in the lock: a newer one may want another Gymnasium."""


def read_minari(minari_id: str, name: str, folder: str | Path) -> Path:
    """Write the local Minari data set ``minari_id`` as data set ``name`` into ``folder``; returns the file's path.

    Raises ValueError when its arrays do not fit the environment of ``name``, FileNotFoundError when Minari has no such
    data set here, ModuleNotFoundError when Minari is not installed.
    """
    episodes, facts = _read(minari_id)
    join = lambda column: np.concatenate([column(episode) for episode in episodes])  # noqa: E731
    truncations = join(lambda episode: episode.truncations)
    arrays = {
        "observations": join(lambda episode: episode.observations[:-1]),
        "next_observations": join(lambda episode: episode.observations[1:]),
        "actions": join(lambda episode: episode.actions),
        "rewards": join(lambda episode: episode.rewards),
        # In D4RL, a step that is both terminal and timed out counts as timed out (faithfulness 7.6).
        "terminals": join(lambda episode: episode.terminations) & ~truncations,
        "timeouts": truncations,
    }
    ends = np.cumsum([len(episode.rewards) for episode in episodes]) - 1
    arrays["timeouts"][ends] |= ~arrays["terminals"][ends]  # recording stopped there: no value crosses the gap
    path = Path(folder) / file_name(name)
    arrays = check_arrays(arrays, parse_name(name)[0], minari_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    label = {LABEL: facts[LABEL]} if LABEL in facts else {}
    write_d4rl_file(path, arrays, {"source": f"minari:{minari_id}", **label})
    return path


def write_minari(name: str, minari_id: str, data: str = "replica") -> int:
    """Make a local Minari data set of the whole episodes of ``name``; returns the number of episodes.

    ``data`` is the data source. Raises ValueError for a name that Minari cannot take or has already, and when the file
    has no ``next_observations``, so that the observation after an episode's last step is missing; ModuleNotFoundError
    when Minari is not installed; and the errors of :func:`synthlib.offline.datasets.load`.
    """
    minari = _minari()
    _check_id(minari_id)
    from gymnasium.spaces import Box
    from minari.data_collector import EpisodeBuffer

    dataset = load(name, data, next_observations=True)
    if dataset.next_observations is None:
        raise ValueError(f"{name} from {data} has no next_observations, and Minari needs every episode's last one")
    buffers, stop = [], 0
    for number, episode in enumerate(trajectories(dataset)):
        stop += len(episode.rewards)
        truncations = np.zeros(len(episode.rewards), dtype=bool)
        truncations[-1] = not episode.terminals[-1]
        buffer = EpisodeBuffer(
            id=number,
            observations=np.concatenate([episode.observations, dataset.next_observations[stop - 1 : stop]]),
            actions=np.asarray(episode.actions),
            rewards=list(episode.rewards),
            terminations=list(episode.terminals),
            truncations=list(truncations),
        )
        buffers.append(buffer)
    observation_width, action_width = DIMENSIONS[dataset.environment]
    low, high = REFERENCE_RETURNS[dataset.environment]
    minari_data = minari.create_dataset_from_buffers(
        minari_id,
        buffers,
        observation_space=Box(-np.inf, np.inf, (observation_width,), np.float32),
        action_space=Box(-1, 1, (action_width,), np.float32),
        ref_min_score=low,
        ref_max_score=high,
        description=f"{name} from {dataset.data_source}, SHA-256 {dataset.checksum}",
    )
    choice = choose_masses(name, data)
    if not choice.assumed:
        minari_data.storage.update_metadata({LABEL: choice.masses})
    return len(buffers)


def _read(minari_id: str) -> tuple[list[Any], dict[str, Any]]:
    """The episodes of a local Minari data set, with arrays of observations, and its metadata.

    Errors as of :func:`read_minari`.
    """
    minari = _minari()
    _check_id(minari_id)
    try:
        minari_data = minari.load_dataset(minari_id)
        episodes = list(minari_data.iterate_episodes())
    except OSError as error:
        if "not found locally" in str(error):
            raise FileNotFoundError(
                f"Minari has no data set {minari_id} on this machine (`minari list local` shows what it has); "
                f"fetch it with `minari download {minari_id}`"
            ) from error
        raise ValueError(
            f"{minari_id} cannot be read ({error}); fetch it again with `minari download --force {minari_id}`"
        ) from error
    if not episodes:
        raise ValueError(f"{minari_id} has no episode")
    if not isinstance(episodes[0].observations, np.ndarray):
        kind = type(episodes[0].observations).__name__
        raise ValueError(f"{minari_id}: each observation is a {kind}, not an array; it is the data set of another task")
    return episodes, dict(minari_data.storage.metadata)


def _check_id(minari_id: str) -> None:
    """Raise ValueError unless Minari can take the name; for some of these it would fail half-way."""
    if not re.fullmatch(r"([\w-]+/)*[\w-]+-v\d+", minari_id):
        raise ValueError(f"{minari_id!r} is no name of a Minari data set; such names look like mujoco/hopper/medium-v0")


def _minari() -> ModuleType:
    """The package ``minari``. Raises ModuleNotFoundError, whose message says how to install it."""
    try:
        import minari
    except ImportError:
        raise ModuleNotFoundError(
            "Minari is not installed here, as nothing else needs it: "
            f"{shlex.quote(sys.executable)} -m pip install minari=={_VERSION}"
        ) from None
    return minari


def main() -> None:
    """Command line of ``python -m synthlib.offline.minari``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    reading = commands.add_parser("read", help="from Minari to D4RL's layout")
    reading.add_argument("minari_id", metavar="ID")
    reading.add_argument("name", metavar="NAME")
    reading.add_argument("folder", metavar="FOLDER")
    writing = commands.add_parser("write", help="from one of our data sets to Minari")
    writing.add_argument("name", metavar="NAME")
    writing.add_argument("minari_id", metavar="ID")
    writing.add_argument("--data", default="replica", help="replica, d4rl or path:DIR")
    options = parser.parse_args()
    try:
        if options.command == "read":
            print(read_minari(options.minari_id, options.name, options.folder))
        else:
            print(f"{write_minari(options.name, options.minari_id, options.data)} episodes in {options.minari_id}")
    except (ImportError, OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
