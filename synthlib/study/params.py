"""Reading and checking params/: the arms of each table or figure, and the size of a run under each preset.

``params/<artefact>.yaml`` describes a table or figure (an artefact), ``params/presets.yaml`` the sizes. Reading them
needs neither PyTorch nor pandas nor MuJoCo. Every arm may have these keys:

    length: x                 fine-tuned for x times the preset's updates
    data_ratio: x             fine-tuned on this share of the data

Each algorithm adds keys of its own (synthlib/cql/algorithm.py, synthlib/dt/algorithm.py).
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
_OPTIONAL_KEYS = {"like", "figures", "authors", "controls", "data_ratios"}
_PRESET_KEYS = {"datasets", "seeds", "updates", "evaluate_every", "episodes"}

Arm = dict[str, Any]
"""The settings of one arm, which is a column of a table."""
Settings = dict[str, Any]
"""The settings of one algorithm under one preset."""


class ParameterError(ValueError):
    """An unknown name or value in params/ or on the command line; the message lists the known ones."""


@dataclass(frozen=True)
class Artefact:
    """One table or figure of the paper, with its arms in printed order."""

    name: str
    algorithm: str
    """A name that :func:`synthlib.study.algorithms.algorithm` knows."""
    title: str
    paper_table: int | None
    metric: str
    """One of: final score, best score, updates (in thousands, until 90 % of the baseline's final return), loss (in per
    cent of the baseline's loss), similarity (Figure 12)."""
    notebook: str
    baseline: str | None
    control: str | None
    """The matched control: the arm with the flags of the pre-trained arms, but random weights."""
    arms: dict[str, Arm]
    controls: dict[str, str] = field(default_factory=dict)
    """{arm: its own matched control}, for arms whose pre-training starts from other random weights than ``control``"""
    figures: dict[str, Any] = field(default_factory=dict)
    """{name of a figure: keywords of Report.figure}"""
    authors: dict[str, str | None] = field(default_factory=dict)
    """{arm: its label in the authors' logs}, where the label is not the usual one; None: they have no run of it"""
    ratios: dict[str, tuple[str, float]] = field(default_factory=dict)
    """{arm: (the arm that it repeats, its share of the data)}; empty without ``data_ratios`` in the description"""

    @property
    def is_table(self) -> bool:
        """Whether the artefact is shown as a table, not only as figures."""
        return not self.name.startswith("figure")

    def control_of(self, arm: str) -> str | None:
        """The matched control of ``arm``: what its pre-training starts from, with zero pre-training updates."""
        return self.controls.get(arm, self.control)


def artefact_names() -> list[str]:
    """Names of all artefacts in params/, in the paper's order."""
    names = (path.stem for path in PARAMS.glob("*.yaml") if path.stem != "presets")
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def load_artefact(name: str) -> Artefact:
    """The artefact that ``params/<name>.yaml`` describes. Raises ParameterError for an unknown name, key or value.

    ``like: <other>`` takes the fields that this description does not give from the description of another artefact.
    ``data_ratios: [...]`` repeats every arm with each share of the data, under the name "<arm> @ <share>".
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
    if absent := sorted({*(named := fields.get("controls", {})), *named.values()} - set(fields["arms"])):
        raise ParameterError(f"{where}: controls names {', '.join(map(repr, absent))}, not among its arms")
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
    """Pre-training updates of an arm at the paper's size. The arm's curves are shifted by this number."""
    settings = artefact.arms[arm]
    if settings.get("pretraining") == "none":
        return 0
    return settings.get("pretraining_updates", algorithm(artefact.algorithm).pretraining_updates(settings))


def presets() -> dict[str, dict[str, Settings]]:
    """{preset: {algorithm: settings}} in the order of the file, smallest preset first; not checked."""
    return yaml.safe_load((PARAMS / "presets.yaml").read_text())


def can_train(preset: str, algorithm_name: str) -> bool:
    """Whether ``preset`` has settings for the algorithm."""
    return algorithm(algorithm_name).name in presets()[preset]


def load_preset(name: str, algorithm_name: str) -> Settings:
    """The settings of one algorithm under one preset, checked. Raises ParameterError for anything unknown."""
    from synthlib.tasks import DATASETS  # it imports NumPy, which a help text does not need

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
    """The arms that a preset leaves out: the arms pre-trained on text, where the preset has ``text: none``."""
    without_text = settings.get("text") == "none"
    return [name for name, arm in artefact.arms.items() if without_text and "text" in arm]


def number_of_seeds(settings: Settings, dataset: str) -> int:
    """The number of seeds that a preset's ``settings`` give each arm on ``dataset``; data sets may differ in it."""
    entry = _seeds_entry(settings, dataset)
    return len(entry) if isinstance(entry, list) else entry


def seeds_of(settings: Settings, dataset: str, known: Sequence[int]) -> Sequence[int]:
    """The seeds of each arm on ``dataset``: the first seeds of ``known``, or the seeds that the preset lists."""
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
