"""The four MuJoCo tasks, with the physics that the D4RL data were made on.

D4RL was collected with MuJoCo before 2.1.2, which weighed a capsule as a cylinder of length ``L + r``. Every
wheel on PyPI today weighs it exactly, and a hopper that is 4 % heavier can halve the score of a policy that was
trained on the old one. ``masses="d4rl"`` (default) restores the old masses for hopper and walker2d; ``"stock"``
leaves the model as shipped. One choice must serve data and evaluation: it is part of a run's identity.

The ant has 27 observations here, those of D4RL 111: :func:`synthlib.tasks.pad_observation` appends the zeros.
"""

import warnings

import gymnasium
import mujoco
import numpy as np

from synthlib.tasks import ENVIRONMENTS, GYMNASIUM_IDS, MASSES, WITH_OLD_CAPSULES

_GEOM_DENSITY = 1000.0


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
    if masses == "d4rl" and environment in WITH_OLD_CAPSULES:
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
