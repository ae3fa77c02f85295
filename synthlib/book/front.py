"""The front page: the finding in five sentences, the ladder, the scoreboard, and the map of the paper.

Every number on it is computed here, from the authors' runs or from the published ones of this project. The ladder
belongs to the repository as well (settings/ladder.png); ``python -m synthlib.book.front`` draws it again.
"""

import html
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from synthlib.book.contents import FOLDER, pages
from synthlib.paths import outputs
from synthlib.report.figures import save_figure
from synthlib.report.files import short
from synthlib.report.ladder import RUNGS, ladder, published_cells, rungs
from synthlib.report.paired import paired_effects
from synthlib.report.pretraining_spread import effect
from synthlib.report.report import Report
from synthlib.report.scoreboard import saved_scoreboard
from synthlib.report.sources import open_runs
from synthlib.report.start_page import printed_name
from synthlib.study.contents import our_own, sections, title_and_notebook
from synthlib.web.page import made_line

CONTROL, IID_CONTROL = "DT, matched", "DT, matched (IID side)"
PRESET, START_PRESET = "evening", "early"  # of our published runs


def front_page(folder: Path) -> str:
    """The front page in MyST's Markdown; its pictures are written into ``folder``."""
    authors = open_runs("authors").report("matched_control")
    cql = open_runs("own", PRESET).report("cql_start")
    start = open_runs("own", START_PRESET).report("dt_start")
    again = [open_runs("own", PRESET).report(f"{name}_pretraining_seeds") for name in ("dt", "cql")]
    figure, words = ladder(rungs(published_cells()))
    save_figure(figure, words, folder / "ladder")
    board = saved_scoreboard(outputs() / PRESET / "scoreboard")
    return "\n".join(
        [
            "# Does synthetic pre-training help offline RL?",
            "",
            "Wang, Wang, Dong and Ross (ICLR 2024, [arXiv 2310.00771](https://arxiv.org/abs/2310.00771)) report that "
            "offline RL gets better when its networks are first trained on random, meaningless sequences. This book "
            "tests that, and shows every number with the runs behind it.",
            "",
            "## The finding",
            "",
            *(f"{number}. {sentence}" for number, sentence in enumerate(finding(authors, cql, start, *again), 1)),
            "",
            "Numbers in brackets are 95 % intervals over fine-tuning seeds, n is the number of seeds, and a point is a "
            "hundredth of an expert's score.",
            "",
            "## The ladder",
            "",
            f"![{short(words)}](ladder.png)",
            "",
            f"{words} The page [The matched control](30_matched_control.ipynb) has the table.",
            "",
            "## The scoreboard",
            "",
            "How many of the paper's claims hold, by whose runs. [Every claim with its numbers](99_scoreboard.ipynb).",
            "",
            _table(board.counts().reset_index(names="")),
            "",
            "## The map of the paper",
            "",
            _table(paper_map()),
            "",
            "## Questions of our own",
            "",
            _table(_rows("", our_own()).drop(columns="section")),
            "",
            made_line(),
            "",
        ]
    )


