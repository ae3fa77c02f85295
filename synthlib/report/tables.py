"""How tables of a report are laid out: as text, HTML and LaTeX. No number is computed here."""

import html
from collections.abc import Collection, Iterable

import pandas as pd

from synthlib.report.verdicts import MINIMUM_SEEDS, SCORE_MARGIN, Margin
from synthlib.tasks import DATASETS


def wide(cells: pd.DataFrame, arms: Iterable[str], datasets: int, ours: str = "ours", digits: int = 1) -> pd.DataFrame:
    """Rows data sets in the order of ``cells``: ours, 95 %, the paper's, CORL's and the difference; columns arms.

    ``datasets`` is the number of data sets in our average row; ``ours`` names the first line. A line that is empty for
    every arm of a data set is left out. "-" stands where an arm has no value.
    """
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for cell in cells.itertuples():
        paper = "paper, 12 data sets" if cell.is_average and datasets != len(DATASETS) else "paper"
        lines = {
            ours: f"{_plus_minus(cell.mean, cell.std, digits)} ({cell.n:.0f})",
            "95 %": _interval(cell.low, cell.high),
            paper: _plus_minus(cell.paper_mean, cell.paper_std),
            "paper (printed)": _plus_minus(cell.paper_printed),
            "CORL": _plus_minus(cell.corl_mean, cell.corl_std),
            "difference": "-" if pd.isna(cell.difference) else f"{cell.difference:+z.{digits}f}",
            "its 95 %": _interval(cell.difference_low, cell.difference_high, "+"),
        }
        for line, text in lines.items():
            rows.setdefault((cell.dataset, line), {})[cell.arm] = text
    filled = {row: texts for row, texts in rows.items() if set(texts.values()) != {"-"}}
    return pd.DataFrame.from_dict(filled, orient="index").reindex(columns=arms).astype(object).fillna("-")


def comparison_text(comparisons: pd.DataFrame, margin: Margin = SCORE_MARGIN) -> pd.DataFrame:
    """The average rows of a report's comparisons, one line per pair of arms; ``margin``: of the metric."""
    rows = {}
    for row in comparisons[comparisons["is_average"]].to_dict(orient="records"):
        # An interval of two runs says nothing: the bootstrap would even call it certain.
        enough = min(row["n"], row["baseline_n"]) >= MINIMUM_SEEDS
        seeds = row.get("seeds")
        rows[row["arm"], f"against {row['baseline']}"] = {
            "difference": f"{row['difference']:+.1f}"
            + (f" {_interval(row['low'], row['high'], '+')}" if enough else ""),
            "P(improvement)": f"{row['improvement']:.2f}"
            + (f" [{row['improvement_low']:.2f}, {row['improvement_high']:.2f}]" if enough else ""),
            "verdict": row["verdict"],
            f"seeds to find {margin.average:g} {margin.unit}": "-"
            if seeds is None or pd.isna(seeds)
            else f"{seeds:.0f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def overall_text(overall: pd.DataFrame) -> pd.DataFrame:
    """Mean and interquartile mean per arm, with their intervals."""
    rows = {
        arm: {
            "mean over data sets": f"{row['mean']:.1f} {_interval(row['low'], row['high'])}".removesuffix(" -"),
            "interquartile mean": f"{row['iqm']:.1f} {_interval(row['iqm_low'], row['iqm_high'])}".removesuffix(" -"),
        }
        for arm, row in overall.iterrows()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def html_table(table: pd.DataFrame, caption: str, notes: Iterable[str] = ()) -> str:
    """A :func:`wide` table as HTML: one row per data set, the lines of a cell below each other."""
    head = "".join(f"<th scope='col'>{html.escape(arm)}</th>" for arm in table.columns)
    body = []
    for dataset in dict.fromkeys(table.index.get_level_values(0)):
        lines = table.loc[dataset]
        values = "".join(f"<td style='vertical-align: top'>{_html_cell(lines[arm])}</td>" for arm in lines.columns)
        body.append(f"<tr><th scope='row'>{html.escape(dataset)}</th>{values}</tr>")
    below = "".join(f"<p><strong>{html.escape(line)}</strong></p>" for line in notes)
    return (
        f"<table><caption>{html.escape(caption)} Small type: 95 % interval of our mean, the paper's cell, difference."
        f"</caption><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{below}"
    )


def html_frame(frame: pd.DataFrame, caption: str) -> str:
    """A small table of text as HTML."""
    shown = frame.to_html(border=0, justify="left")
    return shown.replace(">", f"><caption>{html.escape(caption)}</caption>", 1)


def html_rows(columns: Iterable[str], rows: Iterable[Iterable[str]], caption: str, marked: Collection[int] = ()) -> str:
    """A table of words as HTML, aligned on the left; the first cell of each row is its heading.

    ``rows`` are HTML already, ``columns`` and ``caption`` plain text. ``marked`` are the numbers of rows to emphasise.
    """
    style = "text-align: left; vertical-align: top"
    head = "".join(f"<th scope='col' style='{style}'>{html.escape(column)}</th>" for column in columns)
    body = []
    for number, (heading, *cells) in enumerate(rows):
        colour = " style='background: rgba(230, 159, 0, 0.15)'" if number in marked else ""
        values = "".join(f"<td style='{style}'>{cell}</td>" for cell in cells)
        body.append(f"<tr{colour}><th scope='row' style='{style}'>{heading}</th>{values}</tr>")
    return (
        f"<table><caption style='{style}'>{html.escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def latex_table(table: pd.DataFrame, caption: str) -> str:
    """A :func:`wide` table as LaTeX for the package booktabs."""
    shown = table.map(_latex)
    shown.columns = [_latex(arm) for arm in table.columns]
    first = table.index[0][1]
    shown.index = [_latex(dataset) if line == first else rf"\quad {_latex(line)}" for dataset, line in table.index]
    return shown.to_latex(caption=_latex(caption), column_format="l" + "r" * len(shown.columns))


def span(values: pd.Series) -> str:
    """The least and the greatest of whole numbers, as text: "600", or "2-5"."""
    low, high = values.min(), values.max()
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _html_cell(lines: pd.Series) -> str:
    others = [line if name == "95 %" else f"{name} {line}" for name, line in lines.iloc[1:].items() if line != "-"]
    return "<br>".join([html.escape(lines.iloc[0]), *(f"<small>{html.escape(line)}</small>" for line in others)])


def _latex(text: str) -> str:
    for sign, command in (("±", r"$\pm$"), ("%", r"\%"), ("_", r"\_"), ("tau=", r"$\tau=$")):
        text = text.replace(sign, command)
    return text


def _interval(low: float, high: float, sign: str = "") -> str:
    return "-" if pd.isna(low) or pd.isna(high) else f"[{low:{sign}.1f}, {high:{sign}.1f}]"


def _plus_minus(mean: float, std: float = float("nan"), digits: int = 1) -> str:
    if pd.isna(mean):
        return "-"
    return f"{mean:.{digits}f}" if pd.isna(std) else f"{mean:.{digits}f} ± {std:.{digits}f}"
