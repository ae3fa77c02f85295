"""How a process that trains is set up."""

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_KEPT = 2**30


def prepare_process() -> None:
    """Set this process, from now on, to one torch thread, no denormal numbers, and freed memory kept for reuse."""
    torch.set_num_threads(1)  # on a machine with any neighbour, two threads are many times slower
    torch.set_flush_denormal(True)  # Adam's moments of dead units become denormal numbers, which are slow on Intel
    if sys.platform == "linux":
        # Else each large tensor goes back to the kernel and comes again page by page: 3 to 10 % of an update.
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD) if mallopt else ():
            mallopt(option, _KEPT)
