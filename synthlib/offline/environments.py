"""The four MuJoCo tasks, with the physics that the D4RL data were made on.

D4RL was collected with MuJoCo before 2.1.2, which computed the mass of a capsule (length ``L``, radius ``r``) as the
mass of a cylinder of length ``L + r``. Today's MuJoCo computes it exactly. A hopper that is 4 % heavier can halve the
score of a policy that was trained on the lighter one. ``masses="d4rl"`` (default) restores the old masses of hopper and
walker2d; ``"stock"`` leaves the model as shipped. Data and evaluation need the same masses, so the choice is part of a
run's identity.

The ant's observation has width 27 here and 111 in D4RL: :func:`synthlib.tasks.pad_observation` appends the zeros.

``gymnasium`` and ``mujoco`` are imported when an environment is made: a plan, a table or a figure makes none.
"""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from synthlib.tasks import ENVIRONMENTS, GYMNASIUM_IDS, MASSES, WITH_OLD_CAPSULES

if TYPE_CHECKING:
    import gymnasium
    import mujoco

_GEOM_DENSITY = 1000.0  # kg per cubic metre


def make_environment(environment: str, masses: str = "d4rl", **options: Any) -> "gymnasium.Env":
    """A gymnasium environment with a limit of 1000 steps; ``options`` go to gymnasium (e.g. ``render_mode``).

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
        restore_capsule_masses(env.unwrapped.model, env.unwrapped.data)
    return env


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
        axis = np.argmin(model.body_inertia[body])  # the capsule's own axis: these are all longer than wide
        model.body_mass[body] = mass
        model.body_inertia[body] = np.where(np.arange(3) == axis, along, across)
    mujoco.mj_setConst(model, data)
