"""Checks of params/: every key by its name, type and range, when it is read. So no training starts on a slip.

Each message names the file, the section, the key and the value, and says what is wanted instead.
"""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from synthlib.paths import description_of
from synthlib.runs.settings import (
    SHARE,
    Setting,
    group,
    integer,
    list_of,
    mapping_of,
    number,
    one_of,
    or_none,
    text,
    yes_or_no,
)
from synthlib.yaml_text import SafeLoader, parsed

METRICS = ("final", "best", "updates", "loss", "similarity")
FINAL_EVALUATIONS = 4  # whose mean is a run's final score; paper 3.3: after 85K, 90K, 95K and 100K updates for DT

ARTEFACT = {
    "algorithm": text(),
    "title": text(),
    "paper_table": or_none(integer(1, 29)),
    "metric": one_of(*METRICS),
    "notebook": text(),
    "baseline": or_none(text()),
    "control": or_none(text()),
    "arms": Setting("a mapping of arms", lambda value: isinstance(value, dict) and bool(value)),
}
# What seeds must be depends on the algorithm and the data sets: synthlib.study.params checks them.
_SEEDS = Setting("a number, or a list of seeds", lambda value: True)
OPTIONAL = {
    "figures": Setting("a mapping of figures", lambda value: isinstance(value, dict)),
    "authors": mapping_of(or_none(text())),
    "controls": mapping_of(text()),
    "data_ratios": list_of(SHARE),
    "datasets": list_of(text()),
    "seeds": _SEEDS,
    "seeds_on_parts": integer(1),
    "counting": one_of("from_one", "as_table_13"),
    "q_values": yes_or_no(),
    "equal_totals": list_of(list_of(text()), different=False),
}
ARM = {"length": number(above=0), "seeds": _SEEDS}
"""Keys of every arm, whatever its algorithm; they are no part of a run's identity."""
PRESET = {
    "datasets": Setting(
        "all, or a list of different data sets", lambda value: value == "all" or list_of(text()).fits(value)
    ),
    "seeds": _SEEDS,
    **dict.fromkeys(("updates", "evaluate_every", "episodes"), integer(1)),
}
EXPECT = dict.fromkeys(("time", "disk", "shows"), text())
DATA_PAGE = dict.fromkeys(("rows", "updates", "episodes"), integer(1))

_PANELS = mapping_of(mapping_of(text()))
FIGURES: dict[str, tuple[dict[str, Setting], frozenset[str]]] = {
    "curves": (
        {
            "values": list_of(one_of("score", "loss")),
            "over": one_of("average", "datasets"),
            "arms": Setting(
                "a list of arms, or a mapping of names in the figure to arms",
                lambda value: list_of(text()).fits(value) or mapping_of(text()).fits(value),
            ),
            "shift": list_of(text()),
            "until": text(),
            "rows": list_of(text()),
            "columns": list_of(text()),
            "smoothing": integer(1),
        },
        frozenset(),
    ),
    "shares": ({"shares": list_of(SHARE), "panels": _PANELS}, frozenset({"shares", "panels"})),
    "data": ({"panels": _PANELS}, frozenset({"panels"})),
    "similarity": ({}, frozenset()),
}
"""{kind of figure: (its keys, those that it must have)}; :mod:`synthlib.report.paper_figures` says what they mean."""


class ParameterError(ValueError):
    """An unknown name or value in params/ or on the command line; the message lists the known ones."""


class _UniqueKeys(SafeLoader):
    """A loader that refuses a key that stands twice; YAML itself takes the last one and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for (key, _), name in zip(node.value, keys, strict=False):
            if keys.count(name) > 1:
                raise yaml.constructor.ConstructorError(problem=f"{name!r} stands twice", problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in the description of a table. Raises ParameterError, with the line, where there is none."""
    where = description_of(path.stem)
    written = path.read_text(encoding="utf-8")
    try:
        found = parsed(written, _UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        # libyaml places what is missing at the end in a line after the last.
        line = f", line {min(mark.line + 1, len(written.splitlines()))}" if mark else ""
        raise ParameterError(f"{where}{line}: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(found, dict):
        raise ParameterError(f"{where} must hold a mapping, not {_shown(found)}")
    return found


def check(given: Any, known: Mapping[str, Setting], where: str, required: Collection[str] = ()) -> None:
    """Raise ParameterError unless ``given`` is a mapping of ``known`` keys, with all ``required``, and fitting values.

    ``where`` names the file and the section.
    """
    if not isinstance(given, dict):
        raise ParameterError(f"{where} must be {group(known).wanted}, not {_shown(given)}")
    if unknown := sorted(map(str, set(given) - set(known))):
        raise ParameterError(f"{where}: unknown {unknown}; known: {', '.join(sorted(known))}")
    if missing := sorted(set(required) - set(given)):
        raise ParameterError(f"{where}: missing {missing}")
    for key, value in given.items():
        setting = known[key]
        if not setting.fits(value):
            raise ParameterError(f"{where}: {key} must be {setting.wanted}, not {_shown(value)}")
        if setting.keys is not None:
            check(value, setting.keys, f"{where}: {key}")


def check_figure(description: Any, arms: Collection[str], where: str) -> None:
    """Raise ParameterError for a figure that cannot be drawn of an artefact with these ``arms``."""
    kind = description.get("kind") if isinstance(description, dict) else None
    if not isinstance(kind, str) or kind not in FIGURES:
        raise ParameterError(f"{where}: kind must be one of {', '.join(FIGURES)}, not {_shown(kind)}")
    keys, required = FIGURES[kind]
    check(description, {"kind": text(), "title": text(), **keys}, where, required)
    if unknown := [arm for arm in arms_shown(description, arms) if arm not in arms]:
        raise ParameterError(f"{where}: no arm {unknown[0]!r} in this table; there are: {'; '.join(arms)}")
    names = list(description.get("arms", arms))
    for key in ("shift", "until"):
        named = description.get(key, [])
        if absent := [name for name in ([named] if key == "until" and named else named) if name not in names]:
            raise ParameterError(
                f"{where}: {key} names {absent[0]!r}, which the figure does not show: {'; '.join(names)}"
            )


def arms_shown(description: Mapping[str, Any], arms: Collection[str]) -> list[str]:
    """The arms that a figure of an artefact with these ``arms`` shows: all of them, unless it names some."""
    named = description.get("arms", list(arms))
    panels = description.get("panels", {"": named if isinstance(named, dict) else {arm: arm for arm in named}})
    return list(dict.fromkeys(arm for panel in panels.values() for arm in panel.values()))


def _shown(value: Any) -> str:
    """The value as it stands in a message; with the right spelling where YAML has read a number as text."""
    if isinstance(value, str):
        try:
            spelled = format(Decimal(value), "f") if Decimal(value).is_finite() else None
        except ArithmeticError:
            spelled = None
        return f"the text {value!r}" + (f"; as a number it is written {spelled}" if spelled else "")
    return "nothing" if value is None else repr(value)


def check_seeds(entry: Any, known: Sequence[int], where: str) -> None:
    """Raise ParameterError unless ``entry`` is a number of seeds, or a list of some of the ``known`` seeds."""
    if isinstance(entry, list):
        if not list_of(integer(0)).fits(entry) or set(entry) - set(known):
            raise ParameterError(f"{where}: seeds must be different ones of {', '.join(map(str, known))}, not {entry}")
    elif not integer(1, len(known)).fits(entry):
        raise ParameterError(f"{where}: seeds must be 1 to {len(known)}, not {entry!r}")
