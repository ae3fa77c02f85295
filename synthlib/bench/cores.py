"""Several trainings at the same time: their scaling, the memory of each, and the time to the first update.

Each process starts as a worker of the engine does, and makes CQL updates on a data set: one process alone, then two at
the same time. Rates are per second of wall time, not of processor time, because the total throughput counts.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

NAME = "cores"
DATASET, SOURCE = "halfcheetah-medium-expert", "replica"
Report = dict[str, Any]
"""The measurements of one process, or of several processes together."""


def measure_apart(seconds: float = 8) -> dict[str, Any]:
    """Call :func:`measure` in a new Python process, whose children import as little as those of ``synthlib run``.

    A spawned process first imports the main module of its parent. The main module of ``synthlib.bench`` imports a lot.
    """
    command = [sys.executable, "-m", "synthlib.bench.cores", str(seconds)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(seconds: float = 8) -> dict[str, Any]:
    """{"processes": {"1": {...}, "2": {...}}, "scaling", "start_seconds", "start_cpu_seconds"}.

    For each number of processes: ``updates_per_second`` of all processes together; ``private_mb`` and ``shared_mb``,
    the mean memory of a process in mebibytes, as the operating system counts it, None without /proc. ``start_seconds``
    is the time from the start of a process alone to the end of its first update, on data that are unpacked already;
    ``start_cpu_seconds`` is its processor time until then. Raises RuntimeError when a process fails.
    """
    _run(1, 0.1)  # afterwards the data set is unpacked, and torch is in the disk's cache
    found = {count: _run(count, seconds) for count in (1, 2)}
    processes = {str(count): _together(reports) for count, reports in found.items()}
    (alone,) = found[1]
    return {
        "processes": processes,
        "scaling": processes["2"]["updates_per_second"] / processes["1"]["updates_per_second"],
        "start_seconds": alone["first_update"],
        "start_cpu_seconds": alone["first_update_cpu"],
    }


def _run(count: int, seconds: float) -> list[Report]:
    """The reports of ``count`` processes that make updates at the same time: for ``seconds``, after all are ready."""
    context = get_context("spawn")
    reports, ready = context.SimpleQueue(), context.Barrier(count)
    processes = [
        context.Process(target=_updates, args=(seconds, time.time(), ready, reports), daemon=True) for _ in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    failed = [process.exitcode for process in processes if process.exitcode]
    if failed:
        raise RuntimeError(f"{len(failed)} of {count} processes failed; what they said is above")
    return [reports.get() for _ in processes]


def _together(reports: Sequence[Report]) -> Report:
    return {
        "updates_per_second": sum(report["rate"] for report in reports),
        "private_mb": _mean(report["private_mb"] for report in reports),
        "shared_mb": _mean(report["shared_mb"] for report in reports),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    values = list(values)
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _updates(seconds: float, started: float, ready: Barrier, reports: SimpleQueue) -> None:
    # Imported here, because a worker of the engine imports everything in its own process too.
    from synthlib.cql.jobs import FineTuning, finetuning_job
    from synthlib.machine.processes import prepare_process

    prepare_process()
    settings = {"updates": 10**9, "evaluate_every": 10**9, "episodes": 10}
    run = FineTuning(finetuning_job({"pretraining": "none"}, DATASET, 0, settings, SOURCE), store=None)
    run.update()
    first = time.time() - started, time.process_time()
    ready.wait(120)
    began, updates = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        run.update()
        updates += 1
    rate = updates / (time.perf_counter() - began)
    ready.wait(120)  # memory is shared only while the other process is alive
    private, shared = _memory()
    ready.wait(120)
    reports.put(
        {
            "rate": rate,
            "first_update": first[0],
            "first_update_cpu": first[1],
            "private_mb": private,
            "shared_mb": shared,
        }
    )


def _memory() -> tuple[float, float] | tuple[None, None]:
    """Private and shared memory of this process in mebibytes; (None, None) where /proc does not say."""
    path = Path("/proc/self/smaps_rollup")
    if not path.exists():
        return None, None
    fields = {line.split(":")[0]: int(line.split()[1]) for line in path.read_text().splitlines()[1:]}
    private, shared = (fields[f"{kind}_Clean"] + fields[f"{kind}_Dirty"] for kind in ("Private", "Shared"))
    return private / 1024, shared / 1024


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1]))))
