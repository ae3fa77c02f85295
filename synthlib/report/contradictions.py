"""Where the paper's text, its tables and the authors' programs disagree, and what a reader can choose instead of ours.

The facts are in ``paper/contradictions.yaml``. What our code does now, and what an option would change, are read from
the jobs that preset ``paper`` plans with and without the option.
"""

import html
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import pandas as pd
import yaml

from synthlib.paper import paper_contradictions
from synthlib.report.tables import html_rows
from synthlib.study.algorithms import algorithm
from synthlib.study.checks import ARM
from synthlib.study.params import Artefact
from synthlib.study.presets import load_preset, number_of_seeds

TABLE = "table"  # in place of an algorithm: the option stands among the lines of a table, not in an arm
_DATASET = "hopper-medium"  # an option changes the jobs of every data set alike


@dataclass(frozen=True)
class Contradiction:
    """One entry of contradictions.yaml; :func:`synthlib.paper.paper_contradictions` says what its fields hold."""

    number: int
    issue: str
    evidence: str
    default: str
    option: str | None
    choose: dict[str, dict[str, Any]] | None
    concerns: dict[int, list[str]]

    @property
    def where(self) -> str:
        """The printed tables that it concerns, as text."""
        return f"Table{'s' * (len(self.concerns) > 1)} {', '.join(map(str, self.concerns))}"

    def lines(self, table: int) -> list[str]:
        """The lines of a printed table that it concerns; empty where it concerns none, or the table as a whole."""
        return self.concerns.get(table, [])

    @property
    def parameter(self) -> str:
        """What to write into params/<table>.yaml to choose the option: into an arm, or among the table's own lines.

        "" where nothing can be chosen.
        """
        if self.choose is None:
            return ""
        (arm,) = self.choose.values()
        return yaml.safe_dump(arm, default_flow_style=True, sort_keys=False, width=1000).strip()[1:-1]

    @cached_property
    def effect(self) -> dict[str, tuple[Any, Any]]:
        """{setting: (its value in our jobs, its value with the option)}, of every setting that the option changes."""
        if self.choose is None:
            return {}
        ((name, arm),) = self.choose.items()
        if name == TABLE:
            usual = {field.name: field.default for field in fields(Artefact)}
            return {key: (usual[key], value) for key, value in arm.items()}
        before, after = (_settings(name, one) for one in (self.start, arm))
        return {key: (before[key], after[key]) for key in before if before[key] != after[key]}

    @property
    def start(self) -> dict[str, Any]:
        """The settings of the arm that the option changes."""
        ((_, arm),) = (self.choose or {TABLE: {}}).items()
        return {key: arm[key] for key in ("pretraining", "text") if key in arm}

    @property
    def now(self) -> str:
        """:attr:`effect` in words."""
        return "; ".join(
            f"{key} is {_value(before)}, would be {_value(after)}" for key, (before, after) in self.effect.items()
        )


def all_contradictions() -> list[Contradiction]:
    """All of them, by number."""
    return [Contradiction(**entry) for entry in paper_contradictions()]


def contradictions_of(table: int) -> list[Contradiction]:
    """Those that concern a printed table, as a whole or one of its lines."""
    return [one for one in all_contradictions() if table in one.concerns]


def frame(contradictions: Iterable[Contradiction]) -> pd.DataFrame:
    """A row per contradiction, all text: for a CSV file."""
    rows = [
        {"number": one.number, "tables": one.where, "issue": one.issue, "evidence": one.evidence}
        | {"default": one.default, "option": one.option or "", "parameter": one.parameter, "effect": one.now}
        for one in contradictions
    ]
    return pd.DataFrame(rows)


def as_text(contradictions: Sequence[Contradiction], width: int = 110) -> str:
    """The contradictions one below the other."""
    parts = []
    for one in contradictions:
        words_of = {"evidence": one.evidence, "ours": one.default, "option": one.option, "choose": one.parameter}
        parts.append(textwrap.fill(one.issue, width, initial_indent=f"{one.number:>4}  ", subsequent_indent=" " * 6))
        for name, words in (words_of | {"now": one.now}).items():
            if words:
                start = f"      {name:<10}"
                parts.append(textwrap.fill(words, width, initial_indent=start, subsequent_indent=" " * len(start)))
    return "\n".join(parts)


def as_html(contradictions: Sequence[Contradiction], caption: str) -> str:
    """The contradictions as an HTML table, a row each."""
    rows = []
    for one in contradictions:
        option = html.escape(one.option or "nothing to choose")
        if one.parameter:
            option += f"<br><code>{html.escape(one.parameter)}</code><br><small>{html.escape(one.now)}</small>"
        cells = [html.escape(text) for text in (one.issue, one.where, one.evidence, one.default)]
        rows.append([str(one.number), *cells, option])
    return html_rows(["no.", "issue", "concerns", "evidence", "ours", "option"], rows, caption)


def _settings(name: str, arm: dict[str, Any]) -> dict[str, Any]:
    """{dotted name: value} of all that a training of ``arm`` depends on in preset ``paper``."""
    method, sizes = algorithm(name), load_preset("paper", name)
    own = {key: value for key, value in arm.items() if key not in ARM}
    job = method.job(own, _DATASET, method.seeds[0], sizes, None)
    # What it starts from stands below, once.
    found = {key: value for key, value in job.config.items() if key not in ("backbone", "critics")}
    for pretraining in job.requires:
        found |= {"pretraining": pretraining.config, "pretraining_updates": pretraining.updates}
    found["seeds"] = min(arm.get("seeds", len(method.seeds)), number_of_seeds(sizes, _DATASET))
    return dict(_flat(found))


def _flat(settings: dict[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
