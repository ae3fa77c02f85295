"""How a process that trains is set up."""

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_KEPT = 2**30


def prepare_process():
    """One torch thread, no denormal numbers, and freed memory kept; for this process and from now on."""
    torch.set_num_threads(1)  # on a machine with any neighbour, two are many times slower
    torch.set_flush_denormal(True)  # Adam's moments of units that never fire end there; on Intel they are slow
    if sys.platform == "linux":
        # Else each large tensor goes back to the kernel and comes again page by page: 3 to 10 % of an update.
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD) if mallopt else ():
            mallopt(option, _KEPT)
