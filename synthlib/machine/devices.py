"""Where the networks live: the processor, or a GPU (``DEVICE=cuda`` of the Makefile, ``SYNTHLIB_DEVICE`` here).

The data, the physics and everything that decides what is drawn stay on the processor. Dropout masks alone are drawn
where they are used: they are millions of numbers per update. So a run on a GPU is a run of the same configuration with
other roundings and, for Transformers, other masks; its record names the device.
"""

import os

import numpy as np
import torch

CPU = torch.device("cpu")


def chosen():
    """The device that ``SYNTHLIB_DEVICE`` names, the processor when it names none.

    Raises ValueError for a name that is unknown, or a GPU that torch does not see.
    """
    name = os.environ.get("SYNTHLIB_DEVICE") or "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdigit():
        raise ValueError(f"device {name!r} is unknown; say cpu, cuda, or cuda:1 for the second GPU")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {name!r} was asked for, but torch {torch.__version__} sees {torch.cuda.device_count()} GPUs; "
            "`nvidia-smi` says what the driver sees. Without DEVICE= everything runs on the processor"
        )
    return torch.device(name)


def describe(device):
    """ "cpu", or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def put(device, *arrays):
    """NumPy arrays or tensors as a list of tensors on ``device``, float64 as float32; a GPU is not waited for."""
    return [_put(device, torch.as_tensor(array)) for array in arrays]


def _put(device, tensor):
    if tensor.dtype == torch.float64:
        tensor = tensor.float()
    if device.type == "cuda":  # from memory of any other kind the copy is waited for
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def generator(device, *key):
    """A generator on ``device`` for the integers ``key``: the same masks whenever they are asked for again."""
    state = np.random.SeedSequence(key).generate_state(1, dtype=np.uint64)[0]
    kind = device if device.type == "cuda" else CPU  # torch has no generator for tensors without data
    return torch.Generator(kind).manual_seed(int(state >> np.uint64(1)))


def wait(device):
    """Until all that was asked of ``device`` is done: before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
