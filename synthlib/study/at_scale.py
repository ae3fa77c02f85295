"""What the paper's whole grid asks of many machines: hours, files, disk and looks at a shared store. Arithmetic only.

    python -m synthlib.study.at_scale     prints the tables of notebooks/notes/cluster.md

Counts come from the plans, times from the published benches (one core of one machine, one GPU; without evaluations,
which add about one part in a hundred on a core, and on a GPU are made beside it). Sizes and looks are multiplied from
what was seen of single trainings. Nobody has run the grid at any of these sizes.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from synthlib.paths import ROOT
from synthlib.runs.job import Job
from synthlib.study.algorithms import training
from synthlib.study.catalogue import printed_artefacts
from synthlib.study.gpu_rates import rates
from synthlib.study.plan import distinct_jobs, make_plan
from synthlib.study.presets import load_preset

CORES, GPUS = (16, 256, 4096), (1, 8, 64)
BENCH = ROOT / "outputs" / "bench" / "bench.csv"
MEGABYTES: Mapping[str, float] = {"cql": 3.2, "critic_pretraining": 1.9, "dt": 8.8, "gpt2_pretraining": 8.8}
"""Of a checkpoint, as seen in a store."""
WEIGHTS: Mapping[str, float] = {"critic_pretraining": 0.6, "gpt2_pretraining": 2.9}
"""Megabytes of a file of kept weights."""
LOOKS_PER_SAVE = 50  # opens, stats, renames and syncs of one checkpoint with rows, counted with strace
SYNCS_PER_SAVE = 9
LOOKS_PER_BEAT = 2  # of the lock
SAVE_SECONDS, BEAT_SECONDS = 60, 10
FILES = 6  # of a training: config, environment, rows, checkpoint, progress; and one for each of its kept weights
FILES_OF_QUEUE = 4  # of a job of the queue: what to call, what came of it, two logs


@dataclass(frozen=True)
class Grid:
    """All trainings of the paper, each once."""

    counts: Counter[str]
    """{kind: trainings}."""
    operations: float
    gpu_hours: float
    """Of the card of the published bench, if it never waits."""
    core_hours: float
    longest_hours: float
    """Of a run and the pre-training before it, on one core: no number of machines is done sooner."""
    files: int
    gigabytes: float
    megabytes_per_save: float
    """The mean over all trainings, by their hours."""


def grid(preset: str = "paper") -> Grid:
    """The grid of everything that the paper prints, under ``preset``. Needs no data."""
    plans = [make_plan(artefact.name, preset, source=None) for artefact in printed_artefacts()]
    jobs = distinct_jobs(cell.job for plan in plans for cell in plan.cells)
    bench = pd.read_csv(BENCH).query("contestant == 'ours'").set_index("line")["seconds"]
    tokens = math.prod(load_preset(preset, "dt")[f"pretraining_{name}"] for name in ("batch_size", "sequence_length"))
    hours = {job.key: job.updates * _seconds(job, bench, tokens) / 3600 for job in jobs}
    total, operations = sum(hours.values()), {job.key: training(job).operations(job) for job in jobs}
    of = rates(ROOT / "outputs" / "bench-cuda")
    return Grid(
        Counter(job.kind for job in jobs),
        sum(operations.values()),
        sum(operations[job.key] / of[job.kind].operations for job in jobs) / 3600,
        total,
        max(hours[job.key] + sum(hours[one.key] for one in job.requires) for job in jobs),
        sum(FILES + len(job.keep) for job in jobs),
        sum(MEGABYTES[job.kind] + len(job.keep) * WEIGHTS.get(job.kind, 0) for job in jobs) / 1000,
        sum(hours[job.key] * MEGABYTES[job.kind] for job in jobs) / max(total, 1e-9),
    )


def _seconds(job: Job, bench: "pd.Series[float]", tokens: int) -> float:
    """Of an update on one core; the bench has the time of GPT-2 by token."""
    return float(bench[training(job).bench_line]) * (tokens if job.kind == "gpt2_pretraining" else 1)


def on_cores(whole: Grid, cores: int) -> dict[str, str]:
    """What the grid is on so many cores, one training on each; the hours are the fewest that are possible."""
    busy = min(cores, sum(whole.counts.values()))
    looks = busy * (LOOKS_PER_SAVE / SAVE_SECONDS + LOOKS_PER_BEAT / BEAT_SECONDS)
    return {
        "cores": f"{cores:,}",
        "hours": f"{max(whole.core_hours / cores, whole.longest_hours):,.0f}",
        "looks a second": f"{looks:,.0f}",
        "syncs a second": f"{busy * SYNCS_PER_SAVE / SAVE_SECONDS:,.0f}",
        "written, MB a second": f"{busy * whole.megabytes_per_save / SAVE_SECONDS:,.0f}",
    }


def on_gpus(whole: Grid, gpus: int) -> dict[str, str]:
    """What the grid is on so many GPUs, if none ever waits."""
    return {"GPUs": f"{gpus:,}", "hours": f"{whole.gpu_hours / gpus:,.0f}"}


def page_tables() -> str:
    """The tables of the page, as Markdown."""
    whole = grid()
    tables = [[on_cores(whole, cores) for cores in CORES], [on_gpus(whole, gpus) for gpus in GPUS]]
    runs = whole.counts["cql"] + whole.counts["dt"]
    first = (
        f"{runs:,} runs and {sum(whole.counts.values()) - runs} pre-trainings; {whole.core_hours:,.0f} core-hours and "
        f"{whole.operations:.1e} operations; {whole.files:,} files of {whole.gigabytes:,.0f} GB in the store, and "
        f"{FILES_OF_QUEUE * sum(whole.counts.values()):,} small ones of the queue; the longest run with its "
        f"pre-training {whole.longest_hours:,.0f} hours on one core."
    )
    return "\n\n".join([first, *map(_markdown, tables)])


def _markdown(rows: list[dict[str, str]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row.values()) + " |" for row in rows)])


if __name__ == "__main__":
    print(page_tables())
