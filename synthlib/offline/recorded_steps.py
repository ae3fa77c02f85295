"""Single steps out of a data file, with the physics state before each, ready to be replayed.

The state before a step is ``infos/qpos`` and ``infos/qvel`` where a file has them. Otherwise it is taken from the
observation, which lacks only the root's place on the ground; the physics does not depend on this place. The state after
a step is the next row, as it is for the trainings.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from synthlib.offline.hdf5 import DataFileError, open_hdf5, read_metadata
from synthlib.tasks import DIMENSIONS

BARE_WIDTHS = {"halfcheetah": 17, "hopper": 11, "walker2d": 17, "ant": 27}  # of observations, without the ant's zeros
VELOCITIES = {"halfcheetah": 9, "hopper": 6, "walker2d": 9, "ant": 14}  # the last entries of an observation
ROOTS = {"halfcheetah": 1, "hopper": 1, "walker2d": 1, "ant": 2}  # coordinates of the root's place: not observed
VELOCITY_CLIP = {"hopper": 10.0, "walker2d": 10.0}  # these environments clip the velocities in their observations
_BLOCK = 32  # neighbouring rows, read together

Columns = Mapping[str, np.ndarray]
"""``observations`` (N, O), ``actions`` (N, A), ``rewards`` (N,), ``terminals`` (N,) and perhaps ``timeouts`` (N,),
``next_observations`` (N, O), ``qpos`` (N, nq) and ``qvel`` (N, nv); the observations are without the ant's zeros."""


class Steps(NamedTuple):
    """N rows of a file and the R steps among them that can be replayed.

    ``qpos`` (N, nq) and ``qvel`` (N, nv) are the state before each step; the root's place is NaN where it is not
    recorded. ``actions`` (N, A), ``following`` (N, O), the observations after the step, ``rewards`` (N,) and
    ``terminals`` (N,) bool are as recorded. ``continues`` (N,) bool: the row before is the step before, in the same
    episode. ``chosen`` (R,) are the indices of the steps to replay, in increasing order.
    """

    qpos: np.ndarray
    qvel: np.ndarray
    actions: np.ndarray
    following: np.ndarray
    rewards: np.ndarray
    terminals: np.ndarray
    continues: np.ndarray
    chosen: np.ndarray


def read_steps(path: Path, environment: str, count: int, seed: int = 0) -> Steps:
    """``count`` steps from all over a file, drawn with ``seed``; all its steps, if there are fewer.

    Only a part of the rows is read. Raises FileNotFoundError, and :class:`DataFileError` when the file is damaged, when
    no step can be replayed, and when the physics states contradict the observations.
    """
    read_metadata(path)  # refuses a file that lacks an array
    rng = np.random.default_rng(seed)
    with open_hdf5(path) as file:
        length = (file["observations"].shape or (0,))[0]
        blocks = np.sort(rng.permutation(np.arange(0, length, _BLOCK))[: -(-2 * count // _BLOCK)])
        index = np.add.outer(blocks, np.arange(_BLOCK)).ravel()
        index = index[index < length]

        def column(name: str, *widths: int) -> np.ndarray:
            return _read(file, name, blocks, index, widths, path)

        bare, full = BARE_WIDTHS[environment], DIMENSIONS[environment][0]
        velocities = VELOCITIES[environment]
        columns = {
            "observations": column("observations", bare, full)[:, :bare],
            "actions": column("actions", DIMENSIONS[environment][1]),
        }
        columns |= {name: column(name, 1)[:, 0] for name in ("rewards", "terminals", "timeouts") if name in file}
        if "next_observations" in file:
            columns["next_observations"] = column("next_observations", bare, full)[:, :bare]
        if "infos/qpos" in file and "infos/qvel" in file:
            columns["qpos"] = column("infos/qpos", bare - velocities + ROOTS[environment])
            columns["qvel"] = column("infos/qvel", velocities)
    return choose_steps(environment, columns, index, count, rng, path)


def choose_steps(
    environment: str,
    columns: Columns,
    index: np.ndarray,
    count: int,
    rng: np.random.Generator,
    where: str | Path = "the data",
) -> Steps:
    """Draw ``count`` of the steps in N rows that can be replayed; all, if there are fewer.

    ``index`` (N,) are the places of the rows in their file: rows whose places follow each other are neighbours there.
    A step can be replayed when the states before and after it are known, and the step before it, unless an episode
    begins. So the last step before the time limit is left out, and a terminal step of a file without
    ``next_observations``, and a step with clipped velocities. Raises :class:`DataFileError`, whose message begins with
    ``where``, when there is no such step and when ``qpos`` and ``qvel`` contradict the observations.
    """
    qpos, qvel = _states(environment, columns, where)
    terminals = columns["terminals"] != 0
    timeouts = columns["timeouts"] != 0 if "timeouts" in columns else np.zeros_like(terminals)
    following = np.roll(columns["observations"], -1, axis=0)
    neighbours = np.diff(index) == 1
    known_next = np.append(neighbours, False) & ~terminals
    if "next_observations" in columns:
        following[terminals] = columns["next_observations"][terminals]
        known_next |= terminals
    known_before = np.insert(neighbours, 0, index[:1] == 0)
    unclipped = (np.abs(qvel) < VELOCITY_CLIP.get(environment, np.inf)).all(axis=1)
    possible = np.flatnonzero(known_before & unclipped & known_next & ~timeouts)
    if not len(possible):
        raise DataFileError(f"{where}: there is no step whose states before and after it are both recorded")
    return Steps(
        qpos,
        qvel,
        columns["actions"],
        following,
        columns["rewards"],
        terminals,
        continues=np.insert(neighbours & ~(terminals | timeouts)[:-1], 0, False),
        chosen=np.sort(rng.choice(possible, min(count, len(possible)), replace=False)),
    )


def _states(environment: str, columns: Columns, where: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """``qpos`` (N, nq) and ``qvel`` (N, nv) before every step, as recorded or taken from the observations."""
    observations, roots = columns["observations"], ROOTS[environment]
    positions, velocities = np.split(observations, [-VELOCITIES[environment]], axis=1)
    if "qpos" not in columns:
        return np.pad(positions, ((0, 0), (roots, 0)), constant_values=np.nan), velocities
    limit = VELOCITY_CLIP.get(environment, np.inf)
    seen = np.concatenate([columns["qpos"][:, roots:], np.clip(columns["qvel"], -limit, limit)], axis=1)
    if not (np.abs(seen - observations) <= 1e-3).all():
        raise DataFileError(f"{where}: infos/qpos and infos/qvel do not belong to the observations")
    return columns["qpos"], columns["qvel"]


def _read(
    file: h5py.File, name: str, blocks: np.ndarray, index: np.ndarray, widths: Sequence[int], path: Path
) -> np.ndarray:
    """The rows ``index`` of an array as float64 (N, width), with one of ``widths``; an array (N,) has width 1.

    The rows lie in blocks that begin at ``blocks``. Raises :class:`DataFileError` for another shape and for no numbers.
    """
    stored = file[name]
    if isinstance(stored, h5py.Dataset) and stored.shape and stored.dtype.kind in "fiub" and len(index):
        rows = np.concatenate([stored[start : start + _BLOCK] for start in blocks])
        if len(rows) == len(index) and rows.size // len(rows) in widths:
            return rows.reshape(len(rows), -1).astype(np.float64)
    raise DataFileError(f"{path}: {name} cannot be replayed: it must have a row of {widths[0]} numbers for each step")
