"""Settings of a process that trains."""

import ctypes
import sys

import torch

from synthlib.machine.devices import reduced_precision

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_KEPT = 2**30  # bytes


def prepare_process() -> None:
    """Set this process to one torch thread, no denormal numbers, and keeping freed memory for reuse."""
    torch.set_num_threads(1)  # beside any other busy process, two threads are many times slower
    torch.backends.cuda.matmul.allow_tf32 = reduced_precision()
    torch.set_flush_denormal(True)  # Adam's moments of dead units become denormal numbers, which are slow on Intel
    if sys.platform == "linux":
        # By default glibc returns the memory of each large tensor to the operating system, and gets it again page by
        # page: 3 to 10 % of an update's time.
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
                mallopt(option, _KEPT)
