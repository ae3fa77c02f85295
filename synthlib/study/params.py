"""Reading and checking params/: which arms a table or figure has, and how big a run is under each preset.

``params/<artefact>.yaml`` describes a table or figure, ``params/presets.yaml`` the sizes. Neither needs PyTorch, pandas
or MuJoCo. What every arm may say:

    length: x                 fine-tuned for x times the preset's updates
    data_ratio: x             fine-tuned on this share of the data

and what else, each algorithm says itself (synthlib/cql/algorithm.py, synthlib/dt/algorithm.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from synthlib.paths import PARAMS
from synthlib.study.algorithms import algorithm

METRICS = ("final", "best", "updates", "loss", "similarity")
_ARTEFACT_KEYS = {"algorithm", "title", "paper_table", "metric", "notebook", "baseline", "control", "arms"}
_OPTIONAL_KEYS = {"like", "figures", "authors", "data_ratios"}
_PRESET_KEYS = {"datasets", "seeds", "updates", "evaluate_every", "episodes"}

Arm = dict[str, Any]
"""What one column of a table says about its runs."""
Settings = dict[str, Any]
"""What a preset says about one algorithm."""


class ParameterError(ValueError):
    """A name or value in params/, or on the command line, that is not known; the message lists what is."""


@dataclass(frozen=True)
class Artefact:
    """One table or figure of the paper: its arms in printed order and the cells beside which it is shown."""

    name: str
    algorithm: str
    """A name that :func:`synthlib.study.algorithms.algorithm` knows."""
    title: str
    paper_table: int | None
    metric: str
    """final, best, updates (thousands of them to 90 % of the baseline's final return), loss (in per cent of the
    baseline's), or similarity (Figure 12)."""
    notebook: str
    baseline: str | None
    control: str | None
    """The matched control: the flags of the pre-trained arms, random weights."""
    arms: dict[str, Arm]
    figures: dict[str, Any] = field(default_factory=dict)
    """name -> keywords of Report.figure"""
    authors: dict[str, str] = field(default_factory=dict)
    """arm -> label in the authors' logs, where not the usual one"""
    ratios: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Of an artefact with ``data_ratios``: name of an arm -> the arm that it repeats, and its share of the data."""

    @property
    def is_table(self) -> bool:
        """Whether it is shown as a table, not only as figures."""
        return not self.name.startswith("figure")


def artefact_names() -> list[str]:
    """Names of all descriptions in params/, in the paper's order."""
    names = (path.stem for path in PARAMS.glob("*.yaml") if path.stem != "presets")
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def load_artefact(name: str) -> Artefact:
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
    try:
        arm_keys = algorithm(fields["algorithm"]).arm_keys | {"length"}
    except ValueError as error:
        raise ParameterError(f"{where}: {error}") from error
    for arm, settings in fields["arms"].items():
        unknown = set(settings) - arm_keys
        if unknown:
            raise ParameterError(f"{where}, arm {arm!r}: unknown {sorted(unknown)}")
    ratios = {
        f"{arm} @ {ratio}": (arm, float(ratio)) for ratio in fields.pop("data_ratios", ()) for arm in fields["arms"]
    }
    if ratios:
        fields["arms"] = {
            label: fields["arms"][arm] | ({} if ratio == 1 else {"data_ratio": ratio})
            for label, (arm, ratio) in ratios.items()
        }
    for special in ("baseline", "control"):
        if fields[special] is not None and fields[special] not in fields["arms"]:
            raise ParameterError(f"{where}: {special} {fields[special]!r} is not among its arms")
    return Artefact(name=name, ratios=ratios, **fields)


def _read_description(name: str) -> dict[str, Any]:
    fields = yaml.safe_load((PARAMS / f"{name}.yaml").read_text())
    parent = fields.pop("like", None)
    return _read_description(parent) | fields if parent else fields


def artefacts_of(algorithm: str) -> list[Artefact]:
    """All artefacts of one algorithm, in the paper's order."""
    artefacts = map(load_artefact, artefact_names())
    return [artefact for artefact in artefacts if artefact.algorithm == algorithm]


def pretraining_updates(artefact: Artefact, arm: str) -> int:
    """Pre-training updates behind an arm at the paper's size: what its curves are shifted by."""
    settings = artefact.arms[arm]
    if settings.get("pretraining") == "none":
        return 0
    return settings.get("pretraining_updates", algorithm(artefact.algorithm).pretraining_updates(settings))


def presets() -> dict[str, dict[str, Settings]]:
    """All presets, in file order (smallest first)."""
    return yaml.safe_load((PARAMS / "presets.yaml").read_text())


def can_train(preset: str, algorithm_name: str) -> bool:
    """Whether ``preset`` gives the algorithm a size."""
    return algorithm(algorithm_name).name in presets()[preset]


def load_preset(name: str, algorithm_name: str) -> Settings:
    """The settings of one algorithm under one preset, checked; ParameterError when unknown."""
    from synthlib.tasks import DATASETS  # imports NumPy, which a help text need not wait for

    known, chosen = presets(), algorithm(algorithm_name)
    if name not in known:
        raise ParameterError(f"no preset called {name!r}; there are: {', '.join(known)}")
    if chosen.name not in known[name]:
        able = [preset for preset in known if chosen.name in known[preset]]
        raise ParameterError(f"preset {name!r} has no size for {chosen.name!r}; these have: {', '.join(able)}")
    settings = dict(known[name][chosen.name])
    _check_keys(settings, _PRESET_KEYS | chosen.preset_keys, f"preset {name!r}")
    if settings["datasets"] == "all":
        settings["datasets"] = list(DATASETS)
    unknown = set(settings["datasets"]) - set(DATASETS)
    if unknown:
        raise ParameterError(f"preset {name!r}: no data set called {sorted(unknown)}; there are: {', '.join(DATASETS)}")
    if isinstance(settings["seeds"], dict) and set(settings["seeds"]) != set(settings["datasets"]):
        raise ParameterError(f"preset {name!r}: seeds must be one number, or one for each of {settings['datasets']}")
    for dataset in settings["datasets"]:
        _check_seeds(_seeds_entry(settings, dataset), chosen.seeds, f"preset {name!r}")
    return settings


def left_out(artefact: Artefact, settings: Settings) -> list[str]:
    """The arms that a preset's ``settings`` do without: those pre-trained on text, where it has ``text: none``."""
    without_text = settings.get("text") == "none"
    return [arm for arm, of_arm in artefact.arms.items() if without_text and "text" in of_arm]


def number_of_seeds(settings: Settings, dataset: str) -> int:
    """How many seeds a preset's ``settings`` give each arm on ``dataset``: data sets may differ in what they need."""
    entry = _seeds_entry(settings, dataset)
    return len(entry) if isinstance(entry, list) else entry


def seeds_of(settings: Settings, dataset: str, known: Sequence[int]) -> Sequence[int]:
    """The seeds themselves: the first ones of ``known``, or those that the preset lists."""
    entry = _seeds_entry(settings, dataset)
    return entry if isinstance(entry, list) else known[:entry]


def _seeds_entry(settings: Settings, dataset: str) -> int | list[int]:
    return settings["seeds"][dataset] if isinstance(settings["seeds"], dict) else settings["seeds"]


def _check_seeds(entry: int | list[int], known: Sequence[int], where: str) -> None:
    if isinstance(entry, list):
        if not entry or len(set(entry)) < len(entry) or set(entry) - set(known):
            raise ParameterError(f"{where}: seeds must be different ones of {', '.join(map(str, known))}, not {entry}")
    elif not 1 <= entry <= len(known):
        raise ParameterError(f"{where}: seeds must be 1 to {len(known)}, not {entry}")


def _check_keys(
    fields: dict[str, Any],
    known: set[str] | frozenset[str],
    where: str,
    optional: set[str] | frozenset[str] = frozenset(),
) -> None:
    unknown, missing = set(fields) - known - optional, known - set(fields)
    if unknown:
        raise ParameterError(f"{where}: unknown {sorted(unknown)}; known: {', '.join(sorted(known | optional))}")
    if missing:
        raise ParameterError(f"{where}: missing {sorted(missing)}")
