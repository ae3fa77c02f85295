"""The page of the settings (Tables 9, 10, 15, 16, 17): printed, executed by the authors, and run here, line by line.

The first two come from ``paper/hyperparameters.csv``, the third from our code (:mod:`synthlib.report.our_settings`).
Whether they differ is computed, never written down: :func:`mark` compares the three texts by their words and numbers.
"""

import html
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from synthlib.machine.files import write_text
from synthlib.paper import paper_hyperparameters
from synthlib.report.contradictions import (
    Contradiction,
    all_contradictions,
    as_html,
    as_text,
    contradictions_of,
    frame,
)
from synthlib.report.our_settings import ARTEFACTS, DEFAULT_ARMS, our_settings
from synthlib.report.tables import html_rows
from synthlib.study.algorithms import algorithm
from synthlib.study.pages import load_page
from synthlib.study.params import load_artefact
from synthlib.study.presets import can_train

NUMBERS = (9, 10, 15, 16, 17)
PAPER = "paper"
"""The preset with the paper's sizes."""
_MARKS = (
    "all agree",
    "ours as executed, not as printed",
    "ours as printed, not as executed",
    "ours differs",
    "all three differ",
)
AGREE, AS_EXECUTED, AS_PRINTED, OURS_ALONE, THREE_WAYS = _MARKS
_WIDTH = 110  # of text, in characters
_LEGEND = "One value: printed, executed by the authors and ours are equal. Else each of them, and a mark."
_TOKEN = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?k?(?![a-z\d])|[a-z]+", re.IGNORECASE)
_REMARKS = {"default"}  # words that are no part of a value


@dataclass(frozen=True)
class Line:
    """One line of a table of settings; every value is a text in the notation of the paper."""

    name: str
    printed: str
    executed: str
    """What the authors' programs did."""
    ours: str
    """What our trainings do in preset ``paper``."""
    here: str | None
    """What they do in the reader's preset; None where that preset does not train this algorithm."""
    note: str
    """What the authors' programs add to the printed line."""
    items: str
    """Items of faithfulness.md, such as "2.4, 2.5"."""
    contradictions: tuple[int, ...]

    @property
    def mark(self) -> str:
        """Which of printed, executed and ours are equal."""
        return mark(self.printed, self.executed, self.ours)

    @property
    def is_other_here(self) -> bool:
        """Whether the reader's preset departs from preset ``paper``."""
        return self.here is not None and not same(self.here, self.ours)

    @property
    def see(self) -> str:
        """Where to read more: numbers of contradictions and of items of faithfulness.md."""
        word = "contradiction" if len(self.contradictions) == 1 else "contradictions"
        numbers = f"{word} {', '.join(map(str, self.contradictions))}" if self.contradictions else ""
        return "; ".join(filter(None, [numbers, self.items and f"faithfulness {self.items}"]))


def _counted(lines: Sequence[Line]) -> str:
    counts = Counter(line.mark for line in lines)
    return f"{len(lines)} lines: " + "; ".join(f"{counts[words]} {words}" for words in _MARKS if counts[words])


def mark(printed: str, executed: str, ours: str) -> str:
    """Which of three values are equal, in words."""
    if same(printed, executed):
        return AGREE if same(printed, ours) else OURS_ALONE
    if same(executed, ours):
        return AS_EXECUTED
    return AS_PRINTED if same(printed, ours) else THREE_WAYS


def same(first: str, second: str) -> bool:
    """Whether two texts have the same words and numbers in the same order: "3e-4" is "0.0003", "100K" is "100000"."""
    return _words(first) == _words(second)


def _words(text: str) -> list[str | float]:
    return [_word(token) for token in _TOKEN.findall(text.lower()) if token not in _REMARKS]


def _word(token: str) -> str | float:
    if token[-1].isalpha() and not token[0].isalpha():  # 100k
        return 1000 * float(token[:-1])
    return token if token[0].isalpha() else float(token)


