import os
import subprocess
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from synthlib.offline.environments import make_environment
from synthlib.replica.collection import collect
from tests.common import random_policy, write_episodes

# As in every worker: on a busy machine two threads are many times slower than one.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def random_hopper_data(tmp_path_factory):
    """A folder with real hopper episodes of a random policy in D4RL's layout, as ``path:<folder>``."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    env = make_environment("hopper")
    rows = {name: [] for name in ("observations", "actions", "rewards", "terminals", "timeouts")}
    for episode in range(30):
        observation, ended = env.reset(seed=episode)[0], False
        while not ended:
            action = rng.uniform(-1, 1, 3)
            following, reward, terminal, timeout, _ = env.step(action)
            for name, value in zip(rows, (observation, action, reward, terminal, timeout), strict=True):
                rows[name].append(value)
            observation, ended = following, terminal or timeout
    for tier in ("medium_expert", "medium"):
        with h5py.File(folder / f"hopper_{tier}-v2.hdf5", "w") as file:
            for name, values in rows.items():
                file[name] = np.array(values, dtype=bool if name in ("terminals", "timeouts") else np.float32)
    return f"path:{folder}"


@pytest.fixture(scope="session")
def two_tiers(tmp_path_factory):
    """hopper-medium and hopper-medium-expert of a random policy, as a replica in a folder of its own."""
    folder = tmp_path_factory.mktemp("data")
    episodes = collect(random_policy(), size=600, seed=0, processes=1)
    write_episodes(folder, episodes, whole=True)
    write_episodes(folder, episodes[:3], whole=True, tier="expert")
    return f"path:{folder}"


@pytest.fixture
def public_folder():
    """A folder that everybody may read; those of ``tmp_path`` are this user's alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """An empty outputs folder, for this process and for those it starts."""
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "outputs"


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own: 2 MB, of which 100 kB are free."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk, and not in every container")
    (folder / "ballast").write_bytes(bytes((2 << 20) - 100_000))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
