"""The replay buffer of a behaviour policy's training, on disk: it keeps every transition."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthlib.machine.files import write_atomically

ENDED_BY_ITSELF, ENDED_BY_TIME = 1, 2  # values in ``ends``; 0 when the step is not the last of its episode


class ReplayBuffer:
    """Every transition of a training, in order, as memory-mapped arrays in ``folder``.

    ``observations`` (N, O), ``actions`` (N, A), ``rewards`` (N,), ``next_observations`` (N, O) and ``ends`` (N,) are
    float32. ``physics`` (N, S), the positions and velocities before each step, is float64. N is the ``capacity``. The
    rows of an earlier training in ``folder`` are kept.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    ends: np.ndarray
    physics: np.ndarray

    def __init__(
        self, folder: Path, capacity: int, observation_width: int, action_width: int, state_width: int
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shapes = {
            "observations": (capacity, observation_width),
            "actions": (capacity, action_width),
            "rewards": (capacity,),
            "next_observations": (capacity, observation_width),
            "ends": (capacity,),
            "physics": (capacity, state_width),
        }
        for name, shape in shapes.items():
            dtype = np.float64 if name == "physics" else np.float32
            setattr(self, name, _array_on_disk(folder / f"{name}.npy", shape, dtype))
        self.names = tuple(shapes)

    def write(self, index: int, **transition: Any) -> None:
        """Write row ``index``: one value for each of ``names``."""
        for name in self.names:
            getattr(self, name)[index] = transition[name]

    def batch(
        self, rows: np.ndarray, discount: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The first five arguments of :meth:`synthlib.replica.td3.TD3.update`, for the given rows (B,).

        The discount (B,) is 0 at a terminal step, because the value of the next observation does not count there.
        """

        def take(name: str) -> torch.Tensor:
            return torch.from_numpy(getattr(self, name)[rows])

        return (
            take("observations"),
            take("actions"),
            take("rewards"),
            take("next_observations"),
            discount * (take("ends") != ENDED_BY_ITSELF).float(),
        )

    def flush(self) -> None:
        """Write changes that are still in memory to the disk."""
        for name in self.names:
            getattr(self, name).flush()


def _array_on_disk(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A writable memory-mapped array; an existing array keeps its rows and grows to ``shape`` when it has fewer."""
    old = np.lib.format.open_memmap(path, mode="r+") if path.exists() else None
    if old is not None and len(old) >= shape[0]:
        return old

    def write(temporary: Path) -> None:
        new = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        if old is not None:
            new[: len(old)] = old
        new.flush()

    write_atomically(path, write)
    return np.lib.format.open_memmap(path, mode="r+")
