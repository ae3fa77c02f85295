"""Reading and checking params/: the arms of each table or figure.

``params/<artefact>.yaml`` describes a table or figure (an artefact); the sizes are in ``params/presets.yaml``
(:mod:`synthlib.study.presets`). Further tables may lie in a folder of the user's own, which the environment variable
``SYNTHLIB_PARAMS`` names. Reading them needs neither PyTorch nor pandas nor MuJoCo. Every arm may have these keys:

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

from synthlib.paths import NOTEBOOKS, PARAMS, description_of, own_params
from synthlib.study.algorithms import algorithm
from synthlib.study.checks import (
    ARM,
    ARTEFACT,
    OPTIONAL,
    check,
    check_figure,
    check_seeds,
    read_yaml,
)
from synthlib.study.checks import ParameterError as ParameterError  # here it is looked for

Arm = dict[str, Any]
"""The settings of one arm, which is a column of a table."""
ANY_TABLE = "40_any_table.ipynb"
"""The page of an artefact that names none: it shows any table."""
_OF_ITS_ARMS = ("authors", "controls", "data_ratios", "equal_totals", "figures", "notebook", "paper_table", "title")


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
            check_seeds(settings["seeds"], trained.seeds, f"{where}, arm {arm!r}")
    if "seeds" in fields:
        check_seeds(fields["seeds"], trained.seeds, where)
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
