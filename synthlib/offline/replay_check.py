"""Was a data set collected in this physics? Single stored transitions are replayed in MuJoCo and compared.

The physics state before a step is ``infos/qpos`` and ``infos/qvel`` where a file has them. Otherwise it is taken from
the observation, which lacks only the root's position along the track; the physics does not depend on this position.
Observations are rounded to float32, and a rounded state may make or miss a contact. So the median of the errors counts,
not the largest error. The masses of hopper and walker2d that D4RL used were never published. This check finds them out
when it runs on the official files (``make doctor DATA=d4rl``).
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import h5py
import numpy as np

from synthlib.offline.environments import unwrapped_environment
from synthlib.offline.hdf5 import DataFileError, read_d4rl_file
from synthlib.offline.sources import find_files
from synthlib.tasks import MASSES, environment_of

BARE_WIDTHS = {"halfcheetah": 17, "hopper": 11, "walker2d": 17, "ant": 27}
VELOCITY_CLIP = {"hopper": 10.0, "walker2d": 10.0}  # these environments clip the velocities in their observations

if TYPE_CHECKING:
    import mujoco


class ReplayErrors(NamedTuple):
    """Errors of R replayed rows, in the environment's own units.

    ``observation`` (R,): the largest absolute difference in the next observation. ``reward`` (R,): the absolute
    difference of the rewards. ``termination`` (R,), bool: whether only one of the two steps is terminal.
    """

    observation: np.ndarray
    reward: np.ndarray
    termination: np.ndarray


def replay(path: Path, environment: str, masses: str = "d4rl", rows: int = 1000, seed: int = 0) -> ReplayErrors:
    """:class:`ReplayErrors` of ``rows`` transitions of a file, drawn with ``seed``; of all, if the file has fewer.

    Raises the errors of :func:`synthlib.offline.hdf5.read_d4rl_file`, and :class:`DataFileError` when the stored
    physics states contradict the observations.
    """
    arrays, _ = read_d4rl_file(path, environment)
    env = unwrapped_environment(environment, masses)
    qpos, qvel = _states(path, environment, arrays["observations"], env.model)
    usable = _rows_with_known_next(environment, arrays, qvel)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(usable, min(rows, len(usable)), replace=False))
    following = arrays.get("next_observations", np.roll(arrays["observations"], -1, axis=0))
    errors = []
    for row in chosen:
        env.reset_model()
        env.data.qacc_warmstart[:] = 0  # the solver starts from the previous step's result, which is not stored
        env.set_state(qpos[row].astype(np.float64), qvel[row].astype(np.float64))
        observation, reward, terminal, _, _ = env.step(arrays["actions"][row])
        difference = np.abs(observation - following[row, : len(observation)]).max()
        errors.append((difference, abs(reward - arrays["rewards"][row]), terminal != arrays["terminals"][row]))
    return ReplayErrors(*(np.array(column) for column in zip(*errors, strict=True)))


def compare_masses(name: str, data: str, rows: int = 1000) -> dict[str, ReplayErrors]:
    """``{masses: ReplayErrors}`` of a data set's first file, for every choice of body masses."""
    path = find_files(name, data)[0]
    return {masses: replay(path, environment_of(name), masses, rows) for masses in MASSES}


def report(name: str, data: str, rows: int = 1000) -> str:
    """One sentence: which body masses a data set from the data source ``data`` fits."""
    errors = compare_masses(name, data, rows)
    medians = {masses: float(np.median(error.observation)) for masses, error in errors.items()}
    best = min(medians, key=medians.__getitem__)
    numbers = ", ".join(f"{masses} {median:.1e}" for masses, median in medians.items())
    if max(medians.values()) < 2 * medians[best]:
        return f"{name}: median one-step error {numbers}; the masses make no difference here"
    return f"{name}: median one-step error {numbers}; the data fit the {best} masses"


def _states(
    path: Path, environment: str, observations: np.ndarray, model: "mujoco.MjModel"
) -> tuple[np.ndarray, np.ndarray]:
    """``qpos`` (N, nq) and ``qvel`` (N, nv) before every step, as stored or taken from the observations (N, O)."""
    bare = observations[:, : BARE_WIDTHS[environment]]
    roots = model.nq + model.nv - bare.shape[1]
    positions = model.nq - roots
    with h5py.File(path, "r") as file:
        if "infos/qpos" not in file or "infos/qvel" not in file:
            return np.pad(bare[:, :positions], ((0, 0), (roots, 0))), bare[:, positions:]
        qpos, qvel = file["infos/qpos"][()], file["infos/qvel"][()]
    limit = VELOCITY_CLIP.get(environment, np.inf)
    seen = np.concatenate([qpos[:, roots:], np.clip(qvel, -limit, limit)], axis=1)
    if seen.shape != bare.shape or np.abs(seen - bare).max() > 1e-3:
        raise DataFileError(f"{path}: infos/qpos and infos/qvel do not belong to the observations")
    return qpos, qvel


def _rows_with_known_next(environment: str, arrays: dict[str, np.ndarray], qvel: np.ndarray) -> np.ndarray:
    """Indices of the rows whose true next observation is in the file and whose velocities were not clipped."""
    known = np.abs(qvel).max(axis=1) < VELOCITY_CLIP.get(environment, np.inf)
    timeouts = arrays.get("timeouts")
    if "next_observations" not in arrays:
        known[-1] = False
        known &= ~arrays["terminals"]
    if timeouts is not None:
        known &= ~timeouts  # the time limit ended the episode, so the end says nothing about the physics
    return np.flatnonzero(known)