@dataclass(frozen=True)
class SettingsTable:
    """One of the five tables, with our values in preset ``paper`` and in the reader's ``preset``."""

    number: int
    preset: str

    @cached_property
    def lines(self) -> list[Line]:
        """The lines in printed order. Raises KeyError when our code answers for other lines than are printed."""
        printed = paper_hyperparameters(self.number)
        ours = our_settings(self.number, PAPER)
        here = our_settings(self.number, self.preset) if self.is_trained else {}
        if set(ours) != set(printed["name"]):
            raise KeyError(f"Table {self.number}: {sorted(set(ours) ^ set(printed['name']))} is on one side only")
        numbers = {name: tuple(c.number for c in self.contradictions if name in c.lines(self.number)) for name in ours}
        return [
            Line(
                name=row.name,
                printed=row.printed,
                executed=row.executed or row.printed,
                ours=ours[row.name],
                here=here.get(row.name),
                note=row.note,
                items=row.source,
                contradictions=numbers[row.name],
            )
            for row in printed.itertuples(index=False)
        ]

    @cached_property
    def contradictions(self) -> list[Contradiction]:
        """Those that concern this table, as a whole or one of its lines."""
        return contradictions_of(self.number)

    @property
    def is_trained(self) -> bool:
        """Whether the reader's preset trains what the table is about."""
        if self.number not in ARTEFACTS:
            return True
        return can_train(self.preset, load_artefact(ARTEFACTS[self.number]).algorithm)

    def caption(self) -> str:
        """What the table is, and which trainings have our values."""
        words = f"Table {self.number}: {load_page(f'table{self.number}').title}."
        if self.number in ARTEFACTS:
            name = ARTEFACTS[self.number]
            arms = f"arm {DEFAULT_ARMS[self.number]}" if self.number in DEFAULT_ARMS else "the paper's arms"
            words += f" Ours: preset paper, {arms} of params/{name}.yaml, read from the code."
        else:
            words += " Ours: read from synthlib/tasks.py; the same in every preset."
        if not self.is_trained:
            able = algorithm(load_artefact(ARTEFACTS[self.number]).algorithm).name
            words += f" Preset {self.preset} has no size for {able}."
        return words

    def summary(self) -> str:
        """How many lines have which mark."""
        return _counted(self.lines)

    def frame(self) -> pd.DataFrame:
        """The lines as rows, all text: for a CSV file."""
        rows = [
            {"table": self.number, "line": line.name, "printed": line.printed, "executed": line.executed}
            | {"ours (paper)": line.ours}
            | ({} if self.preset == PAPER else {f"ours ({self.preset})": line.here or ""})
            | {"mark": line.mark, "note": line.note}
            | {"contradictions": ", ".join(map(str, line.contradictions)), "faithfulness": line.items}
            for line in self.lines
        ]
        return pd.DataFrame(rows)

    def text(self) -> str:
        """The table for a terminal."""
        head, summary = (textwrap.fill(words, _WIDTH) for words in (self.caption(), self.summary()))
        lines = "\n".join(map(self._text, self.lines))
        below = f"{self._above_contradictions()}:\n{as_text(self.contradictions, _WIDTH)}"
        return f"{head}\n{_LEGEND}\n\n{lines}\n\n{summary}\n\n{below}"

    def _above_contradictions(self) -> str:
        return f"Contradictions that concern Table {self.number}, of {len(all_contradictions())} in all"

    def _text(self, line: Line) -> str:
        """A line as text: only the printed value where all agree, else a row for each value."""
        agree = line.mark == AGREE
        three = {"printed": line.printed, "executed": line.executed, "ours": line.ours}
        values = {"": line.printed} if agree else three
        if line.is_other_here:
            values[self.preset] = line.here or ""
        values |= {"note": line.note} if line.note else {}
        values |= {} if agree else {"=>": f"{line.mark} ({line.see})" if line.see else line.mark}
        rows = []
        for number, (name, value) in enumerate(values.items()):
            start = f"  {line.name if number == 0 else '':<46}{name:<10}"
            rows.append(textwrap.fill(value, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start)))
        return "\n".join(rows)

    def html(self) -> str:
        """The table for a page."""
        other = [] if self.preset == PAPER else [f"ours, preset {self.preset}"]
        columns = ["setting", "printed", "executed by the authors", "ours, preset paper", *other, "mark", "see"]
        marked = [number for number, line in enumerate(self.lines) if line.mark != AGREE]
        rows = [self._html(line, bool(other)) for line in self.lines]
        below = f"<p><strong>{html.escape(self.summary())}.</strong></p>"
        return (
            html_rows(columns, rows, self.caption(), marked)
            + below
            + as_html(self.contradictions, self._above_contradictions())
        )

    def _html(self, line: Line, other: bool) -> list[str]:
        executed = "as printed" if line.executed == line.printed else line.executed
        cells = [line.name, line.printed, executed, line.ours]
        if other:
            cells.append("-" if line.here is None else line.here if line.is_other_here else "as in paper")
        cells = [*map(html.escape, [*cells, line.mark, line.see])]
        if line.note:
            cells[2] += f"<br><small>{html.escape(line.note)}</small>"
        cells[-2] = line.mark.replace(" ", "&nbsp;") if line.mark == AGREE else f"<strong>{cells[-2]}</strong>"
        return cells

    __repr__ = text
    _repr_html_ = html


def finding(tables: Sequence[SettingsTable]) -> str:
    """How the lines of all ``tables`` compare, written from the comparison."""
    found = all_contradictions()
    able = sum(one.choose is not None for one in found)
    return (
        f"Tables {', '.join(str(table.number) for table in tables)}: "
        f"{_counted([line for table in tables for line in table.lines])}. Of {len(found)} contradictions between text, "
        f"tables and programs, a reader can choose the other side of {able}."
    )


def save(tables: Iterable[SettingsTable], folder: Path) -> None:
    """Write the lines of the tables to settings.csv, and all contradictions to contradictions.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "settings.csv", pd.concat([table.frame() for table in tables]).to_csv(index=False))
    write_text(folder / "contradictions.csv", frame(all_contradictions()).to_csv(index=False))
