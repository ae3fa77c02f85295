"""How fast this machine is: short measurements of one update or one step, each made once and kept.

Processor time is measured, so that a neighbour at that moment does not stay in the estimates for good.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from synthlib.machine.devices import CPU, chosen, describe, wait
from synthlib.machine.files import read_json, write_json
from synthlib.paths import outputs

_CALLS = 15


def measured(name: str, measure: Callable[[], float]) -> float:
    """Seconds from ``measure()``, called once per machine and device and kept as ``name`` in ``outputs/speed.json``."""
    name = name if chosen() == CPU else f"{name} on {describe(chosen())}"
    path = outputs() / "speed.json"
    known = read_json(path) if path.exists() else {}
    if name not in known:
        torch.set_num_threads(1)
        known[name] = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, known)
    return known[name]


def median_seconds(call: Callable[[], Any]) -> float:
    """Median seconds of one ``call()`` on the chosen device."""
    clock = time.process_time if chosen() == CPU else time.perf_counter  # a GPU works while the process waits
    seconds = []
    for _ in range(_CALLS):
        began = clock()
        call()
        wait(chosen())
        seconds.append(clock() - began)
    return float(np.median(seconds))


def seconds_per_step(steps_of_episode: Callable[[int], int], steps: int) -> float:
    """Processor seconds of one environment step, over at least ``steps`` steps.

    ``steps_of_episode(seed)`` runs an episode and returns how many steps it had.
    """
    done, began = 0, time.process_time()
    while done < steps:
        done += steps_of_episode(done)
    return (time.process_time() - began) / done
