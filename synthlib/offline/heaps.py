"""Damaged global heaps of an HDF5 file, where its texts of variable length lie, are found before HDF5 reads them.

A heap is a block of objects, one after the other, each with its length. HDF5 2.0 never comes back from a heap in which
the free space has length 0, as after a disk has lost a block and gives zeros in its place. Source of the layout: HDF5
File Format Specification, III.E.
"""

import functools
import mmap
import os
from pathlib import Path

from synthlib.offline.arrays import DataFileError

_SIGNATURE = b"GCOL\x01\0\0\0"
_HEAD = 16  # bytes before the first object, and before the content of each object


def check_heaps(path: str | Path) -> None:
    """Raise :class:`DataFileError` when HDF5 would never come to the end of a heap. Reads the whole file once."""
    stat = os.stat(path)
    if (place := _endless_heap(str(path), stat.st_size, stat.st_mtime_ns)) is not None:
        raise DataFileError(f"{path} is damaged: it holds an impossible heap at byte {place:,}; fetch or make it again")


@functools.lru_cache(maxsize=100)
def _endless_heap(path: str, size: int, modified_ns: int) -> int | None:
    """Where the first such heap begins; ``size`` and ``modified_ns`` tell one state of the file from another."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.find(_SIGNATURE)
        while place >= 0:
            if not _ends(content, place):
                return place
            place = content.find(_SIGNATURE, place + len(_SIGNATURE))
    return None


def _ends(content: mmap.mmap, start: int) -> bool:
    """Whether the walk from object to object ends. What else may be wrong in a heap, HDF5 notices."""
    number = lambda at, count: int.from_bytes(content[at : at + count], "little")  # noqa: E731
    end, place = min(start + number(start + 8, 8), len(content)), start + _HEAD
    while place + _HEAD <= end:
        index, length = number(place, 2), number(place + 8, 8)
        # Object 0 is the free space, and its length includes its head.
        step = _HEAD + -(-length // 8) * 8 if index else length
        if step == 0 or step >= 1 << 63:  # so large a number is added as a negative one
            return False
        place += step
    return True