def finding(authors: Report, cql: Report, start: Report, dt_again: Report, cql_again: Report) -> list[str]:
    """Five sentences, written from the numbers.

    ``authors``: the matched control of the authors' runs; ``cql`` and ``start``: how CQL and DT start; ``dt_again`` and
    ``cql_again``: early losses of DT and scores of CQL from several pre-trainings.
    """
    mean = authors.averages.set_index("arm")["mean"]
    n = f"n = {_seeds(authors, RUNGS)} on each of {authors.scores['dataset'].nunique()} data sets"
    chain, switches = _difference(authors, "DT+Synthetic", "DT"), _difference(authors, CONTROL, "DT")
    own = {
        "the chain": _difference(authors, "DT+Synthetic", CONTROL),
        "IID tokens": _difference(authors, "IID uniform", IID_CONTROL),
        "Wikipedia": _difference(authors, "DT+Wiki", CONTROL),
    }
    told = [name for name, row in own.items() if row["low"] > 0 or row["high"] < 0]
    worth = ", ".join(f"{_interval(row)} with {name}" for name, row in own.items())
    mdp, iid = _difference(cql, "S=100", "CQL, matched"), _difference(cql, "CQL+IID", "CQL, matched")
    data, updates = cql.scores["dataset"].iloc[0], int(cql.scores["updates"].max())
    beginning = paired_effects(start, {"DT+Synthetic": [CONTROL]}).reset_index().iloc[0]
    early = int(dt_again.runs.evaluations["updates"].max())
    losses, scores = (
        effect(*compared).rename({"mean": "difference"})
        for compared in ((dt_again, "DT+Synthetic", CONTROL), (cql_again, "S=100", "CQL, matched"))
    )
    return [
        f"In the authors' own runs ({n}), pre-training the Decision Transformer on a random Markov chain raises the "
        f"mean score from {mean['DT']:.1f} to {mean['DT+Synthetic']:.1f}: {_interval(chain)} points.",
        "The pre-trained arms were fine-tuned with other switches as well: with these switches and random weights, in "
        f"the matched control, the mean is {mean[CONTROL]:.1f} already, {_interval(switches)}, which is "
        f"{switches['difference'] / chain['difference']:.0%} of the gain without any pre-training.",
        f"Against the matched control, pre-training itself is worth {worth}; the interval leaves out zero for "
        f"{' and '.join(told) or 'none of them'}.",
        "In our own runs on replica data, pre-training brings the rise of the curves forward, beyond the control: of "
        f"DT by {_interval(beginning)} points over its first {int(start.scores['updates'].max()):,} of "
        f"{start.runs.paper_updates or 0:,} updates ({beginning['data set']}, n = {int(beginning['n'])} pairs of "
        f"runs), of CQL by {_interval(mdp)} with a random MDP and {_interval(iid)} with IID data after {updates:,} of "
        f"{cql.runs.paper_updates or 0:,} updates ({data}, n = {_seeds(cql, cql.artefact.arms)}); how the curves end "
        "is not known yet.",
        "One pre-training stands behind each of these scores, and no interval of theirs says what another would give. "
        f"Over {scores['n']:.0f} pre-trainings of CQL's critics the difference is {_interval(scores)} points; over "
        f"{losses['n']:.0f} of the Decision Transformer, that of its training loss is {_interval(losses)} per cent of "
        f"DT's after {early:,} updates.",
    ]


def paper_map() -> pd.DataFrame:
    """Sections of the paper, what they show, and links to the pages of the book."""
    frames = [_rows(f"{one.number} {one.title}", one.shows or one.see, one.note) for one in sections()]
    return pd.concat(frames, ignore_index=True)


def _rows(heading: str, names: Iterable[str], note: str = "") -> pd.DataFrame:
    rows: list[dict[str, str]] = []
    known = {page.notebook.name for page in pages()}
    for name in names:
        title, notebook = title_and_notebook(name)
        assert notebook in known
        link = f'<a href="{Path(notebook).stem}.html">{html.escape(_shown(name))}</a>'
        rows.append({"section": "" if rows else html.escape(heading), "page": link, "what": html.escape(note or title)})
    return pd.DataFrame(rows or [{"section": html.escape(heading), "page": "", "what": html.escape(note)}])


def _shown(name: str) -> str:
    """table6 as Table 6, cql_why as CQL why: how a map calls a page."""
    words = printed_name(name).replace("_", " ").replace("cql", "CQL").replace("dt ", "DT ")
    return words[:1].upper() + words[1:]


def _difference(report: Report, arm: str, baseline: str) -> pd.Series:
    """The average row of one comparison: ``difference, low, high``."""
    rows = report.comparisons.query("is_average and arm == @arm and baseline == @baseline")
    return rows.iloc[0]


def _interval(row: pd.Series) -> str:
    return f"{row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"


def _seeds(report: Report, arms: Iterable[str]) -> str:
    """ "20", or "3 to 4" where the cells have different numbers of seeds."""
    counts = report.cells.loc[report.cells["arm"].isin(list(arms)) & ~report.cells["is_average"], "n"]
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def _table(frame: pd.DataFrame) -> str:
    """``frame``, whose cells are HTML, as a table that Markdown passes on: no empty line in it."""
    return frame.to_html(index=False, escape=False, border=0, justify="left").replace("\n", "")


if __name__ == "__main__":
    save_figure(*ladder(rungs(published_cells())), FOLDER / "ladder")
    (FOLDER / "ladder.svg").unlink()
