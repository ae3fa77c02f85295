"""d3rlpy's own CQL and Decision Transformer as peers of ``make bench``.

d3rlpy 2.8.1 requires gymnasium 1.0.0 and gym, so it cannot be a dependency. ``make bench-peers`` installs it into a
folder of its own, without the packages that are installed here in other versions. Its updates use only the spaces of
gymnasium, which are the same in 1.4.0. Its CQL differs from the paper's: Q has no cap, and the policy has other bounds.
"""

import contextlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch

from synthlib.offline.datasets import Trajectory, Transitions
from synthlib.paths import ROOT

FOLDER = ROOT / "build" / "bench-peers"


def is_there() -> bool:
    """Whether ``make bench-peers`` has been run."""
    return (FOLDER / "d3rlpy").is_dir()


def cql_updates(batch: Transitions, sampled_actions: int, device: torch.device) -> Callable[[], object]:
    """A function that makes one update of d3rlpy's CQL, on B transitions drawn from the B transitions of ``batch``."""
    d3rlpy = _d3rlpy()
    algorithm = d3rlpy.algos.CQLConfig(
        batch_size=len(batch.rewards),
        n_action_samples=sampled_actions,
        actor_learning_rate=3e-4,
        critic_learning_rate=3e-4,
        temp_learning_rate=3e-4,
        alpha_learning_rate=0.0,  # no Lagrange multiplier
    ).create(device=_name(device))
    ends = np.arange(len(batch.rewards)) == len(batch.rewards) - 1
    columns = [part.numpy() for part in (batch.observations, batch.actions, batch.rewards)]
    replay = _replay(d3rlpy, columns, ends)
    with _silence():
        algorithm.build_with_dataset(replay)
    drawn = replay.sample_transition_batch(len(batch.rewards))
    return lambda: algorithm.update(drawn)


def dt_updates(trajectories: Sequence[Trajectory], batch_size: int, device: torch.device) -> Callable[[], object]:
    """A function that draws ``batch_size`` windows of 20 steps and makes one update of d3rlpy's DT."""
    d3rlpy = _d3rlpy()
    algorithm = d3rlpy.algos.DecisionTransformerConfig(batch_size=batch_size).create(device=_name(device))
    columns = [
        np.concatenate([getattr(t, name) for t in trajectories]) for name in ("observations", "actions", "rewards")
    ]
    ends = np.concatenate([np.arange(len(t.rewards)) == len(t.rewards) - 1 for t in trajectories])
    replay = _replay(d3rlpy, columns, ends)
    with _silence():
        algorithm.build_with_dataset(replay)
    return lambda: algorithm.update(replay.sample_trajectory_batch(batch_size, 20))


def _name(device: torch.device) -> str:
    return f"cuda:{device.index or 0}" if device.type == "cuda" else "cpu"


def _d3rlpy() -> ModuleType:
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))  # at the end: packages that are installed here come first
    with _silence():  # when it is imported, gym prints that it is no longer maintained
        import d3rlpy

    return d3rlpy


def _replay(d3rlpy: ModuleType, columns: Sequence[np.ndarray], ends: np.ndarray) -> Any:
    with _silence():
        return d3rlpy.dataset.MDPDataset(*columns, ends.astype(np.float32))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Drop all printed output: d3rlpy prints a coloured description of the data."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
