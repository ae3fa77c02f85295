"""Measure one line of ``make bench``: our fast version against its peers on this machine, as ratios of times.

All contestants of a line take turns in one process with one torch thread, so a drift of the machine's speed affects all
of them. Each turn gives a ratio of times; the result is the median over turns. A contestant's turn lasts at least a
quarter of a second: as in a training, an update follows an update of the same kind and finds its data in the cache.

On a processor, processor time is measured, because other processes lengthen it less than wall time. On a GPU, wall time
is measured until the GPU has finished. A matrix product of a shape that is typical of the work takes turns too. Its
rate and the least number of operations of the work give the least possible time.
"""

import math
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from synthlib.bench.choice import lines
from synthlib.bench.lines import AVX2, OURS, Contestant, Line
from synthlib.kernels.products import ONEDNN, product
from synthlib.machine.devices import CPU, chosen, describe, wait

SECONDS = 20  # seconds of processor time for a line
MOST_TURNS, LEAST_TURNS = 40, 4
TURN = 0.25  # seconds: the shortest turn of a contestant


def measure(line: Line, seconds: float = SECONDS, least_turns: int = LEAST_TURNS) -> pd.DataFrame:
    """Measure one line for about ``seconds``; returns a table with one row per contestant, ours first.

    Columns:
    ``line``, ``title``, ``contestant``, ``unit``, ``turns``;
    ``seconds`` per unit, the median;
    ``ratio`` of the contestant's time to ours, the median over turns, with its quartiles ``ratio_low``, ``ratio_high``;
    ``gflops_mkl`` and ``gflops_best``, the rates of torch's own matrix product and of our fast version's product;
    ``of_floor``, for ours only: the least possible time at the rate of torch's product, over the time taken;
    ``is_reference``, the goals ``must``, ``aim`` (as ratios), ``must_of_floor``, ``aim_of_floor``, and the ``verdict``.
    A missing goal is NaN. On a GPU there are no goals, and the verdict is "".
    """
    work = line.build()
    repeats = {name: _repeats(contestant) for name, contestant in work.contestants.items()}
    durations: dict[str, list[float]] = {name: [] for name in work.contestants}
    rates: list[tuple[float, float]] = []
    spent = 0.0
    while len(rates) < least_turns or (spent < seconds and len(rates) < MOST_TURNS):
        for name, contestant in work.contestants.items():
            duration = _seconds(contestant.run, repeats[name], contestant.finish)
            durations[name].append(duration / (contestant.units * repeats[name]))
            spent += duration
        rates.append(_rates(work.product))
    taken = pd.DataFrame(durations)
    ratios = taken.div(taken[OURS], axis=0)
    mkl, best = np.median(rates, axis=0)
    rows = pd.DataFrame(
        {
            "line": line.name,
            "title": line.title,
            "unit": line.unit,
            "seconds": taken.median(),
            "ratio": ratios.median(),
            "ratio_low": ratios.quantile(0.25),
            "ratio_high": ratios.quantile(0.75),
            "is_reference": taken.columns == line.reference,
            "gflops_mkl": mkl / 1e9,
            "gflops_best": best / 1e9,
            "of_floor": np.nan,
            "turns": len(taken),
        }
    ).rename_axis("contestant")
    if work.operations:
        rows.loc[OURS, "of_floor"] = work.operations / mkl / rows.loc[OURS, "seconds"]
    return _judged(rows.reset_index(), line)


def compare(name: str, seconds: float = 2) -> pd.DataFrame:
    """Measure the line called ``name`` in a few seconds, for a notebook: one row per contestant, ratios of times."""
    (line,) = (line for line in lines() if line.name == name)
    rows = measure(line, seconds, least_turns=2)
    table = rows.set_index("contestant")[["ratio", "ratio_low", "ratio_high"]].round(2)
    table.columns = ["times as long as ours", "lower quartile", "upper quartile"]
    return table.rename_axis(line.title)


def _judged(rows: pd.DataFrame, line: Line) -> pd.DataFrame:
    """The rows with goals and ``verdict``. A goal in units per second becomes a ratio to the reference's rate."""
    if chosen() != CPU or (line.must is None and line.must_rate is None):
        return rows.assign(must=np.nan, aim=np.nan, must_of_floor=np.nan, aim_of_floor=np.nan, verdict="")
    reference = rows[rows["is_reference"]].iloc[0]
    ours = rows[rows["contestant"] == OURS].iloc[0]
    must, aim = (
        ratio if rate is None else rate * reference["seconds"]
        for ratio, rate in ((line.must, line.must_rate), (line.aim, line.aim_rate))
    )
    must_share, aim_share = (np.nan if share is None else share for share in (line.must_of_floor, line.aim_of_floor))
    reached = (
        "aim"
        if reference["ratio"] >= aim and not ours["of_floor"] < aim_share
        else "must"
        if reference["ratio"] >= must and not ours["of_floor"] < must_share
        else "missed"
    )
    return rows.assign(must=must, aim=aim, must_of_floor=must_share, aim_of_floor=aim_share, verdict=reached)


def _repeats(contestant: Contestant) -> int:
    """The number of calls in a turn. The first call is not timed: it compiles kernels and fills caches."""
    contestant.run()
    contestant.finish()
    return max(1, math.ceil(TURN / max(_seconds(contestant.run, 1, contestant.finish), 1e-6)))


def _seconds(run: Callable[[], object], repeats: int, finish: Callable[[], object] = lambda: None) -> float:
    """Seconds of ``repeats`` calls and of ``finish()``: processor time, or wall time on a GPU."""
    clock = time.process_time if chosen() == CPU else time.perf_counter
    wait(chosen())
    began = clock()
    for _ in range(repeats):
        run()
    finish()
    wait(chosen())
    return clock() - began


def _rates(shape: tuple[int, int, int]) -> tuple[float, float]:
    """Operations per second of products (m, k) (k, n): torch's own product, and the product of the fast versions."""
    rows, inner, columns = shape
    a, b = torch.randn(rows, inner, device=chosen()), torch.randn(inner, columns, device=chosen())
    result = a.new_empty(rows, columns)
    repeats = max(1, int(1e9 / (rows * inner * columns)))

    def rate(multiply: Callable[[], object]) -> float:
        return 2 * rows * inner * columns * repeats / _seconds(multiply, repeats)

    return rate(lambda: torch.mm(a, b, out=result)), rate(lambda: product(a, b))


def machine() -> dict[str, Any]:
    """Facts about the machine: processor, device, versions and load."""
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "device": describe(chosen()),
        "cores": os.cpu_count(),
        "command": "make bench-avx2" if AVX2 else "make bench" if chosen() == CPU else "make bench DEVICE=cuda",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "products": "oneDNN" if ONEDNN else "MKL" if chosen() == CPU else "the GPU's library",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The processor's name with family and model, because generations of processors may share a name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "model name" not in facts:
        return platform.processor()
    return "{model name}, family {cpu family}, model {model}".format_map({"cpu family": "?", "model": "?"} | facts)
