"""From a table's name and a preset to the list of trainings that the table needs.

An artefact's arms and a preset's sizes (:mod:`synthlib.study.params`) give one :class:`Cell` per arm, data set and
seed. Each cell has the job whose results fill it. Jobs with equal configuration are one job, also across tables.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from synthlib.offline.identity import data_identity
from synthlib.paths import description_of
from synthlib.runs.job import Algorithm, Job
from synthlib.study.algorithms import algorithm
from synthlib.study.checks import ARM, FINAL_EVALUATIONS
from synthlib.study.figures import find_artefact
from synthlib.study.params import Artefact, ParameterError
from synthlib.study.presets import Settings, left_out, load_preset, seeds_of
from synthlib.tasks import D4RL_DATASETS, is_own_data


@dataclass(frozen=True)
class Cell:
    """One run of a table: ``job`` fills arm x dataset x seed."""

    arm: str
    dataset: str
    seed: int
    data_ratio: float
    """The share of the data that the run is fine-tuned on, in (0, 1]."""
    job: Job


@dataclass(frozen=True)
class Selection:
    """A part of a table: some arms, and other data sets or seeds than the preset's. What is empty is not narrowed."""

    arms: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    seeds: int | tuple[int, ...] = ()
    """The first so many seeds, those that the preset lists before the algorithm's others; or these."""

    @property
    def suffix(self) -> str:
        """What the folder of such a part has in its name, "" for the whole table."""
        if self == EVERYTHING:
            return ""
        return "-part-" + hashlib.sha256(repr(self).encode()).hexdigest()[:8]

    def narrow(self, settings: Settings, trained: Algorithm) -> Settings:
        """The ``settings`` of a preset with these data sets and seeds. ParameterError for unknown ones."""
        if unknown := [name for name in self.datasets if name not in D4RL_DATASETS and not is_own_data(name)]:
            raise ParameterError(f"DATASETS: no data set called {unknown[0]!r}; there are: {', '.join(D4RL_DATASETS)}")
        chosen = dict(settings)
        if self.datasets:
            chosen["datasets"] = list(dict.fromkeys(self.datasets))
        if isinstance(self.seeds, int):
            if not 1 <= self.seeds <= len(trained.seeds):
                raise ParameterError(f"SEEDS: {self.seeds} is not a number from 1 to {len(trained.seeds)}")
            chosen["seeds"] = _first(self.seeds, settings["seeds"], chosen["datasets"], trained.seeds)
        elif self.seeds:
            if unknown_seeds := [seed for seed in self.seeds if seed not in trained.seeds]:
                known = ", ".join(map(str, trained.seeds))
                raise ParameterError(f"SEEDS: {unknown_seeds[0]} is not among the seeds of {trained.name}: {known}")
            chosen["seeds"] = list(dict.fromkeys(self.seeds))
        elif isinstance(settings["seeds"], dict) and (absent := set(chosen["datasets"]) - set(settings["seeds"])):
            raise ParameterError(f"the preset has no number of seeds for {sorted(absent)[0]}: give SEEDS as well")
        return chosen


def _first(count: int, seeds: Any, datasets: Iterable[str], known: Sequence[int]) -> Any:
    """The first ``count`` of a preset's ``seeds``, so that a part of a table has runs of the whole table."""
    if isinstance(seeds, dict):
        return {name: _first(count, seeds.get(name), (), known) for name in datasets}
    if isinstance(seeds, list):
        return [*seeds, *(seed for seed in known if seed not in seeds)][:count]
    return count


EVERYTHING = Selection()


@dataclass(frozen=True)
class Plan:
    """All runs of a table under one preset and data source."""

    artefact: Artefact
    preset: str
    settings: Settings
    source: str | None
    cells: tuple[Cell, ...]
    selection: Selection = EVERYTHING

    @property
    def arms(self) -> list[str]:
        """Names of the arms that have cells, in printed order."""
        wanted = {cell.arm for cell in self.cells}
        return [arm for arm in self.artefact.arms if arm in wanted]

    def jobs(self) -> list[Job]:
        """:func:`distinct_jobs` of the cells."""
        return distinct_jobs(cell.job for cell in self.cells)


