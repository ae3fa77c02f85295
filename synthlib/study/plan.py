"""From a table's name and a preset to the list of trainings it needs.

``params/<artefact>.yaml`` says which arms a table or figure has, ``params/presets.yaml`` how big a run is. Here the two
become :class:`Cell` s, one per arm, data set and seed, each with the job whose record fills it. Jobs with equal
configuration are one job, whichever table asks.

What an arm may say, beside nothing (the paper's default pre-training):

    pretraining: none         the published baseline, without pre-training
    pretraining_updates: n    in place of 100,000 (cql), 20,000 (dt), 80,000 (dt on text); 0 is the matched control
    pretraining_seed: n       of the pre-trained weights and its batches
    length: x                 fine-tuned for x times the preset's updates
    mdp: {...}, cql: {...}    cql only: fields of MDPConfig and CQLConfig
    chain: {...}              dt only: fields of ChainConfig
    objective: name           dt only: identity or mapping in place of next_token
    text: wiki                dt only: text in place of a chain
    data_ratio: x             fine-tuned on this share of the data (dt: trajectories, cql: transitions)
    exclude_lowest: false     dt only: draws the trajectory of lowest return too, which the authors' loop leaves out
    model: {...}, training: {...}, gpt2: {...}
                              dt only: fields of DTConfig, DTTrainingConfig and GPT2PretrainingConfig
"""

import math
import re
from dataclasses import dataclass, field, replace

import yaml

from synthlib.cql import jobs as cql_jobs
from synthlib.dt import jobs as dt_jobs
from synthlib.dt import pretraining_jobs
from synthlib.paths import PARAMS
from synthlib.runs.store import Job
from synthlib.tasks import DATASETS

METRICS = ("final", "best", "updates", "loss", "similarity")
_ARTEFACT_KEYS = {"algorithm", "title", "paper_table", "metric", "notebook", "baseline", "control", "arms"}
_OPTIONAL_KEYS = {"like", "figures", "authors", "data_ratios"}
_COMMON_PRESET_KEYS = {"datasets", "seeds", "updates", "evaluate_every", "episodes", "pretraining_scale"}
_PRESET_KEYS = {
    "cql": _COMMON_PRESET_KEYS | {"mdp_trajectories"},
    "dt": _COMMON_PRESET_KEYS
    | {"warmup_updates", "pretraining_batch_size", "pretraining_sequence_length", "pretraining_learning_rate"}
    | {"pretraining_sequences", "validation_sequences", "text", "text_vocabulary"},
}
_ARM_KEYS = {
    "cql": {"pretraining", "pretraining_updates", "pretraining_seed", "length", "mdp", "cql", "data_ratio"},
    "dt": {
        "pretraining",
        "pretraining_updates",
        "pretraining_seed",
        "length",
        "chain",
        "objective",
        "text",
        "data_ratio",
        "exclude_lowest",
        "model",
        "training",
        "gpt2",
    },
}
_JOBS = {"cql": cql_jobs.finetuning_job, "dt": dt_jobs.finetuning_job}
_SEEDS = {"cql": cql_jobs.SEEDS, "dt": dt_jobs.SEEDS}
# The column of losses.csv that the paper's loss curves show: one row per evaluation.
LOSSES = {"cql": "combined_loss_last_minibatch", "dt": "train_loss"}


class ParameterError(ValueError):
    """A name or value in params/, or on the command line, that is not known; the message lists what is."""


@dataclass(frozen=True)
class Artefact:
    """One table or figure of the paper: its arms in printed order and the cells beside which it is shown."""

    name: str
    algorithm: str
    title: str
    paper_table: int | None
    # final, best, updates (thousands of them to 90 % of the baseline's final return), loss (in per cent of the
    # baseline's), or similarity (Figure 12)
    metric: str
    notebook: str
    baseline: str | None
    control: str | None  # the matched control: the flags of the pre-trained arms, random weights
    arms: dict
    figures: dict = field(default_factory=dict)  # name -> keywords of Report.figure
    authors: dict = field(default_factory=dict)  # arm -> label in the authors' logs, where not the usual one

    @property
    def is_table(self):
        return not self.name.startswith("figure")


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

    @property
    def arms(self):
        """Names of the arms that are wanted, in printed order."""
        wanted = {cell.arm for cell in self.cells}
        return [arm for arm in self.artefact.arms if arm in wanted]

    def jobs(self):
        """Distinct jobs, requirements first; where two want the same training, the longer one."""
        return distinct_jobs(cell.job for cell in self.cells)


