"""The four MuJoCo tasks, with the physics that the D4RL data were made on.

D4RL was collected with MuJoCo before 2.1.2, which weighed a capsule as a cylinder of length ``L + r``. Every
wheel on PyPI today weighs it exactly, and a hopper that is 4 % heavier can halve the score of a policy that was
trained on the old one. ``masses="d4rl"`` (default) restores the old masses for hopper and walker2d; ``"stock"``
leaves the model as shipped. One choice must serve data and evaluation: it is part of a run's identity.

The ant of D4RL has 111 observations whose last 84 (contact forces) are always zero; the environment here has 27
and :func:`pad_observation` appends the zeros (faithfulness item 7.9).
"""

import functools
import importlib.metadata
import warnings

import gymnasium
import mujoco
import numpy as np

ENVIRONMENTS = ("halfcheetah", "hopper", "walker2d", "ant")
GYMNASIUM_IDS = {
    "halfcheetah": "HalfCheetah-v4",
    "hopper": "Hopper-v4",
    "walker2d": "Walker2d-v4",
    "ant": "Ant-v4",
}
MASSES = ("d4rl", "stock")
MAX_EPISODE_STEPS = 1000

# (observation, action) widths as in the D4RL files.
DIMENSIONS = {"halfcheetah": (17, 6), "hopper": (11, 3), "walker2d": (17, 6), "ant": (111, 8)}

# Raw returns that score 0 and 1 (paper Table 17 = d4rl.infos).
REFERENCE_RETURNS = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7),
}

_WITH_OLD_CAPSULES = ("hopper", "walker2d")
_GEOM_DENSITY = 1000.0


def normalised_score(environment, returns):
    """D4RL score x 100 of raw ``returns`` (scalar or array): 100 (R - min) / (max - min), paper A.3."""
    low, high = REFERENCE_RETURNS[environment]
    return 100.0 * (np.asarray(returns, dtype=np.float64) - low) / (high - low)


def physics_version(environment, masses="d4rl"):
    """What must be equal for two returns to be comparable; goes into every run record."""
    patched = masses == "d4rl" and environment in _WITH_OLD_CAPSULES
    return {
        "environment": GYMNASIUM_IDS[environment],
        "masses": "d4rl" if patched else "stock",
        "gymnasium": _version("gymnasium"),
        "mujoco": _version("mujoco"),
    }


# A plan of the whole paper asks tens of thousands of times, and each answer reads a file.
_version = functools.cache(importlib.metadata.version)


def make_environment(environment, masses="d4rl", **options):
    """A gymnasium environment with a 1000-step limit; ``options`` go to gymnasium (e.g. ``render_mode``).

    Raises ValueError for an unknown environment or mass set.
    """
    if environment not in GYMNASIUM_IDS:
        raise ValueError(f"unknown environment {environment!r}; known: {', '.join(ENVIRONMENTS)}")
    if masses not in MASSES:
        raise ValueError(f"unknown mass set {masses!r}; known: {', '.join(MASSES)}")
    with warnings.catch_warnings():
        # v4 is "out of date" on purpose: v5 changes rewards and the walker's feet.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="gymnasium")
        warnings.filterwarnings("ignore", message=".*out of date.*")
        env = gymnasium.make(GYMNASIUM_IDS[environment], disable_env_checker=True, **options)
    if masses == "d4rl" and environment in _WITH_OLD_CAPSULES:
        restore_capsule_masses(env.unwrapped.model, env.unwrapped.data)
    return env


def restore_capsule_masses(model, data):
    """Give every one-capsule body of an ``MjModel`` the mass and inertia that MuJoCo < 2.1.2 computed, in place."""
    for body in range(1, model.nbody):
        first, count = model.body_geomadr[body], model.body_geomnum[body]
        if count != 1 or model.geom_type[first] != mujoco.mjtGeom.mjGEOM_CAPSULE:
            raise ValueError(f"body {body} is not one capsule; the old masses are only known for such bodies")
        radius, half_length = model.geom_size[first, :2]
        height = 2 * half_length + radius
        mass = _GEOM_DENSITY * np.pi * radius**2 * height
        across = mass * (3 * radius**2 + height**2) / 12
        along = mass * radius**2 / 2
        axis = np.argmin(model.body_inertia[body])  # the capsule's own axis: these are all longer than wide
        model.body_mass[body] = mass
        model.body_inertia[body] = np.where(np.arange(3) == axis, along, across)
    mujoco.mj_setConst(model, data)


def pad_observation(environment, observations):
    """Append the ant's 84 zero contact forces to the last axis: (..., 27) -> (..., 111); others unchanged."""
    width = DIMENSIONS[environment][0]
    missing = width - observations.shape[-1]
    if missing == 0:
        return observations
    if environment != "ant" or missing != 84:
        raise ValueError(f"{environment} observations have width {width}, not {observations.shape[-1]}")
    padding = np.zeros((*observations.shape[:-1], missing), dtype=observations.dtype)
    return np.concatenate([observations, padding], axis=-1)
