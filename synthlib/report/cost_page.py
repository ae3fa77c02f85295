"""The page of Tables 12 and 14: what the notebook prints, put together from stages, sentences and recorded times."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from synthlib.paper import paper_claims
from synthlib.report import cost_sentences, gpu_hours
from synthlib.report.authors_hours import summary
from synthlib.report.authors_logs import find_logs, read_logs
from synthlib.report.cost_sentences import Shares
from synthlib.report.cost_stages import Stage, beside_table_12, beside_table_14, machine
from synthlib.report.sources import AuthorsRuns, OwnRuns
from synthlib.study.gpu_rates import rates
from synthlib.study.totals import paper_jobs


def authors_hours_and_cells(logs: str) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """(the authors' hours, their cells of Table 11), from ``logs``. Without logs the committed hours, and no cells.

    Raises what :func:`synthlib.report.authors_logs.find_logs` and ``read_logs`` raise.
    """
    if not logs:
        return summary(None), None
    path = find_logs(logs)
    read = read_logs(path)
    return summary(read), AuthorsRuns(path, read).report("table11").cells


def own_cells(preset: str, data: str) -> pd.DataFrame | None:
    """The cells of Table 11 of our finished runs under ``preset``; None where no run is done."""
    try:
        cells = OwnRuns(preset, data, workers=1).report("table11").cells
    except (RuntimeError, ValueError):  # no run is done, or this preset has no Decision Transformer
        return None
    return cells[~cells["is_average"]]


def write_shares(rows: Shares, path: Path) -> None:
    """Write the shares as CSV, one row per sentence and source: ``claim, source, share, low, high``."""
    lines = [
        {"claim": claim, "source": source, "share": share.value, "low": share.low, "high": share.high}
        for claim, sources in rows.items()
        for source, share in sources.items()
        if share is not None
    ]
    pd.DataFrame(lines).to_csv(path, index=False)


def table_12(of: Mapping[str, Stage], logged: pd.DataFrame, rows: Shares) -> str:
    """Table 12 and the sentences on it, as text."""
    parts = [
        f"Table 12: 100,000 updates of fine-tuning. Here: {machine()}; updates timed and scaled, nothing trained.",
        beside_table_12(of, logged).to_string(),
        cost_sentences.in_words(rows),
        "\n".join(cost_sentences.cluster_term(of, logged)),
        "\n".join(cost_sentences.contradiction_26(logged)),
        cost_sentences.finding(of),
    ]
    return "\n\n".join(map(_wrapped, parts))


def table_14(of: Mapping[str, Stage]) -> str:
    """Table 14 and the sentence on it, as text."""
    (claim,) = (one for one in paper_claims() if one["id"] == "cql-pretraining-time")
    parts = [
        "Table 14: 100,000 updates of the critics' pre-training and 1,000,000 of CQL. "
        f"Here: {machine()}; updates timed and scaled, nothing trained.",
        beside_table_14(of).to_string(),
        cost_sentences.finding_on_cql(of, claim["costs"][0]["at_most"]),
    ]
    return "\n\n".join(map(_wrapped, parts))


def whole_paper(of: Mapping[str, Stage]) -> str:
    """What the whole paper takes on one GPU, and where the rates come from, as text."""
    table = gpu_hours.hours(paper_jobs(), of, rates())
    return "\n\n".join([gpu_hours.as_text(table), *map(_wrapped, gpu_hours.sentences(table))])


def _wrapped(text: str) -> str:
    """``text`` with lines that a page can show."""
    return "\n".join(textwrap.fill(line, 110) if len(line) > 110 else line for line in text.splitlines())
