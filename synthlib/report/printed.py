"""Numbers of a page of the synthetic data beside the scores that the paper prints for the same data."""

import pandas as pd

from synthlib.paper import paper_table


def with_printed_average(frame: pd.DataFrame, number: int) -> pd.DataFrame:
    """``frame`` (rows named as arms of score table ``number``) with the printed average of each arm, NaN if none."""
    printed = paper_table(number)
    averages = printed[printed["is_average"]].set_index("arm")["mean"]
    return frame.assign(**{f"paper, Table {number}": averages.reindex(frame.index)})


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` to be displayed: scores to one decimal, whole numbers whole, other numbers to four decimals."""
    return pd.DataFrame({name: [_text(value, name) for value in frame[name]] for name in frame}, index=frame.index)


def _text(value: float, column: str) -> str:
    if pd.isna(value):
        return "-"
    if column.startswith("paper"):
        return f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
