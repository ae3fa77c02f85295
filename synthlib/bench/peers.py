"""``make bench-peers``: fetch d3rlpy and JAX, and with ``DEVICE=cuda`` JAX's plugin for the CUDA that PyTorch has.

They live in a folder of their own: d3rlpy pins another gymnasium, and JAX is only compared with. The plugin takes
cuBLAS, cuDNN and the like from PyTorch's own packages.
"""

import subprocess
import sys
from pathlib import Path

import torch

from synthlib.bench import peer_d3rlpy, peer_jax
from synthlib.machine.devices import CPU, chosen
from synthlib.paths import ROOT


def left_out(device: torch.device) -> list[str]:
    """Which peers do not run on ``device``, a sentence each that says why."""
    d3rlpy = [] if peer_d3rlpy.is_there() else ["d3rlpy is left out: `make bench-peers` fetches it."]
    return [*d3rlpy, *filter(None, [peer_jax.missing(device)])]


def locks(device: torch.device, cuda: str | None = torch.version.cuda) -> list[Path]:
    """The files that name the packages for ``device``, where PyTorch was built with the version ``cuda``."""
    names = ["bench_peers", *([f"bench_peers_cuda{cuda.partition('.')[0]}"] if cuda and device != CPU else [])]
    return [ROOT / "tests" / "crosscheck" / f"{name}.lock" for name in names]


def main() -> int:
    """Install them with pip; returns the exit status."""
    try:
        device = chosen()
    except ValueError as no_gpu:
        print(f"error: {no_gpu}", file=sys.stderr)
        return 1
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(peer_d3rlpy.FOLDER)]
    wanted = [option for lock in locks(device) for option in ("--requirement", str(lock))]
    return subprocess.run([*pip, "--upgrade", *wanted], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
