"""``make bench``: our fast versions against their peers on this machine, as ratios.

All contestants of a line take turns in one process with one torch thread, so a drift of the machine meets all of them;
the ratio of each turn is taken, then the median. A turn lasts a quarter of a second at least: as in a run, an update
follows one of its own and finds in the cache what that left there. Processor time is measured, which a busy neighbour
lengthens less than the clock's; on a GPU (``make bench DEVICE=cuda``) it is the clock's, until the GPU has finished. In
the same turns runs a matrix product like the work's: its rate, and the operations that the work cannot do without, give
the least time that is possible.

The results go to ``outputs/bench``, of a GPU to ``outputs/bench-cuda``, of ``make bench-avx2`` to
``outputs/bench-avx2``: ``bench.csv``, ``bench.md``, ``bench.png`` and ``machine.json``.
"""

import argparse
import math
import os
import platform
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from synthlib.bench import cores as bench_cores
from synthlib.bench import page as bench_page
from synthlib.bench import peer_d3rlpy as bench_d3rlpy
from synthlib.bench import peer_jax as bench_jax
from synthlib.bench.lines import AVX2, OURS, lines
from synthlib.kernels.products import ONEDNN, product
from synthlib.machine.devices import CPU, chosen, describe, wait
from synthlib.machine.files import write_json
from synthlib.machine.processes import prepare_process
from synthlib.paths import outputs

SECONDS = 20  # of processor time for a line
MOST_TURNS, LEAST_TURNS = 40, 4
TURN = 0.25  # seconds that a contestant's turn lasts at least


def measure(line, seconds=SECONDS, least_turns=LEAST_TURNS):
    """A line's contestants as rows of a DataFrame; ratios are times the others take for ours to take one.

    Columns: ``line``, ``title``, ``contestant``, ``unit``, ``seconds`` per unit (median), ``ratio`` (median of the
    turns') with its quartiles ``ratio_low`` and ``ratio_high``, ``is_reference``, ``gflops_mkl`` and ``gflops_best``
    (the rate of a product as torch makes it, and as ours does), ``of_floor`` (ours only: the least time at MKL's rate
    over the time taken), ``must`` and ``aim`` as ratios, ``must_of_floor`` and ``aim_of_floor`` (NaN: none),
    ``verdict``. On a GPU there are no goals: NaN and "".
    """
    work = line.build()
    repeats = {name: _repeats(contestant.run) for name, contestant in work.contestants.items()}
    taken = {name: [] for name in work.contestants}
    rates, spent = [], 0.0
    while len(rates) < least_turns or (spent < seconds and len(rates) < MOST_TURNS):
        for name, contestant in work.contestants.items():
            duration = _seconds(contestant.run, repeats[name])
            taken[name].append(duration / (contestant.units * repeats[name]))
            spent += duration
        rates.append(_rates(work.product))
    taken = pd.DataFrame(taken)
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


def compare(name, seconds=2):
    """The line called ``name`` in a few seconds, for a notebook: contestants by how often as long as ours they take."""
    (line,) = (line for line in lines() if line.name == name)
    rows = measure(line, seconds, least_turns=2)
    table = rows.set_index("contestant")[["ratio", "ratio_low", "ratio_high"]].round(2)
    table.columns = ["times as long as ours", "lower quartile", "upper quartile"]
    return table.rename_axis(line.title)


def _judged(rows, line):
    """The rows with ``must``, ``aim`` and ``verdict``; a goal that is a rate becomes a ratio to the reference's."""
    if chosen() != CPU:
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


def _repeats(run):
    """How often ``run`` fits into a turn; the first time is not counted, as things are made then."""
    run()
    return max(1, math.ceil(TURN / max(_seconds(run), 1e-6)))


def _seconds(run, repeats=1):
    clock = time.process_time if chosen() == CPU else time.perf_counter
    wait(chosen())
    began = clock()
    for _ in range(repeats):
        run()
    wait(chosen())
    return clock() - began


def _rates(shape):
    """Operations per second of products (m, k) (k, n): torch's own, and the one that the fast versions use."""
    rows, inner, columns = shape
    a, b = torch.randn(rows, inner, device=chosen()), torch.randn(inner, columns, device=chosen())
    result = a.new_empty(rows, columns)
    repeats = max(1, int(1e9 / (rows * inner * columns)))

    def rate(multiply):
        return 2 * rows * inner * columns * repeats / _seconds(multiply, repeats)

    return rate(lambda: torch.mm(a, b, out=result)), rate(lambda: product(a, b))


def machine():
    """What the numbers were measured on."""
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "device": describe(chosen()),
        "cores": os.cpu_count(),
        "command": "make bench-avx2" if AVX2 else "make bench",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "products": "oneDNN" if ONEDNN else "MKL",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }


def _folder_name():
    if chosen() != CPU:
        return "bench-cuda"
    return "bench-avx2" if AVX2 else "bench"


def _processor():
    """Its name with family and model, which tell generations apart that share a name; as much as is known."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "model name" not in facts:
        return platform.processor()
    return "{model name}, family {cpu family}, model {model}".format_map({"cpu family": "?", "model": "?"} | facts)


def main(arguments=None):
    options = _parser().parse_args(arguments)
    asked = [line for line in lines() if options.only in (None, line.name)]
    if not asked and options.only != bench_cores.NAME:
        names = ", ".join([*(line.name for line in lines()), bench_cores.NAME])
        print(f"error: no line called {options.only!r}; there are: {names}", file=sys.stderr)
        return 1
    prepare_process()
    if not (bench_d3rlpy.is_there() and bench_jax.is_there()):
        print("d3rlpy and JAX are left out: `make bench-peers` fetches them")
    about, measured = machine(), []
    for line in asked:
        measured.append(measure(line, *((0, 1) if options.quick else ())))
        print(bench_page.summary(measured[-1]), flush=True)
    cores = None
    if options.only in (None, bench_cores.NAME) and chosen() == CPU:
        cores = bench_cores.measure_apart(seconds=1 if options.quick else 8)
        print(bench_page.cores_summary(cores))
    folder = options.folder or (outputs() / _folder_name() if not (options.only or options.quick) else None)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "machine.json", about | {"cores_measured": cores})
        if measured:
            bench_page.write(folder, pd.concat(measured, ignore_index=True), about, cores)
        print(f"written to {folder}")
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="synthlib.bench.measure", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="NAME", help="one line only")
    parser.add_argument("--quick", action="store_true", help="one turn each: does it run? the numbers mean little")
    parser.add_argument("--folder", type=Path, help="where to write (default: outputs/bench, for a whole run only)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
