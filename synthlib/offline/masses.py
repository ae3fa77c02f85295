"""Which body masses a data set's policies are evaluated under: the masses that its steps were recorded with.

The files of the replica say it. D4RL's own files need not: they were recorded with D4RL's masses. The recorded steps of
any other file say it when they are replayed (:mod:`synthlib.offline.replay`). When the steps fit no masses, they
were recorded in another physics, and D4RL's masses are assumed: the scores are defined by returns in D4RL's physics.
"""

import contextlib
import importlib.metadata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from synthlib.machine.files import make_parents, read_json, write_json
from synthlib.offline.checksums import file_checksum
from synthlib.offline.hdf5 import DataFileError, read_metadata
from synthlib.offline.replay import CANDIDATES, fitting, median_errors
from synthlib.offline.sources import DataSource, find_files, parse_source
from synthlib.robots import is_own
from synthlib.tasks import MASSES, environment_of, masses_of_robot

LABEL = "body_masses"  # the attribute of a file, and the key among the facts of a policy, that names the masses
ASSUMED = "d4rl"
_COUNT = 300  # steps that are replayed: their median is the same to a few per cent, and seconds are enough


class Choice(NamedTuple):
    """A name of :data:`synthlib.tasks.MASSES`, and half a sentence that says why a data set has it.

    ``assumed`` is True when nothing in the data decides.
    """

    masses: str
    why: str
    assumed: bool = False


def with_label(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a file, or the facts of a policy or a training, with today's :data:`LABEL`.

    Files and policies of the replica were made when the label was called "masses", and "d4rl" meant D4RL's masses on
    hopper and walker2d only. The embedded files cannot be rewritten: their checksums are in the published runs' keys.
    """
    facts = dict(facts)
    if LABEL not in facts and facts.get("masses") in ("d4rl", "stock"):
        old = facts.pop("masses")
        facts[LABEL] = "replica" if old == "d4rl" else old
    return facts


def choose_masses(name: str, data: str | DataSource, cache: str | Path | None = None) -> Choice:
    """The :class:`Choice` for data set ``name`` of the data source ``data``.

    Errors of replayed steps are kept in the folder ``cache``, if there is one. Raises FileNotFoundError, ValueError
    (unknown name or data source, several files), and :class:`DataFileError` when a file cannot be opened, or when two
    joined files were made with different masses.
    """
    data = parse_source(data)
    environment = environment_of(name)
    if data.kind == "d4rl":
        return Choice("d4rl", "because D4RL recorded its files with them")
    if is_own(environment):
        return Choice("own", "because the robot is the user's own")
    files = find_files(name, data)
    choices = [_choice_of_file(path, environment, cache) for path in files]
    known = [choice for choice in choices if not choice.assumed]
    if len({masses_of_robot(environment, choice.masses) for choice in known}) > 1:
        raise DataFileError(f"{name}: its files were made with different body masses: {', '.join(map(str, files))}")
    return (known or choices)[0]


def assumptions(names: Iterable[str], data: str | DataSource, cache: str | Path | None = None) -> list[str]:
    """A sentence for each data set in ``names`` whose masses nothing in the data decides.

    Raises the errors of :func:`choose_masses`.
    """
    choices = {name: choose_masses(name, data, cache) for name in names}
    return [
        f"{name}: policies are evaluated under the {choice.masses} body masses {choice.why}"
        for name, choice in choices.items()
        if choice.assumed
    ]


def _choice_of_file(path: Path, environment: str, cache: str | Path | None) -> Choice:
    stated = with_label(read_metadata(path)).get(LABEL)
    if stated in MASSES:
        return Choice(stated, "because the file says so")
    try:
        medians = _medians(path, environment, cache)
    except DataFileError:  # loading the file will say what is wrong with it
        return Choice(ASSUMED, "by default, because its recorded steps cannot be replayed", assumed=True)
    if best := fitting(medians):
        return Choice(best[0], f"because its recorded steps fit them (median error {medians[best[0]]:.0e})")
    return Choice(ASSUMED, "by default, because its recorded steps fit no known masses", assumed=True)


def _medians(path: Path, environment: str, cache: str | Path | None) -> dict[str, float]:
    """The result of :func:`synthlib.offline.replay_check.median_errors`, kept in the folder ``cache``."""
    if cache is None:
        return median_errors(path, environment, _COUNT)
    version = importlib.metadata.version("mujoco")
    kept = Path(cache) / "masses" / f"{environment}-{file_checksum(path, cache)[:16]}-mujoco-{version}.json"
    with contextlib.suppress(OSError, ValueError):
        medians = read_json(kept)
        if isinstance(medians, dict) and medians.keys() == set(CANDIDATES):
            return medians
    medians = median_errors(path, environment, _COUNT)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
        make_parents(kept)
        write_json(kept, medians)
    return medians