def distinct_jobs(jobs):
    """The jobs and what they require, each training once at its greatest length, requirements first."""
    merged = {}

    def visit(job):
        for required in job.requires:
            visit(required)
        key = job.key
        known = merged.get(key, job)
        longer = max(job, known, key=lambda one: one.updates)
        merged[key] = replace(longer, keep=tuple(sorted({*job.keep, *known.keep})))

    for job in jobs:
        visit(job)
    return list(merged.values())


def artefact_names():
    """Names of all descriptions in params/, in the paper's order."""
    names = (path.stem for path in PARAMS.glob("*.yaml") if path.stem != "presets")
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def load_artefact(name):
    """The description in ``params/<name>.yaml``; ParameterError when there is none or it has unknown keys.

    ``like: <other>`` takes over every field of another description that this one does not give itself.
    ``data_ratios: [...]`` repeats every arm with each share of the data, as "<arm> @ <share>".
    """
    if name not in artefact_names():
        raise ParameterError(f"no table called {name!r}; there are: {', '.join(artefact_names())}")
    where = f"params/{name}.yaml"
    fields = _read_description(name)
    _check_keys(fields, _ARTEFACT_KEYS, where, _OPTIONAL_KEYS)
    if fields["metric"] not in METRICS:
        raise ParameterError(f"{where}: unknown metric {fields['metric']!r}; known: {', '.join(METRICS)}")
    if fields["algorithm"] not in _ARM_KEYS:
        raise ParameterError(f"{where}: unknown algorithm {fields['algorithm']!r}; known: {', '.join(_ARM_KEYS)}")
    fields["arms"] = {
        f"{arm} @ {ratio}" if ratio else arm: {**settings, **({"data_ratio": ratio} if ratio not in (None, 1) else {})}
        for ratio in fields.pop("data_ratios", [None])
        for arm, settings in fields["arms"].items()
    }
    for arm, settings in fields["arms"].items():
        unknown = set(settings) - _ARM_KEYS[fields["algorithm"]]
        if unknown:
            raise ParameterError(f"{where}, arm {arm!r}: unknown {sorted(unknown)}")
    for special in ("baseline", "control"):
        if fields[special] is not None and fields[special] not in fields["arms"]:
            raise ParameterError(f"{where}: {special} {fields[special]!r} is not among its arms")
    return Artefact(name=name, **fields)


def _read_description(name):
    fields = yaml.safe_load((PARAMS / f"{name}.yaml").read_text())
    parent = fields.pop("like", None)
    return _read_description(parent) | fields if parent else fields


def pretraining_updates(algorithm, settings):
    """Pre-training updates behind an arm at the paper's size: what its curves are shifted by."""
    if settings.get("pretraining") == "none":
        return 0
    of_dt = pretraining_jobs.TEXT_UPDATES if "text" in settings else pretraining_jobs.CHAIN_UPDATES
    default = {"cql": cql_jobs.PRETRAINING_UPDATES, "dt": of_dt}
    return settings.get("pretraining_updates", default[algorithm])


def presets():
    """All presets, in file order (smallest first)."""
    return yaml.safe_load((PARAMS / "presets.yaml").read_text())


def load_preset(name, algorithm):
    """The settings of one algorithm under one preset, checked; ParameterError when unknown."""
    known = presets()
    if name not in known:
        raise ParameterError(f"no preset called {name!r}; there are: {', '.join(known)}")
    if not can_train(name, algorithm):
        able = [preset for preset in known if can_train(preset, algorithm)]
        raise ParameterError(f"preset {name!r} has no size for {algorithm!r}; these have: {', '.join(able)}")
    settings = dict(known[name][algorithm])
    _check_keys(settings, _PRESET_KEYS[algorithm], f"preset {name!r}")
    if settings["datasets"] == "all":
        settings["datasets"] = list(DATASETS)
    unknown = set(settings["datasets"]) - set(DATASETS)
    if unknown:
        raise ParameterError(f"preset {name!r}: no data set called {sorted(unknown)}; there are: {', '.join(DATASETS)}")
    if isinstance(settings["seeds"], dict) and set(settings["seeds"]) != set(settings["datasets"]):
        raise ParameterError(f"preset {name!r}: seeds must be one number, or one for each of {settings['datasets']}")
    for dataset in settings["datasets"]:
        _check_seeds(seeds_of(settings, dataset), _SEEDS[algorithm], f"preset {name!r}")
    return settings


