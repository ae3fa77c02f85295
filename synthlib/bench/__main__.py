"""``python -m synthlib.bench`` (``make bench``): every fast version against its peers on this machine.

The results are ``bench.csv``, ``bench.md``, ``bench.png`` and ``machine.json``. They go to ``outputs/bench``, from a
GPU (``DEVICE=cuda``) to ``outputs/bench-cuda``, and from ``make bench-avx2`` to ``outputs/bench-avx2``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from synthlib.bench import columns, cores, page, peers
from synthlib.bench.choice import lines
from synthlib.bench.lines import AVX2
from synthlib.bench.measure import machine, measure
from synthlib.machine.devices import CPU, chosen
from synthlib.machine.files import write_json
from synthlib.machine.processes import prepare_process
from synthlib.paths import outputs


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the lines that the command line selects; returns the exit status."""
    options = _parser().parse_args(arguments)
    known = {line.name: line for line in lines()}
    if unknown := [name for name in options.only if name not in (*known, cores.NAME)]:
        print(f"error: no line called {unknown[0]!r}; there are: {', '.join([*known, cores.NAME])}", file=sys.stderr)
        return 1
    asked = [line for name, line in known.items() if not options.only or name in options.only]
    prepare_process()
    about = machine() | {"left_out": peers.left_out(chosen())}
    part = (["--only", *options.only] if options.only else []) + (["--quick"] if options.quick else [])
    if part:
        where = f"SYNTHLIB_DEVICE={chosen()} " if chosen() != CPU else ""
        about["command"] = f"{where}python -m synthlib.bench {' '.join(part)}"
    for sentence in about["left_out"]:
        print(sentence)
    if chosen() != CPU:
        about["memory_of_a_run"] = columns.memory_beside_shapes()
    measured: list[pd.DataFrame] = []
    for line in asked:
        measured.append(measure(line, *((0, 1) if options.quick else ())))
        print(page.summary(measured[-1]), flush=True)
    together = None
    if (not options.only or cores.NAME in options.only) and chosen() == CPU:
        together = cores.measure_apart(seconds=1 if options.quick else 8)
        print(page.cores_summary(together))
    folder = options.folder or (None if options.only or options.quick else default_folder())
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "machine.json", about | {"cores_measured": together})
        if measured:
            page.write(folder, pd.concat(measured, ignore_index=True), about, together)
        print(f"written to {folder}")
    return 0


def default_folder() -> Path:
    """The folder for the results of a complete run: one folder for each kind of device and CPU instructions."""
    if chosen() != CPU:
        return outputs() / "bench-cuda"
    return outputs() / ("bench-avx2" if AVX2 else "bench")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synthlib.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", metavar="NAME", nargs="+", default=[], help="these lines only")
    parser.add_argument("--quick", action="store_true", help="one turn each: does it run? the numbers mean little")
    parser.add_argument("--folder", type=Path, help="where to write (default: outputs/bench, for a complete run only)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
