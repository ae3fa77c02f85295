"""The speed of this machine: short measurements of one update or one step, each made once and stored.

They measure processor time, so that another process at that moment does not distort all later estimates.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from synthlib.machine.devices import CPU, chosen, describe, wait
from synthlib.machine.files import make_parents, read_json, write_json
from synthlib.paths import outputs

CALLS = 15


def measured(name: str, measure: Callable[[], float]) -> float:
    """The seconds that ``measure()`` returns.

    It is called once per machine and device; the result is stored as ``name`` in ``outputs/speed.json``.
    """
    name = name if chosen() == CPU else f"{name} on {describe(chosen())}"
    path = outputs() / "speed.json"
    known = {}
    with contextlib.suppress(FileNotFoundError, ValueError):  # a damaged file costs the time to measure again
        known = read_json(path)
    known = known if isinstance(known, dict) else {}
    if name not in known:
        torch.set_num_threads(1)
        known[name] = measure()
        with contextlib.suppress(OSError):  # somebody else's folder: only the time to measure again is lost
            make_parents(path)
            write_json(path, known)
    return known[name]


def median_seconds(call: Callable[[], Any], calls: int = CALLS) -> float:
    """Median seconds of one ``call()`` on the chosen device: processor time, or wall time for a GPU."""
    clock = time.process_time if chosen() == CPU else time.perf_counter  # a GPU works while the process waits
    seconds = []
    for _ in range(calls):
        began = clock()
        call()
        wait(chosen())
        seconds.append(clock() - began)
    return float(np.median(seconds))


def seconds_per_step(steps_of_episode: Callable[[int], int], steps: int) -> float:
    """Processor seconds of one environment step, over at least ``steps`` steps.

    ``steps_of_episode(seed)`` runs an episode and returns its number of steps.
    """
    done, began = 0, time.process_time()
    while done < steps:
        done += steps_of_episode(done)
    return (time.process_time() - began) / done
