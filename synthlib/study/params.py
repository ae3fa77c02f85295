"""Reading and checking params/: the arms of each table or figure, and the size of a run under each preset.

``params/<artefact>.yaml`` describes a table or figure (an artefact), ``params/presets.yaml`` the sizes. Further tables
may lie in a folder of the user's own, which the environment variable ``SYNTHLIB_PARAMS`` names. Reading them needs
neither PyTorch nor pandas nor MuJoCo. Every arm may have these keys:

    length: x                 fine-tuned for x times the preset's updates
    data_ratio: x             fine-tuned on this share of the data
    seeds: n                  with the first n of the preset's seeds only
    seeds: [n, m, ...]        with these seeds in place of the preset's, as many of them as the preset has

An artefact may have ``seeds`` too, for all arms that give none, and ``datasets`` in place of the preset's.

Each algorithm adds keys of its own (synthlib/cql/algorithm.py, synthlib/dt/algorithm.py).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synthlib.paths import NOTEBOOKS, PARAMS, ROOT, absolute, description_of, own_params
from synthlib.runs.settings import integer, list_of
from synthlib.study.algorithms import ALGORITHMS, algorithm
from synthlib.study.checks import (
    ARM,
    ARTEFACT,
    DATA_PAGE,
    EXPECT,
    FINAL_EVALUATIONS,
    OPTIONAL,
    PRESET,
    check,
    check_figure,
    read_yaml,
)
from synthlib.study.checks import ParameterError as ParameterError  # here it is looked for

Arm = dict[str, Any]
"""The settings of one arm, which is a column of a table."""
ANY_TABLE = "40_any_table.ipynb"
"""The page of an artefact that names none: it shows any table."""
_OF_ITS_ARMS = ("authors", "controls", "data_ratios", "equal_totals", "figures", "notebook", "paper_table", "title")
Settings = dict[str, Any]
"""The settings of one algorithm under one preset."""


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
    seeds: int | list[int] | None = None
    """For arms that give none: see the module's docstring"""
    datasets: tuple[str, ...] = ()
    """In place of the preset's; empty without ``datasets`` in the description"""
    counting: str = "from_one"
    """Of metric updates: "from_one", or "as_table_13", which counts evaluations from 0 and a run that never gets there
    as 0 (faithfulness 6.8)"""
    q_values: bool = False
    """Whether the Q values that CQL logged are shown beside the cap of safe Q"""
    seeds_on_parts: int | None = None
    """On a part of the data the first seeds only, so many; None: all"""
    equal_totals: tuple[tuple[str, ...], ...] = ()
    """Groups of arms that have equally many updates in all, pre-training included, in the paper"""

    @property
    def is_table(self) -> bool:
        """Whether the artefact is shown as a table, not only as figures."""
        return not self.name.startswith("figure")

    @property
    def is_printed(self) -> bool:
        """Whether the paper has this table or figure; the other artefacts are additions of this project."""
        return self.paper_table is not None or not self.is_table

    def control_of(self, arm: str) -> str | None:
        """The matched control of ``arm``: what its pre-training starts from, with zero pre-training updates."""
        return self.controls.get(arm, self.control)

    def seeds_of_arm(self, arm: str, offered: Sequence[int]) -> Sequence[int]:
        """The seeds with which ``arm`` is trained on a data set, where a preset offers the seeds ``offered``."""
        wanted = self.arms[arm].get("seeds", self.seeds)
        seeds = wanted[: len(offered)] if isinstance(wanted, list) else offered[:wanted]
        return seeds[: self.seeds_on_parts] if self.arms[arm].get("data_ratio", 1) != 1 else seeds


def artefact_names() -> list[str]:
    """Names of all artefacts in params/ and in the user's own folder, in the paper's order."""
    return in_order(_files())


def _files() -> dict[str, Path]:
    """{name of an artefact: its file}. Raises ParameterError for a missing folder, and for a name that is taken."""
    files = {path.stem: path for path in PARAMS.glob("*.yaml") if path.stem != "presets"}
    if (folder := own_params()) is None:
        return files
    if not folder.is_dir():
        raise ParameterError(f"SYNTHLIB_PARAMS: there is no folder {folder}")
    own = {path.stem: path for path in folder.glob("[!.]*.yaml") if path.stem != "presets"}
    if taken := sorted(own.keys() & files.keys()):
        raise ParameterError(f"{own[taken[0]]}: there is a {taken[0]} in params/ already; choose another name")
    return files | own


