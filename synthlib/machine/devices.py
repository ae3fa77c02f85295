"""The device of the networks: the processor, or a GPU (``DEVICE=cuda`` of the Makefile sets ``SYNTHLIB_DEVICE``).

Data, physics and random draws stay on the processor. Only dropout masks, millions of numbers per update, are drawn on
the device itself; in a column (:mod:`synthlib.kernels.column`) data and noise are there too. So a run on a GPU has the
same configuration as a run on the processor, but other rounding errors and, for Transformers and in columns, other
random numbers. Its record names the device.
"""

import os
from typing import Any

import numpy as np
import torch

from synthlib.machine.gpu import Driver, advice, find_driver, suited_build

CPU = torch.device("cpu")


def chosen() -> torch.device:
    """The device that the environment variable ``SYNTHLIB_DEVICE`` names; the processor when it is unset or empty.

    Raises ValueError for an unknown name, and for a GPU that torch does not see.
    """
    name = os.environ.get("SYNTHLIB_DEVICE") or "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdigit():
        raise ValueError(f"device {name!r} is unknown; say cpu, cuda, or cuda:1 for the second GPU")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {name!r} was asked for, but torch sees {torch.cuda.device_count()} GPUs: {describe_build()}. "
            "Without DEVICE= everything runs on the processor"
        )
    return torch.device(name)


def describe(device: torch.device) -> str:
    """The name of the GPU, with its precision where that is reduced, or "cpu"."""
    if device.type != "cuda":
        return device.type
    return torch.cuda.get_device_name(device) + (", TF32" if reduced_precision() else "")


def memory(device: torch.device) -> int:
    """The bytes of memory that a GPU has."""
    return torch.cuda.get_device_properties(device).total_memory


def reduced_precision() -> bool:
    """Whether matrix products on a GPU may round to TF32, 10 bits of mantissa (``TF32=1`` of the Makefile).

    Float32 is the default. A record whose device says TF32 was made with it.
    """
    return os.environ.get("SYNTHLIB_TF32") == "1"


def describe_build() -> str:
    """The installed build of PyTorch, and what to type where it cannot drive the GPU that is here."""
    build = f"torch {torch.__version__} {f'with CUDA {torch.version.cuda}' if torch.version.cuda else 'without CUDA'}"
    driver = find_driver()
    if driver is None:
        return f"{build}, and no GPU driver answers (nvidia-smi)"
    gpu = f"{driver.gpu} (driver {driver.version})"
    return f"{build} drives {gpu}" if _drives(driver) else f"{build} cannot drive {gpu}; {advice(driver)}"


def _drives(driver: Driver) -> bool:
    # With CUDA 13, torch sees a GPU that is too old for its kernels.
    too_new = (torch.version.cuda or "").startswith("13.") and suited_build(driver) != "cu130"
    return torch.cuda.is_available() and not too_new


def put(device: torch.device, *arrays: Any) -> list[torch.Tensor]:
    """NumPy arrays or tensors as a list of tensors on ``device``, float64 as float32. Does not wait for a GPU."""
    return [_put(device, torch.as_tensor(array)) for array in arrays]


def _put(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    return sent(device, tensor.float() if tensor.dtype == torch.float64 else tensor)


def sent(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` of the processor on ``device``, in its own dtype. Does not wait for a GPU."""
    if device.type == "cuda":  # from other memory, the copy would block until it is done
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def generator(device: torch.device, *key: int) -> torch.Generator:
    """A random generator on ``device``, seeded by the integers ``key``: the same key draws the same masks."""
    state = np.random.SeedSequence(key).generate_state(1, dtype=np.uint64)[0]
    kind = device if device.type == "cuda" else CPU  # torch has no generator on its device "meta"
    return torch.Generator(kind).manual_seed(int(state >> np.uint64(1)))


def wait(device: torch.device) -> None:
    """Return when ``device`` has finished its work. Call this before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
