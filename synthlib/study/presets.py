"""Reading and checking params/presets.yaml: the size of a run under each preset.

Reading it needs neither PyTorch nor pandas nor MuJoCo.
"""

from collections.abc import Sequence
from typing import Any

from synthlib.paths import PARAMS, ROOT, absolute
from synthlib.study.algorithms import ALGORITHMS, algorithm
from synthlib.study.checks import (
    DATA_PAGE,
    EXPECT,
    FINAL_EVALUATIONS,
    PRESET,
    ParameterError,
    check,
    check_seeds,
    read_yaml,
)
from synthlib.study.params import Artefact, artefact_names, written_in

Settings = dict[str, Any]
"""The settings of one algorithm under one preset."""


def presets() -> dict[str, dict[str, Settings]]:
    """{preset: {section: settings}} in the order of the file, smallest preset first; the settings are not checked."""
    found = read_yaml(PARAMS / "presets.yaml")
    for name, sections in found.items():
        if not isinstance(name, str) or not isinstance(sections, dict):
            raise ParameterError(f"params/presets.yaml: a preset is a name and a mapping of sections, not {name!r}")
    return found


def load_sections(name: str) -> dict[str, Settings]:
    """The sections of one preset, with ``expect`` and ``data_page`` checked.

    Raises ParameterError for an unknown preset, for what does not fit, and for a section that nothing reads.
    """
    known = presets()
    if name not in known:
        raise ParameterError(f"no preset called {name!r}; there are: {', '.join(known)}")
    sections, where = known[name], f"params/presets.yaml, {name}"
    for section, keys in (("expect", EXPECT), ("data_page", DATA_PAGE)):
        if section not in sections:
            raise ParameterError(f"{where}: missing {section!r}, with {', '.join(keys)}")
        check(sections[section], keys, f"{where}, {section}", keys)
    others = set(sections) - {"expect", "data_page", *ALGORITHMS}
    if unknown := sorted(map(str, others - _own_algorithms() if others else ())):
        raise ParameterError(f"{where}: unknown sections {unknown}; known: expect, data_page, {', '.join(ALGORITHMS)}")
    return sections


def _own_algorithms() -> set[str]:
    """Names of the algorithms outside of this package that some description in params/ names."""
    written = [written_in(name).get("algorithm") for name in artefact_names()]
    named = {name for name in written if isinstance(name, str)} - set(ALGORITHMS)
    return {algorithm(name).name for name in named}


def can_train(preset: str, algorithm_name: str) -> bool:
    """Whether ``preset`` has settings for the algorithm. Raises ParameterError for an unknown preset."""
    return algorithm(algorithm_name).name in load_sections(preset)


def load_preset(name: str, algorithm_name: str) -> Settings:
    """The settings of one algorithm under one preset, checked. Raises ParameterError for anything that does not fit.

    A relative folder in ``text: path:DIR`` counts from the repository.
    """
    from synthlib.tasks import D4RL_DATASETS, DATASETS  # it imports NumPy, which a help text does not need

    sections, chosen = load_sections(name), algorithm(algorithm_name)
    if chosen.name not in sections:
        able = [preset for preset, others in presets().items() if chosen.name in others]
        raise ParameterError(f"preset {name!r} has no size for {chosen.name!r}; these have: {', '.join(able)}")
    where, known = f"params/presets.yaml, {name}, {chosen.name}", {**PRESET, **chosen.preset_keys}
    check(sections[chosen.name], known, where, known)
    settings = dict(sections[chosen.name])
    if settings["datasets"] == "all":
        settings["datasets"] = list(DATASETS)
    unknown = set(settings["datasets"]) - set(D4RL_DATASETS)
    if unknown:
        there = ", ".join(D4RL_DATASETS)
        raise ParameterError(f"{where}: no data set called {sorted(unknown)}; there are: {there}")
    if isinstance(settings["seeds"], dict) and set(settings["seeds"]) != set(settings["datasets"]):
        raise ParameterError(f"{where}: seeds must be one number, or one for each of {settings['datasets']}")
    for dataset in settings["datasets"]:
        check_seeds(_seeds_entry(settings, dataset), chosen.seeds, where)
    _check_sizes(settings, where)
    for key, value in settings.items():
        if isinstance(value, str) and value.startswith("path:"):
            settings[key] = f"path:{absolute(value.removeprefix('path:'), ROOT)}"
    return settings


def _check_sizes(settings: Settings, where: str) -> None:
    """Raise ParameterError for sizes that contradict each other."""
    updates, every = settings["updates"], settings["evaluate_every"]
    if updates % every or updates < FINAL_EVALUATIONS * every:
        raise ParameterError(
            f"{where}: updates must be a multiple of evaluate_every, and at least {FINAL_EVALUATIONS} times as large, "
            f"for the final score is the mean of the last {FINAL_EVALUATIONS} evaluations; "
            f"not updates {updates} with evaluate_every {every}"
        )
    batch, sequences = (settings.get(f"pretraining_{name}", 1) for name in ("batch_size", "sequences"))
    if batch > sequences:
        raise ParameterError(
            f"{where}: pretraining_sequences must be at least pretraining_batch_size {batch}, not {sequences}"
        )


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
