"""From a table's name and a preset to the list of trainings it needs.

``params/<table>.yaml`` says which arms a table has, ``params/presets.yaml`` how big a run is. Here the two become
:class:`Cell` s, one per arm, data set and seed, each with the job whose record fills it. Jobs with equal configuration
are one job, whichever table asks.
"""

from dataclasses import dataclass, replace

import yaml

from synthlib import cql_jobs
from synthlib.data_sources import DATASETS
from synthlib.paths import PARAMS
from synthlib.store import Job

_ARTEFACT_KEYS = {"algorithm", "title", "paper_table", "metric", "notebook", "baseline", "control", "arms"}
_PRESET_KEYS = {
    "cql": {"datasets", "seeds", "updates", "evaluate_every", "episodes", "pretraining_scale", "mdp_trajectories"}
}
_ARM_KEYS = {"cql": {"pretraining", "pretraining_updates", "pretraining_seed", "mdp", "cql"}}
_JOBS = {"cql": cql_jobs.finetuning_job}
_SEEDS = {"cql": cql_jobs.SEEDS}


class ParameterError(ValueError):
    """A name or value in params/, or on the command line, that is not known; the message lists what is."""


@dataclass(frozen=True)
class Artefact:
    """One table of the paper: its arms in printed order and the cells of the paper beside which it is shown."""

    name: str
    algorithm: str
    title: str
    paper_table: int
    metric: str
    notebook: str
    baseline: str
    control: str
    arms: dict


@dataclass(frozen=True)
class Cell:
    """One run of a table: ``job`` fills arm x dataset x seed."""

    arm: str
    dataset: str
    seed: int
    job: Job


@dataclass(frozen=True)
class Plan:
    """Everything a table needs under one preset and data source."""

    artefact: Artefact
    preset: str
    settings: dict
    source: str
    cells: tuple

    def jobs(self):
        """Distinct jobs, requirements first; where two want the same training, the longer one."""
        return distinct_jobs(cell.job for cell in self.cells)


def distinct_jobs(jobs):
    """The jobs and what they require, each training once at its greatest length, requirements first."""
    merged = {}

    def visit(job):
        for required in job.requires:
            visit(required)
        known = merged.get(job.key, job)
        longer = max(job, known, key=lambda one: one.updates)
        merged[job.key] = replace(longer, keep=tuple(sorted({*job.keep, *known.keep})))

    for job in jobs:
        visit(job)
    return list(merged.values())


def artefact_names():
    return sorted(path.stem for path in PARAMS.glob("table*.yaml"))


def load_artefact(name):
    """The description in ``params/<name>.yaml``; ParameterError when there is none or it has unknown keys."""
    if name not in artefact_names():
        raise ParameterError(f"no table called {name!r}; there are: {', '.join(artefact_names())}")
    fields = yaml.safe_load((PARAMS / f"{name}.yaml").read_text())
    _check_keys(fields, _ARTEFACT_KEYS, f"params/{name}.yaml")
    for arm, settings in fields["arms"].items():
        unknown = set(settings) - _ARM_KEYS[fields["algorithm"]]
        if unknown:
            raise ParameterError(f"params/{name}.yaml, arm {arm!r}: unknown {sorted(unknown)}")
    for special in ("baseline", "control"):
        if fields[special] not in fields["arms"]:
            raise ParameterError(f"params/{name}.yaml: {special} {fields[special]!r} is not among its arms")
    return Artefact(name=name, **fields)


def presets():
    """All presets, in file order (smallest first)."""
    return yaml.safe_load((PARAMS / "presets.yaml").read_text())


def load_preset(name, algorithm):
    """The settings of one algorithm under one preset, checked; ParameterError when unknown."""
    known = presets()
    if name not in known:
        raise ParameterError(f"no preset called {name!r}; there are: {', '.join(known)}")
    if algorithm not in known[name]:
        raise ParameterError(f"preset {name!r} has no section for {algorithm!r}")
    settings = dict(known[name][algorithm])
    _check_keys(settings, _PRESET_KEYS[algorithm], f"preset {name!r}")
    if settings["datasets"] == "all":
        settings["datasets"] = list(DATASETS)
    unknown = set(settings["datasets"]) - set(DATASETS)
    if unknown:
        raise ParameterError(f"preset {name!r}: no data set called {sorted(unknown)}; there are: {', '.join(DATASETS)}")
    if not 1 <= settings["seeds"] <= len(_SEEDS[algorithm]):
        raise ParameterError(f"preset {name!r}: seeds must be 1 to {len(_SEEDS[algorithm])}, not {settings['seeds']}")
    return settings


def make_plan(artefact_name, preset, source):
    """The :class:`Plan` of a table; reads the checksums of the data it names, trains nothing.

    ``source`` is "replica", "d4rl" or "path:DIR". Raises ParameterError, and what the data loader raises.
    """
    artefact = load_artefact(artefact_name)
    settings = load_preset(preset, artefact.algorithm)
    make_job = _JOBS[artefact.algorithm]
    seeds = _SEEDS[artefact.algorithm][: settings["seeds"]]
    cells = tuple(
        Cell(arm, dataset, seed, _job_of_arm(arm, arm_settings, make_job, dataset, seed, settings, source))
        for dataset in settings["datasets"]
        for seed in seeds
        for arm, arm_settings in artefact.arms.items()
    )
    return Plan(artefact, preset, settings, source, cells)


def _job_of_arm(arm, arm_settings, make_job, *arguments):
    try:
        return make_job(arm_settings, *arguments)
    except TypeError as error:  # a keyword that the configuration does not have
        raise ParameterError(f"arm {arm!r}: {error}") from error


def _check_keys(fields, known, where):
    unknown, missing = set(fields) - known, known - set(fields)
    if unknown:
        raise ParameterError(f"{where}: unknown {sorted(unknown)}; known: {', '.join(sorted(known))}")
    if missing:
        raise ParameterError(f"{where}: missing {sorted(missing)}")
