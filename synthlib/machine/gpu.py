"""The driver of an NVIDIA GPU, and the build of PyTorch that it can run. Works before anything is installed."""

import subprocess
from dataclasses import dataclass

# CUDA 13 needs driver 580 and a GPU of compute capability 7.5 (Turing) or higher. CUDA 12.6 needs driver 525.
_CUDA_13_DRIVER, _CUDA_13_CAPABILITY = 580, (7, 5)
_CUDA_12_DRIVER = 525


@dataclass(frozen=True)
class Driver:
    """What ``nvidia-smi`` says: version of the driver, name and compute capability of the least capable GPU."""

    version: str
    gpu: str
    capability: tuple[int, int] | None = None  # drivers before 2022 do not tell

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find_driver() -> Driver | None:
    """The driver that answers here, or None when no NVIDIA GPU can be used."""
    for fields in ("driver_version,name,compute_cap", "driver_version,name"):
        command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode == 0 and done.stdout.strip():
            return min(map(_driver, done.stdout.strip().splitlines()), key=lambda one: one.capability or (0, 0))
    return None


def _driver(line: str) -> Driver:
    version, gpu, *capability = (part.strip() for part in line.split(","))
    major, _, minor = (capability or [""])[0].partition(".")
    return Driver(version, gpu, (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None)


def suited_build(driver: Driver | None) -> str:
    """The build of PyTorch for this driver, as ``make install TORCH=...`` names it: cpu, cu126 or cu130."""
    if driver is None or driver.major < _CUDA_12_DRIVER:
        return "cpu"
    capable = driver.capability is None or driver.capability >= _CUDA_13_CAPABILITY
    return "cu130" if capable and driver.major >= _CUDA_13_DRIVER else "cu126"


def advice(driver: Driver) -> str:
    """What to type where a GPU is there that the installed build of PyTorch cannot drive."""
    build = suited_build(driver)
    if build == "cpu":
        return f"update the GPU's driver to {_CUDA_13_DRIVER} or newer, then run: make install TORCH=cu130"
    return f"run: make install TORCH={build}"
