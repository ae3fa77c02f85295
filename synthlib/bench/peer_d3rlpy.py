"""d3rlpy's own CQL and Decision Transformer as peers of ``make bench``.

d3rlpy 2.8.1 asks for gymnasium 1.0.0 and gym, so it is no dependency. ``make bench-peers`` puts it, without its
requirements' versions of what is here already, into a folder of its own; the little of gymnasium that its updates
use (spaces) is the same in 1.4.0. Its CQL is not quite the paper's: no cap on Q, a policy with other bounds.
"""

import contextlib
import io
import sys

import numpy as np

from synthlib.paths import ROOT

FOLDER = ROOT / "build" / "bench-peers"


def is_there():
    """Whether ``make bench-peers`` has been run."""
    return (FOLDER / "d3rlpy").is_dir()


def cql_updates(batch, sampled_actions, device):
    """A function that makes one update of d3rlpy's CQL on 256 of ``batch``'s transitions, drawn from 256."""
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


def dt_updates(trajectories, batch_size, device):
    """A function that draws windows of 20 steps from ``trajectories`` and makes one update of d3rlpy's DT."""
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


def _name(device):
    return f"cuda:{device.index or 0}" if device.type == "cuda" else "cpu"


def _d3rlpy():
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))  # last: whatever is installed here already comes first
    with _silence():  # gym says at import that it is no longer maintained
        import d3rlpy

    return d3rlpy


def _replay(d3rlpy, columns, ends):
    with _silence():
        return d3rlpy.dataset.MDPDataset(*columns, ends.astype(np.float32))


@contextlib.contextmanager
def _silence():
    """d3rlpy tells in colour what it found out about the data."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
