"""The four MuJoCo tasks, with the physics that the D4RL data were collected in.

D4RL was collected with MuJoCo 2.0. Before 2.1.2, MuJoCo computed the mass of a capsule (length ``L``, radius ``r``) as
the mass of a cylinder of length ``L + r``; today's MuJoCo computes it exactly. A policy that was trained on a lighter
hopper can lose half of its score on a hopper that is 4 % heavier. ``masses="d4rl"`` (default) restores the old masses
of all four robots; ``"stock"`` keeps today's; ``"replica"`` is the mixture that the embedded data were made under
(:func:`synthlib.tasks.masses_of_robot`). Data and evaluation need the same masses: they are part of a run's identity.

The ant's observation has width 27 here and 111 in D4RL; :func:`synthlib.tasks.pad_observation` appends the zeros.

``gymnasium`` and ``mujoco`` are imported only when an environment is made, so plans, tables and figures do without.
"""

import warnings
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from synthlib.robots import find_robot, is_own
from synthlib.tasks import ENVIRONMENTS, GYMNASIUM_IDS, masses_of_robot

if TYPE_CHECKING:
    import gymnasium
    import mujoco
    from gymnasium.envs.mujoco.mujoco_env import MujocoEnv

# From gymnasium's model files, which are gym's: a compiled model no longer has these two numbers.
_DENSITIES = {"halfcheetah": 1000.0, "hopper": 1000.0, "walker2d": 1000.0, "ant": 5.0}  # kg per cubic metre
_TOTAL_MASSES = {"halfcheetah": 14.0}  # kg; MuJoCo scales this robot's masses to their wanted sum


def make_environment(environment: str, masses: str = "d4rl", **options: Any) -> "gymnasium.Env":
    """Make a gymnasium environment with a limit of 1000 steps; ``options`` go to gymnasium (e.g. ``render_mode``).

    Raises ValueError for an unknown environment or unknown masses.
    """
    import gymnasium

    if is_own(environment):
        made: gymnasium.Env = find_robot(environment).make(**options)
        return made
    if environment not in GYMNASIUM_IDS:
        raise ValueError(f"unknown environment {environment!r}; known: {', '.join(ENVIRONMENTS)}")
    masses = masses_of_robot(environment, masses)
    with warnings.catch_warnings():
        # v4 is "out of date" on purpose: v5 changes rewards and the walker's feet.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="gymnasium")
        warnings.filterwarnings("ignore", message=".*out of date.*")
        env = gymnasium.make(GYMNASIUM_IDS[environment], disable_env_checker=True, **options)
    if masses == "d4rl":
        physics = cast("MujocoEnv", env.unwrapped)
        restore_old_masses(environment, physics.model, physics.data)
    return env


def unwrapped_environment(environment: str, masses: str = "d4rl") -> "MujocoEnv":
    """As :func:`make_environment`, without wrappers: no time limit, and the physics state can be read and set.

    A robot of the user's own keeps its wrappers, since its episodes may end by one of them.
    """
    if is_own(environment):
        return cast("MujocoEnv", make_environment(environment))
    return cast("MujocoEnv", make_environment(environment, masses).unwrapped)  # all four tasks are MuJoCo environments


def restore_old_masses(environment: str, model: "mujoco.MjModel", data: "mujoco.MjData") -> None:
    """Give every body the mass (kg) and inertia (kg m2) that MuJoCo before 2.1.2 computed, in place.

    ``model`` is the model of ``environment``, as gymnasium loads it. Raises ValueError for a geom that is neither a
    capsule nor a sphere.
    """
    import mujoco

    for body in range(1, model.nbody):
        first, count = model.body_geomadr[body], model.body_geomnum[body]
        parts = [_mass_and_inertia(model, geom, _DENSITIES[environment]) for geom in range(first, first + count)]
        if count == 1:
            mass, (across, _, along) = parts[0]
            axis = np.argmin(model.body_inertia[body])  # the geom's own axis: all capsules here are longer than wide
            model.body_mass[body] = mass
            model.body_inertia[body] = np.where(np.arange(3) == axis, along, across)
        else:
            _join_geoms(model, body, parts)
            # The boxes of MuJoCo's midphase stay where the centre of mass was: contacts with the floor would vanish.
            model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
    if environment in _TOTAL_MASSES:
        scale = _TOTAL_MASSES[environment] / model.body_mass.sum()
        model.body_mass *= scale
        model.body_inertia *= scale
    mujoco.mj_setConst(model, data)


def _mass_and_inertia(model: "mujoco.MjModel", geom: int, density: float) -> tuple[float, np.ndarray]:
    """Mass of a geom and its moments of inertia (3,) about its own x, y and z, as MuJoCo before 2.1.2 computed them."""
    import mujoco

    radius, half_length = model.geom_size[geom, :2]
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_SPHERE:
        mass = density * 4 / 3 * np.pi * radius**3
        return mass, np.full(3, mass * 2 / 5 * radius**2)
    if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_CAPSULE:
        raise ValueError(f"geom {geom} is neither a capsule nor a sphere; the old masses of others are not known")
    height = 2 * half_length + radius
    mass = density * np.pi * radius**2 * height
    across = mass * (3 * radius**2 + height**2) / 12
    return mass, np.array([across, across, mass * radius**2 / 2])


def _join_geoms(model: "mujoco.MjModel", body: int, parts: list[tuple[float, np.ndarray]]) -> None:
    """Give ``body`` the mass, the centre of mass and the principal axes of all its geoms together, in place."""
    import mujoco

    geoms = slice(model.body_geomadr[body], model.body_geomadr[body] + len(parts))
    masses, places = np.array([mass for mass, _ in parts]), model.geom_pos[geoms]
    centre = masses @ places / masses.sum()
    tensor = np.zeros((3, 3))
    for (mass, moments), place, turn in zip(parts, places, model.geom_quat[geoms], strict=True):
        entries, arm = np.zeros(9), place - centre
        mujoco.mju_quat2Mat(entries, turn)
        rotation = entries.reshape(3, 3)
        tensor += rotation * moments @ rotation.T + mass * (arm @ arm * np.eye(3) - np.outer(arm, arm))
    moments, axes = np.linalg.eigh(tensor)
    axes[:, 2] *= np.sign(np.linalg.det(axes))  # a rotation, not a reflection
    model.body_mass[body], model.body_ipos[body], model.body_inertia[body] = masses.sum(), centre, moments
    mujoco.mju_mat2Quat(model.body_iquat[body], axes.ravel())
