"""Episodes as moving pictures: MuJoCo draws off the screen, and Pillow writes an animated GIF.

MuJoCo draws with OpenGL, which may come from a GPU's driver or from Mesa (EGL), or from OSMesa, which needs no device
at all. Which of them works is found out in a process of its own, since a failed start of one spoils the others.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from synthlib.errors import Failed
from synthlib.machine.files import make_parents, write_atomically

VARIABLE = "MUJOCO_GL"
LIBRARIES = ("egl", "osmesa", "glfw")  # in the order in which they are tried; glfw needs a screen
SIZE = 240  # pixels of each side of a picture
_PICTURES_A_SECOND = 20  # at most; browsers slow a GIF down above 50
_TRIAL = (
    "import mujoco as m, sys; "
    "model = m.MjModel.from_xml_string('<mujoco><worldbody><geom size=\"1\"/></worldbody></mujoco>'); "
    "r = m.Renderer(model, 8, 8); data = m.MjData(model); m.mj_forward(model, data); r.update_scene(data); r.render(); "
    "r.close()"
)


def choose_library() -> str:
    """The OpenGL with which MuJoCo draws here, set for this process: the one in ``MUJOCO_GL``, or the first that works.

    Raises Failed when there is none, with what each of them says.
    """
    named = os.environ.get(VARIABLE)
    said = []
    for library in [named] if named else LIBRARIES:
        trial = subprocess.run(
            [sys.executable, "-c", _TRIAL], env=os.environ | {VARIABLE: library}, capture_output=True, text=True
        )
        if trial.returncode == 0:
            os.environ[VARIABLE] = library
            return library
        said.append(f"{library}: {(trial.stderr.strip().splitlines() or [f'ended with {trial.returncode}'])[-1][:120]}")
    os.environ[VARIABLE] = "disabled"  # else the import of MuJoCo itself would fail
    raise Failed(
        f"no OpenGL works here, so no picture can be drawn ({'; '.join(said)}). Install Mesa's, for example "
        f"`apt-get install libegl1 libgl1-mesa-dri` or `libosmesa6`, or name yours with {VARIABLE}="
    )


class Filmed:
    """An environment made with ``render_mode="rgb_array"`` that keeps pictures of what happens, for one episode."""

    def __init__(self, env: Any) -> None:
        self.env = env
        rate = env.metadata["render_fps"]
        self._every = max(1, round(rate / _PICTURES_A_SECOND))
        self.seconds = self._every / rate
        """Time from one picture to the next."""
        self.pictures: list[np.ndarray] = []
        """uint8 (height, width, 3) each."""
        self._steps = 0

    def reset(self, seed: int) -> Any:
        """Start the episode."""
        found = self.env.reset(seed=seed)
        self._steps, self.pictures = 0, [self.env.render()]
        return found

    def step(self, action: np.ndarray) -> Any:
        """One step, and perhaps a picture."""
        found = self.env.step(action)
        self._steps += 1
        if self._steps % self._every == 0:
            self.pictures.append(self.env.render())
        return found


def write_gif(pictures: list[np.ndarray], seconds: float, path: Path) -> None:
    """Write the pictures as one animated GIF, each shown for so many ``seconds``."""
    from PIL import Image

    first, *others = (Image.fromarray(picture).quantize(64) for picture in pictures)
    make_parents(path)
    write_atomically(
        path,
        lambda temporary: first.save(
            temporary, format="GIF", save_all=True, append_images=others, duration=round(1000 * seconds), loop=0
        ),
    )