def _check_seeds(seeds, known, where):
    if isinstance(seeds, list):
        if not seeds or len(set(seeds)) < len(seeds) or set(seeds) - set(known):
            raise ParameterError(f"{where}: seeds must be different ones of {', '.join(map(str, known))}, not {seeds}")
    elif not 1 <= seeds <= len(known):
        raise ParameterError(f"{where}: seeds must be 1 to {len(known)}, not {seeds}")


def left_out(artefact, settings):
    """The arms that a preset's ``settings`` do without: those pre-trained on text, where it has ``text: none``."""
    without_text = settings.get("text") == "none"
    return [arm for arm, of_arm in artefact.arms.items() if without_text and "text" in of_arm]


def seeds_of(settings, dataset):
    """What a preset's ``settings`` say of the seeds on ``dataset``, where data sets may differ.

    That is how many of the authors' list, counted from its front, or a list of some of them.
    """
    return settings["seeds"][dataset] if isinstance(settings["seeds"], dict) else settings["seeds"]


def number_of_seeds(settings, dataset):
    """How many seeds each arm has on ``dataset``."""
    seeds = seeds_of(settings, dataset)
    return len(seeds) if isinstance(seeds, list) else seeds


def can_train(preset, algorithm):
    """Whether there are jobs for ``algorithm`` and ``preset`` gives it a size."""
    return algorithm in _JOBS and algorithm in presets()[preset]


def make_plan(artefact_name, preset, source, arms=()):
    """The :class:`Plan` of a table; reads the checksums of the data it names, trains nothing.

    ``source`` is "replica", "d4rl" or "path:DIR", or None for a plan that is only counted and needs no data; ``arms``
    names those that are wanted now, () for all. Raises ParameterError, and what the data loader raises.
    """
    artefact = load_artefact(artefact_name)
    if unknown := sorted(set(arms) - set(artefact.arms)):
        raise ParameterError(f"{artefact_name} has no arm {unknown}; there are: {'; '.join(artefact.arms)}")
    settings = load_preset(preset, artefact.algorithm)
    absent = left_out(artefact, settings)
    if asked := [arm for arm in arms if arm in absent]:
        raise ParameterError(f"preset {preset!r} leaves {asked} out: it has text: none in params/presets.yaml")
    make_job = _JOBS[artefact.algorithm]
    seeds = _SEEDS[artefact.algorithm]
    cells = tuple(
        Cell(arm, dataset, seed, _job_of_arm(arm, arm_settings, make_job, dataset, seed, settings, source))
        for dataset in settings["datasets"]
        for seed in _chosen(seeds, seeds_of(settings, dataset))
        for arm, arm_settings in artefact.arms.items()
        if arm not in absent and (not arms or arm in arms)
    )
    return Plan(artefact, preset, settings, source, cells)


def _chosen(seeds, wanted):
    return wanted if isinstance(wanted, list) else seeds[:wanted]


def _job_of_arm(arm, arm_settings, make_job, dataset, seed, settings, source):
    own = {name: value for name, value in arm_settings.items() if name != "length"}
    every = settings["evaluate_every"]
    # Up to a whole evaluation: a longer arm must be longer in a small preset too.
    updates = every * math.ceil(arm_settings.get("length", 1) * settings["updates"] / every - 1e-9)
    try:
        return make_job(own, dataset, seed, settings | {"updates": updates}, source)
    except TypeError as error:  # a keyword that the configuration does not have
        raise ParameterError(f"arm {arm!r}: {error}") from error


def _check_keys(fields, known, where, optional=frozenset()):
    unknown, missing = set(fields) - known - optional, known - set(fields)
    if unknown:
        raise ParameterError(f"{where}: unknown {sorted(unknown)}; known: {', '.join(sorted(known | optional))}")
    if missing:
        raise ParameterError(f"{where}: missing {sorted(missing)}")
