"""Every claim of the paper beside what each set of runs says about it.

:func:`synthlib.report.claims.judge` judges a claim by any evidence: the paper's own print, the authors' runs, or our
runs. Ours may be on replica data, because a claim asks for the comparison between arms only. A second judgement puts
each arm's matched control in the place of the published baseline. No place is empty: where runs cannot bear on a claim,
the board says why.
"""

import contextlib
import html
import json
from pathlib import Path

import pandas as pd

from synthlib.machine.files import write_text
from synthlib.paper import paper_claims
from synthlib.paths import store_root
from synthlib.report.claims import judge
from synthlib.report.data_page import page_folder
from synthlib.report.evidence import Evidence, finished, of_authors, printed, with_controls
from synthlib.report.figures import save_figure, verdict_board
from synthlib.report.judgements import REASONS, Judgement
from synthlib.report.sources import open_runs
from synthlib.report.verdicts import (
    AMONG_BEST,
    ANSWERS,
    AVERAGE_MARGIN,
    CELL_MARGIN,
    FAILS,
    HOLDS,
    MEANINGS,
)
from synthlib.runs.store import Store
from synthlib.study.params import load_artefact
from synthlib.study.plan import make_plan
from synthlib.study.presets import can_train, presets

_FILE = "scoreboard.json"


def board_columns(ours: Evidence, authors: Evidence, label: str) -> dict[str, Evidence]:
    """The five columns of the published board, for :func:`scoreboard`; ``label`` says what our runs are."""
    return {
        "as printed": printed(),
        "authors' logs": authors,
        "authors' logs, matched control": with_controls(authors),
        f"our runs ({label})": ours,
        "our runs, matched control": with_controls(ours),
    }


class Board:
    """All claims by all columns: the words, and behind each word its numbers.

    ``judgements``: {column: {id of a claim: its judgement}}.
    """

    def __init__(self, judgements: dict[str, dict[str, Judgement]]) -> None:
        self.judgements = judgements
        self._claims = {claim["id"]: claim for claim in paper_claims()}

    @property
    def words(self) -> pd.DataFrame:
        """A word or a reason per claim (rows) and column."""
        return pd.DataFrame(
            {title: {one: found.word for one, found in column.items()} for title, column in self._items}
        )

    @property
    def frame(self) -> pd.DataFrame:
        """``claim, section``, and per column a word and its numbers (``<column>: numbers``), one row per claim."""
        claims = self._claims.values()
        columns = {
            "claim": [" ".join(claim["says"].split()) for claim in claims],
            "section": [claim["section"] for claim in claims],
        }
        for title, column in self._items:
            columns[title] = [column[one].word for one in self._claims]
            columns[f"{title}: numbers"] = [column[one].detail for one in self._claims]
        return pd.DataFrame(columns, index=list(self._claims))

    @property
    def _items(self) -> list[tuple[str, dict[str, Judgement]]]:
        return list(self.judgements.items())

    def legend(self) -> list[str]:
        """What the words and reasons on this board mean, one line each."""
        there = set(self.words.to_numpy().ravel())
        lines = [f"{word}: {MEANINGS[word]}." for word in (HOLDS, AMONG_BEST, FAILS)]
        lines.append(
            f"Numbers of a comparison have the words of the pages behind them. Margin: {AVERAGE_MARGIN} points in an "
            f"average, {CELL_MARGIN:g} on one data set."
        )
        return lines + [f"{word}: {why}." for word, why in REASONS.items() if word in there]

    def text(self) -> str:
        """What the terminal shows: the words, one line per claim, and what the reasons mean."""
        return "\n".join([self.words.to_string(), "", *self.legend()]) + "\n"

    def counts(self) -> pd.DataFrame:
        """How often each word stands in each column."""
        counts = self.words.apply(lambda words: words.value_counts()).fillna(0).astype(int)
        return counts.reindex(
            [word for word in [*reversed(ANSWERS), *REASONS] if word in counts.index]
        ).drop_duplicates()

    def html(self) -> str:
        """The board as an HTML table: under each word its numbers."""
        head = "".join(f"<th scope='col'>{html.escape(title)}</th>" for title in ("claim", "section", *self.judgements))
        rows = []
        for one, claim in self._claims.items():
            words = "".join(_html_cell(column[one]) for _, column in self._items)
            notes = "".join(f"<br><small>{html.escape(claim[name])}</small>" for name in ("note",) if name in claim)
            says = html.escape(" ".join(claim["says"].split())) + notes
            rows.append(
                f"<tr><th scope='row' style='text-align: left'>{says}</th><td>{claim['section']}</td>{words}</tr>"
            )
        below = "".join(f"<p><small>{html.escape(line)}</small></p>" for line in self.legend())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{below}"

    _repr_html_ = html


def scoreboard(columns: dict[str, Evidence]) -> Board:
    """The board of all claims; ``columns``: {title: evidence}."""
    claims = paper_claims()
    return Board({title: {claim["id"]: judge(claim, one) for claim in claims} for title, one in columns.items()})


def make_scoreboard(preset: str, data: str, logs: str) -> Board:
    """The published board of all finished runs: ours under ``preset`` on ``data``, the authors' in ``logs``."""
    ours = finished(open_runs("own", preset, data))
    return scoreboard(board_columns(ours, of_authors(logs), f"{preset}, {data}"))


def other_presets_with_runs(preset: str, data: str) -> str:
    """A sentence that names the presets, apart from ``preset``, with finished runs of Tables 1 and 6; "" without any.

    On a fresh clone the published runs are those of other presets than the default one.
    """
    store, done = Store(store_root()), {}
    for other in presets():
        count = 0
        for table in ("table1", "table6"):
            if can_train(other, load_artefact(table).algorithm):
                with contextlib.suppress(FileNotFoundError):  # data of the user's own that this preset wants
                    count += sum(store.is_done(cell.job) for cell in make_plan(table, other, data).cells)
        if count and other != preset:
            done[other] = count
    if not done:
        return ""
    counted = ", ".join(f"{other} {count}" for other, count in done.items())
    return f"Other presets with finished runs of Tables 1 and 6: {counted} (make scoreboard PRESET={next(iter(done))})."


def save_scoreboard(board: Board, preset: str, data: str = "replica") -> Path:
    """Write a board as text, CSV, JSON, HTML and picture; returns the folder.

    It is ``outputs/<preset>/scoreboard``, with the data in the name unless the data source is the replica.
    """
    folder = page_folder("scoreboard", preset, data)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "scoreboard.txt", board.text())
    write_text(folder / "scoreboard.csv", board.frame.to_csv(index_label="id"))
    write_text(folder / _FILE, json.dumps(board.judgements, indent=1) + "\n")
    page = "<!doctype html><meta charset='utf-8'><title>scoreboard</title>"
    write_text(folder / "scoreboard.html", page + board.html())
    save_figure(*verdict_board(board.words), folder / "scoreboard")
    return folder


def saved_scoreboard(folder: Path) -> Board:
    """The board that :func:`save_scoreboard` has written to ``folder``."""
    columns = json.loads((folder / _FILE).read_text())
    return Board(
        {title: {one: Judgement(*found) for one, found in column.items()} for title, column in columns.items()}
    )


def _html_cell(found: Judgement) -> str:
    detail = f"<br><small>{html.escape(found.detail)}</small>" if found.detail else ""
    return f"<td style='vertical-align: top'><b>{html.escape(found.word)}</b>{detail}</td>"
