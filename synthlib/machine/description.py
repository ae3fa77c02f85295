"""The machine and the package versions of a training: part of its record, not of its identity."""

import platform
import socket
import time
from importlib.metadata import version
from pathlib import Path

from synthlib.machine import devices

# The packages whose version may change a number.
_PACKAGES = ("synthlib", "torch", "numpy", "gymnasium", "mujoco", "transformers")


def describe_environment() -> dict[str, str]:
    """The machine, the device and the package versions of this process, for the record of a training.

    Keys: ``host``, ``platform``, ``processor``, ``python``, ``device`` ("cpu" or the GPU's name), ``started`` (now, in
    UTC), and the version of each package that may change a number. Raises the ValueError of
    :func:`synthlib.machine.devices.chosen`.
    """
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "processor": _processor(),
        "python": platform.python_version(),
        "device": devices.describe(devices.chosen()),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **{package: version(package) for package in _PACKAGES},
    }


def _processor() -> str:
    """Name of the processor. On Linux ``platform`` knows only the architecture; /proc/cpuinfo knows the model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())