def in_order(names: Iterable[str]) -> list[str]:
    """The names sorted as text, but numbers in them as numbers: table9 before table10."""
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def load_artefact(name: str) -> Artefact:
    """The artefact that ``params/<name>.yaml`` describes. Raises ParameterError for an unknown name, key or value.

    ``like: <other>`` takes the fields that this description does not give from the description of another artefact.
    With ``more_arms`` its arms are those of the other artefact and these; with ``arms`` of its own it needs a title.
    ``data_ratios: [...]`` repeats every arm with each share of the data, under the name "<arm> @ <share>".
    """
    if name not in artefact_names():
        raise ParameterError(f"no table called {name!r}; there are: {', '.join(artefact_names())}")
    where = description_of(name)
    fields = {"notebook": ANY_TABLE} | _read_description(name)
    check(fields, ARTEFACT | OPTIONAL, where, ARTEFACT)
    try:
        trained = algorithm(fields["algorithm"])
    except ValueError as error:
        raise ParameterError(f"{where}: {error}") from error
    for arm, settings in fields["arms"].items():
        if not isinstance(arm, str):
            raise ParameterError(f"{where}: the name of an arm must be a text; put {arm!r} in quotes")
        check(settings, {**ARM, **trained.arm_keys}, f"{where}, arm {arm!r}")
        if "seeds" in settings:
            _check_seeds(settings["seeds"], trained.seeds, f"{where}, arm {arm!r}")
    if "seeds" in fields:
        _check_seeds(fields["seeds"], trained.seeds, where)
    ratios = {
        f"{arm} @ {ratio}": (arm, float(ratio)) for ratio in fields.pop("data_ratios", ()) for arm in fields["arms"]
    }
    _check_relations(fields, where)
    fields["datasets"] = tuple(fields.get("datasets", ()))
    fields["equal_totals"] = tuple(map(tuple, fields.get("equal_totals", ())))
    if ratios:
        fields["arms"] = {
            label: fields["arms"][arm] | ({} if ratio == 1 else {"data_ratio": ratio})
            for label, (arm, ratio) in ratios.items()
        }
    return Artefact(name=name, ratios=ratios, **fields)


def _check_relations(fields: dict[str, Any], where: str) -> None:
    """Raise ParameterError for a name in a description that is nowhere: of an arm, or of the notebook."""
    arms = fields["arms"]
    for special in ("baseline", "control"):
        if fields[special] is not None and fields[special] not in arms:
            raise ParameterError(f"{where}: {special} {fields[special]!r} is not among its arms")
    if fields["baseline"] is None and fields["metric"] in ("updates", "loss"):
        raise ParameterError(f"{where}: baseline must be an arm, not null: metric {fields['metric']} is relative to it")
    if fields.get("q_values") and fields["algorithm"] != "cql":
        raise ParameterError(f"{where}: only cql logs Q values, not {fields['algorithm']}; leave q_values out")
    if "counting" in fields and fields["metric"] != "updates":
        raise ParameterError(
            f"{where}: counting is for metric updates, not for metric {fields['metric']}; leave it out"
        )
    if absent := sorted({*(named := fields.get("controls", {})), *named.values()} - set(arms)):
        raise ParameterError(f"{where}: controls names {', '.join(map(repr, absent))}, not among its arms")
    if absent := [arm for arm in fields.get("authors", {}) if arm not in arms]:
        raise ParameterError(f"{where}: authors names {absent[0]!r}, which is not among its arms")
    if absent := [arm for group in fields.get("equal_totals", []) for arm in group if arm not in arms]:
        raise ParameterError(f"{where}: equal_totals names {absent[0]!r}, which is not among its arms")
    for figure, description in fields.get("figures", {}).items():
        check_figure(description, arms, f"{where}, figure {figure}")
    if not (NOTEBOOKS / fields["notebook"]).is_file():
        there = ", ".join(sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
        raise ParameterError(f"{where}: there is no notebook {fields['notebook']!r}; there are: {there}")


def _read_description(name: str, children: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a description, with those that it takes over with ``like``."""
    fields = read_yaml(_files()[name])
    if "like" not in fields:
        return fields
    parent, where = fields.pop("like"), description_of(name)
    if parent not in artefact_names():
        raise ParameterError(f"{where}: like must be one of {', '.join(artefact_names())}, not {parent!r}")
    if parent in (name, *children):
        raise ParameterError(f"{where}: like {parent!r} goes round in a circle")
    taken = _read_description(parent, (name, *children))
    if "more_arms" in fields:
        if not isinstance(fields["more_arms"], dict):
            raise ParameterError(f"{where}: more_arms must be a mapping of arms")
        if "arms" in fields:
            raise ParameterError(f"{where}: arms replaces the arms of {parent}, more_arms adds to them; give one")
        fields |= {"arms": taken["arms"] | fields.pop("more_arms"), "notebook": fields.get("notebook", ANY_TABLE)}
    elif "arms" in fields:  # then what names the other's arms, its page or its place in the paper means nothing here
        taken = {key: value for key, value in taken.items() if key not in _OF_ITS_ARMS}
        fields = {"paper_table": None, "notebook": ANY_TABLE} | fields
    return taken | fields


def is_own_table(name: str) -> bool:
    """Whether the description ``name`` lies in the user's own folder."""
    return _files()[name].parent != PARAMS


def written_in(name: str) -> dict[str, Any]:
    """What stands in the description ``name`` itself, without what it takes over with ``like``.

    It is {} for a file of the user's own folder that holds no mapping: only a command that names such a file minds it.
    """
    try:
        return read_yaml(_files()[name])
    except ParameterError:
        if is_own_table(name):
            return {}
        raise


def pretraining_updates(artefact: Artefact, arm: str) -> int:
    """Pre-training updates of an arm at the paper's size. The arm's curves are shifted by this number."""
    settings = artefact.arms[arm]
    if settings.get("pretraining") == "none":
        return 0
    return settings.get("pretraining_updates", algorithm(artefact.algorithm).pretraining_updates(settings))


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
        _check_seeds(_seeds_entry(settings, dataset), chosen.seeds, where)
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


def _check_seeds(entry: Any, known: Sequence[int], where: str) -> None:
    if isinstance(entry, list):
        if not list_of(integer(0)).fits(entry) or set(entry) - set(known):
            raise ParameterError(f"{where}: seeds must be different ones of {', '.join(map(str, known))}, not {entry}")
    elif not integer(1, len(known)).fits(entry):
        raise ParameterError(f"{where}: seeds must be 1 to {len(known)}, not {entry!r}")
