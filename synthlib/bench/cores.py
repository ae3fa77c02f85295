"""Several trainings side by side: how they scale, what memory each takes, how soon a run makes its first update.

Each process is started as the engine starts its workers and makes CQL updates on a data set, alone and then two at a
time. Here the clock decides, not processor time: what is asked is how much gets done.
"""

import json
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

NAME = "cores"
DATASET, SOURCE = "halfcheetah-medium-expert", "replica"


def measure_apart(seconds=8):
    """:func:`measure` in a process of its own: whoever is started begins by importing what its starter began with."""
    command = [sys.executable, "-m", "synthlib.bench.cores", str(seconds)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(seconds=8):
    """{"processes": {"1": {...}, "2": {...}}, "scaling", "start_seconds", "start_cpu_seconds"}.

    Per number of processes: ``updates_per_second`` of all together, ``private_mb`` and ``shared_mb`` of memory per
    process (the kernel's Private and Shared of it; None where /proc does not say). ``start_seconds`` run from the
    start of the first process alone to the end of its first update, on data that are unpacked already.
    """
    _run(1, 0.1)  # unpacks the data set, and reads torch from the disk
    found = {count: _run(count, seconds) for count in (1, 2)}
    processes = {str(count): _together(reports) for count, reports in found.items()}
    (alone,) = found[1]
    return {
        "processes": processes,
        "scaling": processes["2"]["updates_per_second"] / processes["1"]["updates_per_second"],
        "start_seconds": alone["first_update"],
        "start_cpu_seconds": alone["first_update_cpu"],
    }


def _run(count, seconds):
    """Reports of ``count`` processes that make updates at the same time, for ``seconds`` from when all are ready."""
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


def _together(reports):
    return {
        "updates_per_second": sum(report["rate"] for report in reports),
        "private_mb": _mean(report["private_mb"] for report in reports),
        "shared_mb": _mean(report["shared_mb"] for report in reports),
    }


def _mean(values):
    values = list(values)
    return None if None in values else sum(values) / len(values)


def _updates(seconds, started, ready, reports):
    # As in a worker, everything is imported by the new process itself.
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
    ready.wait(120)  # memory is shared with the other process only while it is there
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


def _memory():
    """(private, shared) megabytes of this process, or (None, None) where the kernel does not say."""
    path = Path("/proc/self/smaps_rollup")
    if not path.exists():
        return None, None
    fields = {line.split(":")[0]: int(line.split()[1]) for line in path.read_text().splitlines()[1:]}
    private, shared = (fields[f"{kind}_Clean"] + fields[f"{kind}_Dirty"] for kind in ("Private", "Shared"))
    return private / 1024, shared / 1024


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1]))))
