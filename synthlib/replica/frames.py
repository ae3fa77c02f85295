"""Pictures of a behaviour policy: a strip of frames from one episode.

MuJoCo renders the frames where OpenGL works (set ``MUJOCO_GL`` to egl or osmesa on a machine without a screen).
Elsewhere Matplotlib draws the geometry of the robot from the side.
"""

import functools
import subprocess
import sys

import matplotlib.pyplot as plt
import mujoco
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthlib.replica.policies import BehaviourPolicy, collect_episode, environment_for

SIZE = (200, 260)  # pixels of a rendered frame: height, width
REACH = 1.0  # metres to each side of the root in a drawing


def strip(
    policy: BehaviourPolicy, count: int = 7, spacing: int = 8, start: int = 40, seed: int = 0, rendered: bool = True
) -> tuple[Figure, str]:
    """(figure, alt text): ``count`` frames of an episode without noise, ``spacing`` steps apart, from step ``start``.

    When the episode is too short, the frames are spread evenly over it. ``rendered=False`` draws without OpenGL.
    """
    env = environment_for(policy)
    episode = collect_episode(policy, env, seed, index=0, noise=0)
    steps = start + spacing * np.arange(count)
    if steps[-1] >= len(episode.rewards):
        steps = np.linspace(0, len(episode.rewards) - 1, count).astype(int)
    renderer = mujoco.Renderer(env.model, *SIZE) if rendered and opengl_works() else None
    figure, axes = plt.subplots(1, count, figsize=(1.5 * count, 1.9), sharey=True, squeeze=False)
    for axis, step in zip(axes[0], steps, strict=True):
        env.set_state(episode.qpos[step], episode.qvel[step])
        if renderer is None:
            _draw(axis, env.model, env.data)
        else:
            renderer.update_scene(env.data, camera="track")
            axis.imshow(renderer.render())
        axis.set_title(f"step {step}", fontsize=8)
        axis.set_axis_off()
    if renderer is not None:
        renderer.close()
    facts = policy.facts
    how = "drawn from the side" if renderer is None else "rendered"
    figure.suptitle(f"{facts['environment']}, {facts['algorithm']} after {facts['steps']:,} steps", fontsize=9)
    moments = f"{count} moments {how}, steps {steps[0]} to {steps[-1]} of an episode of {len(episode.rewards)}"
    return figure, f"{facts['environment']}: {moments}, return {episode.rewards.sum():.0f}."


@functools.cache
def opengl_works() -> bool:
    """Whether MuJoCo can render here. Tried in a new process: without OpenGL, a second attempt aborts Python."""
    attempt = "import mujoco; mujoco.Renderer(mujoco.MjModel.from_xml_string('<mujoco/>'), 8, 8).render()"
    return subprocess.run([sys.executable, "-c", attempt], capture_output=True).returncode == 0


def _draw(axis: Axes, model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Draw capsules and spheres in the plane of x (along the track) and z (up); nearer shapes are darker."""
    centre = data.qpos[0]
    farther_first = np.argsort(-data.geom_xpos[:, 1], kind="stable")
    shades = np.linspace(0.65, 0.15, model.ngeom)
    for geom, shade in zip(farther_first, shades, strict=True):
        radius, half_length, _ = model.geom_size[geom]
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_PLANE:
            axis.axhline(0, color="0.6", linewidth=1)
            continue
        along = np.zeros(3)
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE:
            along = data.geom_xmat[geom].reshape(3, 3)[:, 2] * half_length
        place, along = data.geom_xpos[geom][[0, 2]] - [centre, 0], along[[0, 2]]
        axis.fill(*_outline(place - along, place + along, radius).T, color=str(shade), linewidth=0)
    axis.set(xlim=(-REACH, REACH), ylim=(-0.1, 1.7), aspect="equal")


def _outline(start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """Outline (P, 2) of all points within ``radius`` of the segment from ``start`` (2,) to ``end`` (2,)."""
    direction = np.arctan2(*(end - start)[::-1])
    half_turn = np.linspace(-np.pi / 2, np.pi / 2, 12)
    angles = direction + half_turn, direction + np.pi + half_turn
    arcs = [radius * np.column_stack([np.cos(angle), np.sin(angle)]) for angle in angles]
    return np.concatenate([end + arcs[0], start + arcs[1]])