def distinct_jobs(jobs: Iterable[Job]) -> list[Job]:
    """The jobs and all jobs that they require, each training once, at its greatest length; required jobs come first."""
    merged: dict[str, Job] = {}

    def visit(job: Job) -> None:
        for required in job.requires:
            visit(required)
        key = job.key
        known = merged.get(key, job)
        longer = max(job, known, key=lambda one: one.updates)
        merged[key] = replace(longer, keep=tuple(sorted({*job.keep, *known.keep})))

    for job in jobs:
        visit(job)
    return list(merged.values())


def make_plan(
    artefact_name: str, preset: str, source: str | None, arms: Sequence[str] = (), selection: Selection = EVERYTHING
) -> Plan:
    """The :class:`Plan` of a table or figure. It reads the checksums of the data sets and trains nothing.

    ``source`` is "replica", "d4rl" or "path:DIR"; None makes a plan that is only counted and needs no data. ``arms``
    names the wanted arms, () for those of ``selection``, which also chooses data sets and seeds. Raises ParameterError
    for an unknown name or value, and the errors of :func:`synthlib.offline.identity.data_identity`.
    """
    artefact, arms = find_artefact(artefact_name), arms or selection.arms
    if unknown := sorted(set(arms) - set(artefact.arms)):
        raise ParameterError(f"{artefact_name} has no arm {unknown}; there are: {'; '.join(artefact.arms)}")
    trained = algorithm(artefact.algorithm)
    settings = selection.narrow(_on_its_data(artefact, load_preset(preset, artefact.algorithm)), trained)
    absent = left_out(artefact, settings)
    if asked := [arm for arm in arms if arm in absent]:
        raise ParameterError(f"preset {preset!r} leaves {asked} out: it has text: none in params/presets.yaml")
    for dataset in settings["datasets"]:
        data_identity(dataset, source)  # what is wrong with the data is no matter of an arm
    wanted = [arm for arm in artefact.arms if arm not in absent and (not arms or arm in arms)]
    cells = tuple(
        _cell(trained, artefact, arm, dataset, seeds[arm][place], settings, source)
        for dataset in settings["datasets"]
        for offered in [seeds_of(settings, dataset, trained.seeds)]
        for seeds in [{arm: artefact.seeds_of_arm(arm, offered) for arm in wanted}]
        for place in range(len(offered))
        for arm in wanted
        if place < len(seeds[arm])
    )
    return Plan(artefact, preset, settings, source, cells, selection)


def _on_its_data(artefact: Artefact, settings: Settings) -> Settings:
    """The settings of a preset with the data sets that the artefact names, if it names some.

    Where the preset has a number of seeds for each data set, one that it does not know has its least number.
    """
    if not artefact.datasets:
        return settings
    named = Selection(datasets=artefact.datasets)
    if isinstance(seeds := settings["seeds"], dict):
        least = min(seeds.values(), key=lambda entry: len(entry) if isinstance(entry, list) else entry)
        settings = settings | {"seeds": {name: seeds.get(name, least) for name in artefact.datasets}}
    return named.narrow(settings, algorithm(artefact.algorithm))


def _cell(
    trained: Algorithm, artefact: Artefact, arm: str, dataset: str, seed: int, settings: Settings, source: str | None
) -> Cell:
    """The cell of ``arm`` x ``dataset`` x ``seed``; ParameterError when the arm's settings contradict each other."""
    where, arm_settings = f"{description_of(artefact.name)}, arm {arm!r}", artefact.arms[arm]
    own = {name: value for name, value in arm_settings.items() if name not in ARM}
    every = settings["evaluate_every"]
    # Rounded up to a multiple of ``every``: a longer arm must stay longer in a small preset.
    updates = every * math.ceil(arm_settings.get("length", 1) * settings["updates"] / every - 1e-9)
    if artefact.metric == "final" and updates < FINAL_EVALUATIONS * every:
        raise ParameterError(
            f"{where}: length {arm_settings['length']} of the preset's {settings['updates']} updates is {updates}, "
            f"evaluated every {every}; a final score needs {FINAL_EVALUATIONS} evaluations"
        )
    try:
        job = trained.job(own, dataset, seed, settings | {"updates": updates}, source)
    except ValueError as error:
        raise ParameterError(f"{where}: {error}") from error
    return Cell(arm, dataset, seed, arm_settings.get("data_ratio", 1.0), job)
