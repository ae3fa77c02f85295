"""Were these data made on this physics? Replays single stored transitions in MuJoCo and measures the difference.

The state before a step is ``infos/qpos`` and ``infos/qvel`` where a file has them. Otherwise it is read off the
observation, which lacks nothing but the root's place along the track, on which nothing depends; float32 observations
make contacts differ a little, so errors are judged by their median. The masses of hopper and walker2d that D4RL was
made with were never published: this check on the official files is how to know (``make doctor DATA=d4rl``).
"""

from typing import NamedTuple

import h5py
import numpy as np

from synthlib.offline.environments import make_environment
from synthlib.offline.hdf5 import DataFileError, read_d4rl_file
from synthlib.offline.sources import find_files
from synthlib.tasks import MASSES, environment_of

BARE_WIDTHS = {"halfcheetah": 17, "hopper": 11, "walker2d": 17, "ant": 27}
VELOCITY_CLIP = {"hopper": 10.0, "walker2d": 10.0}  # of the velocities in the observation, by the environment itself


class ReplayErrors(NamedTuple):
    """Of R replayed rows: largest absolute difference of the next observation (R,), absolute difference of the reward
    (R,), and whether the episode's end differs (R,) bool. All in the environment's own units."""

    observation: np.ndarray
    reward: np.ndarray
    termination: np.ndarray


def replay(path, environment, masses="d4rl", rows=1000, seed=0):
    """:class:`ReplayErrors` of ``rows`` transitions of a file, drawn with ``seed`` (all, if it has fewer).

    Raises as ``read_d4rl_file``, and :class:`DataFileError` when stored states contradict the observations.
    """
    arrays, _ = read_d4rl_file(path, environment)
    env = make_environment(environment, masses).unwrapped
    qpos, qvel = _states(path, environment, arrays["observations"], env.model)
    usable = _rows_with_known_next(environment, arrays, qvel)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(usable, min(rows, len(usable)), replace=False))
    following = arrays.get("next_observations", np.roll(arrays["observations"], -1, axis=0))
    errors = []
    for row in chosen:
        env.reset_model()
        env.data.qacc_warmstart[:] = 0  # of the step before, which is not stored; only a start value of the solver
        env.set_state(qpos[row].astype(np.float64), qvel[row].astype(np.float64))
        observation, reward, terminal, _, _ = env.step(arrays["actions"][row])
        difference = np.abs(observation - following[row, : len(observation)]).max()
        errors.append((difference, abs(reward - arrays["rewards"][row]), terminal != arrays["terminals"][row]))
    return ReplayErrors(*(np.array(column) for column in zip(*errors, strict=True)))


def compare_masses(name, source, rows=1000):
    """``{masses: ReplayErrors}`` of a data set's first file under every mass set."""
    path = find_files(name, source)[0]
    return {masses: replay(path, environment_of(name), masses, rows) for masses in MASSES}


def report(name, source, rows=1000):
    """One sentence on which mass set a data set fits."""
    errors = compare_masses(name, source, rows)
    medians = {masses: float(np.median(error.observation)) for masses, error in errors.items()}
    best = min(medians, key=medians.get)
    numbers = ", ".join(f"{masses} {median:.1e}" for masses, median in medians.items())
    if max(medians.values()) < 2 * medians[best]:
        return f"{name}: median one-step error {numbers}; the masses make no difference here"
    return f"{name}: median one-step error {numbers}; the data fit the {best} masses"


def _states(path, environment, observations, model):
    """``(qpos, qvel)`` before every step, stored or read off the observations."""
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


def _rows_with_known_next(environment, arrays, qvel):
    """Rows whose true next observation is in the file and whose velocities were not clipped."""
    known = np.abs(qvel).max(axis=1) < VELOCITY_CLIP.get(environment, np.inf)
    timeouts = arrays.get("timeouts")
    if "next_observations" not in arrays:
        known[-1] = False
        known &= ~arrays["terminals"]
    if timeouts is not None:
        known &= ~timeouts  # there the end of the episode says nothing about the body
    return np.flatnonzero(known)
