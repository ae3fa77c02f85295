"""The four MuJoCo tasks, with the physics that the D4RL data were collected in.

D4RL was collected with MuJoCo before 2.1.2, which computed the mass of a capsule (length ``L``, radius ``r``) as the
mass of a cylinder of length ``L + r``. Today's MuJoCo computes the mass exactly. A policy that was trained on a lighter
hopper can lose half of its score on a hopper that is 4 % heavier. ``masses="d4rl"`` (default) restores the old masses
of hopper and walker2d; ``"stock"`` keeps the masses of the model as shipped. Data and evaluation need the same masses,
so the choice is part of a run's identity.

The ant's observation has width 27 here and 111 in D4RL; :func:`synthlib.tasks.pad_observation` appends the zeros.

``gymnasium`` and ``mujoco`` are imported only when an environment is made, so plans, tables and figures do without.
"""

import warnings
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from synthlib.tasks import ENVIRONMENTS, GYMNASIUM_IDS, MASSES, WITH_OLD_CAPSULES

if TYPE_CHECKING:
    import gymnasium
    import mujoco
    from gymnasium.envs.mujoco.mujoco_env import MujocoEnv

_GEOM_DENSITY = 1000.0  # kg per cubic metre


def make_environment(environment: str, masses: str = "d4rl", **options: Any) -> "gymnasium.Env":
    """Make a gymnasium environment with a limit of 1000 steps; ``options`` go to gymnasium (e.g. ``render_mode``).

    Raises ValueError for an unknown environment or unknown masses.
    """
    import gymnasium

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
        physics = cast("MujocoEnv", env.unwrapped)
        restore_capsule_masses(physics.model, physics.data)
    return env


def unwrapped_environment(environment: str, masses: str = "d4rl") -> "MujocoEnv":
    """As :func:`make_environment`, without wrappers: no time limit, and the physics state can be read and set."""
    return cast("MujocoEnv", make_environment(environment, masses).unwrapped)  # all four tasks are MuJoCo environments


def restore_capsule_masses(model: "mujoco.MjModel", data: "mujoco.MjData") -> None:
    """Give every body the mass (kg) and inertia (kg m2) that MuJoCo before 2.1.2 computed, in place.

    Raises ValueError when a body is not one capsule.
    """
    import mujoco

    for body in range(1, model.nbody):
        first, count = model.body_geomadr[body], model.body_geomnum[body]
        if count != 1 or model.geom_type[first] != mujoco.mjtGeom.mjGEOM_CAPSULE:
            raise ValueError(f"body {body} is not one capsule; the old masses are only known for such bodies")
        radius, half_length = model.geom_size[first, :2]
        height = 2 * half_length + radius
        mass = _GEOM_DENSITY * np.pi * radius**2 * height
        across = mass * (3 * radius**2 + height**2) / 12
        along = mass * radius**2 / 2
        axis = np.argmin(model.body_inertia[body])  # the capsule's own axis: all capsules here are longer than wide
        model.body_mass[body] = mass
        model.body_inertia[body] = np.where(np.arange(3) == axis, along, across)
    mujoco.mj_setConst(model, data)
