"""The ladder of the gain: what is left of DT's published gain when the control has the same switches (page 30).

The rungs are averages over data sets: the published baseline, the control that differs from it in the switches of
fine-tuning only, and the pre-trained arms, which have those switches as well.
"""

import pandas as pd

from synthlib.paper import matched_control, paper_seeds, paper_table
from synthlib.report.comparisons import against_baseline
from synthlib.report.figures import Drawing, finish, panels_in_a_grid
from synthlib.report.palette import COLOURS

BASELINE, CONTROL = "DT", "DT, matched"
RUNGS = {
    BASELINE: "DT: no pre-training",
    CONTROL: "switches only, random weights",
    "DT+Wiki": "pre-trained on Wikipedia",
    "IID uniform": "pre-trained on IID tokens",
    "DT+Synthetic": "pre-trained on a random chain",
}
_DIFFERENCE = ["difference", "low", "high"]


def published_cells() -> pd.DataFrame:
    """The cells of the ladder as published: ``arm, dataset, mean, std, n``, twelve data sets an arm.

    Tables 1 and 4 as printed, and the control that the authors ran and did not print, from their logs (faithfulness
    0.4a; 20 fine-tuning seeds).
    """
    tables = {1: ("DT", "DT+Wiki", "DT+Synthetic"), 4: ("IID uniform",)}
    parts = [
        paper_table(number).query("arm == @arm and not is_average").assign(n=paper_seeds(number, arm))
        for number, arms in tables.items()
        for arm in arms
    ]
    control = matched_control().query("arm == @CONTROL and metric == 'final'").assign(n=20)
    return pd.concat([*parts, control], ignore_index=True)[["arm", "dataset", "mean", "std", "n"]]


def rungs(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per arm of :data:`RUNGS` that is in ``cells``, in that order: ``says, mean`` and its differences.

    ``cells``: ``arm, dataset, mean, std, n``, without average rows; :func:`published_cells`, or a report's. The columns
    ``gain, gain_low, gain_high`` are the difference from the published baseline with its 95 % interval over fine-tuning
    seeds, ``kept, kept_low, kept_high`` the difference from the control. They are NaN in the row of the arm itself.

    Raises ValueError when the baseline or the control has no cell.
    """
    there = [arm for arm in RUNGS if arm in set(cells["arm"])]
    frame = pd.DataFrame({"says": {arm: RUNGS[arm] for arm in there}})
    frame["mean"] = cells.groupby("arm")["mean"].mean().reindex(there)
    for name, baseline in {"gain": BASELINE, "kept": CONTROL}.items():
        table = against_baseline(cells, baseline, [arm for arm in there if arm != baseline])
        averages = table[table["is_average"]].set_index("arm")[_DIFFERENCE]
        frame[[name, f"{name}_low", f"{name}_high"]] = averages.reindex(there)
    return frame


def ladder(frame: pd.DataFrame, whose: str = "the authors' runs on D4RL") -> Drawing:
    """(figure, alt text) of :func:`rungs`: a bar per arm from the baseline on, cut where the control stands.

    ``whose``: half a sentence that says whose runs these are.
    """
    base, control = frame.loc[BASELINE, "mean"], frame.loc[CONTROL, "mean"]
    top = base + frame["gain_high"].max()
    figure, (axis,) = panels_in_a_grid(1, width=8.5)
    words = []
    for place, row in enumerate(frame.itertuples()):
        mean, shown = float(row.mean), [f"{row.mean:.1f}"]
        if row.Index != BASELINE:
            axis.barh(place, min(control, mean) - base, left=base, height=0.55, color="0.78")
            spread = [[row.gain - row.gain_low], [row.gain_high - row.gain]]
            axis.errorbar(mean, place, xerr=spread, color="0.2", capsize=3)
            shown[0] += f": {_signed(row.gain, row.gain_low, row.gain_high)} over DT"
        if row.Index not in (BASELINE, CONTROL):
            style = (
                {"color": COLOURS[0]} if mean > control else {"color": "white", "edgecolor": COLOURS[3], "hatch": "//"}
            )
            axis.barh(place, mean - control, left=control, height=0.3, **style)
            shown.append(f"{_signed(row.kept, row.kept_low, row.kept_high)} over switches only")
        axis.text(top + 0.4, place, ",\n".join(shown), va="center", fontsize=9)
        words.append(f"{row.says} {', '.join(shown)}")
    axis.axvline(base, color="0.3", linewidth=1)
    axis.axvline(control, color=COLOURS[0], linestyle="--", linewidth=1)
    axis.set_yticks(range(len(frame)), frame["says"])
    axis.set_ylim(len(frame) - 0.5, -0.5)
    axis.set_xlim(base - 0.5, top + 5.5)
    axis.set_xticks([tick for tick in axis.get_xticks() if base - 0.5 <= tick <= top])
    axis.set_xlabel("normalised score, mean over data sets", loc="left")
    axis.set_title("What is left of the gain", fontsize=11, loc="left")
    note = (
        "Grey: what the switches of fine-tuning give by themselves. Blue: what pre-training adds; hatched: what is "
        f"missing. Whiskers: 95 % interval of the difference from DT over fine-tuning seeds; {whose}."
    )
    finish(figure, [], note)
    return figure, f"The ladder of the gain. {'; '.join(words)}. {note}"


def finding(frame: pd.DataFrame) -> str:
    """What the ladder says, in one sentence written from its numbers: how much of the best arm's gain is left."""
    best = frame.drop(index=[BASELINE, CONTROL])["mean"].idxmax()
    row, switches = frame.loc[best], frame.loc[CONTROL]
    gain, kept, of_switches = (
        f"{one[name]:.1f} [{one[f'{name}_low']:.1f}, {one[f'{name}_high']:.1f}]"
        for one, name in ((row, "gain"), (row, "kept"), (switches, "gain"))
    )
    return (
        f"{best} is {gain} points above DT, and {kept} above {CONTROL}, which has its switches and random weights and "
        f"is itself {of_switches} above DT: {row['kept'] / row['gain']:.0%} of the gain is left to pre-training itself."
    )


def _signed(difference: float, low: float, high: float) -> str:
    return f"{difference:+.1f} [{low:+.1f}, {high:+.1f}]"
