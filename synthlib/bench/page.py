"""The files of ``make bench``: a CSV table, a page in Markdown, and a bar chart with its description."""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from synthlib.kernels.memory import Footprint, megabytes
from synthlib.machine.files import write_text

OURS_COLOUR, OTHERS_COLOUR, MARK_COLOUR = "#0173b2", "#949494", "#1a1a1a"


def summary(rows: pd.DataFrame) -> str:
    """The result of :func:`synthlib.bench.measure.measure` in one line of text."""
    ours = rows.iloc[0]
    reference = rows[rows["is_reference"]].iloc[0]
    others = ", ".join(f"{row.ratio:.3g}x {row.contestant}" for row in rows.iloc[1:].itertuples())
    floor = f", {ours['of_floor']:.2f} of the limit of torch's products" if np.isfinite(ours["of_floor"]) else ""
    goal = f"; must {_goal(reference, 'must')}, aim {_goal(reference, 'aim')}: {reference['verdict']}"
    return f"{ours['line']}: {_rate(ours)}; faster than: {others}{floor}{goal if reference['verdict'] else ''}"


def cores_summary(cores: dict[str, Any]) -> str:
    """The result of :func:`synthlib.bench.cores.measure` in sentences."""
    sentences = []
    for count, found in cores["processes"].items():
        memory = (
            ""
            if found["private_mb"] is None
            else (f", {found['private_mb']:.0f} MB of its own and {found['shared_mb']:.0f} MB shared each")
        )
        processes = "1 process" if count == "1" else f"{count} processes"
        sentences.append(f"{processes}: {found['updates_per_second']:.1f} CQL updates per second together{memory}.")
    sentences.append(
        f"A second process makes it {cores['scaling']:.2f} times as many. A run's first update comes "
        f"{cores['start_seconds']:.1f} s after its process is started ({cores['start_cpu_seconds']:.1f} s of processor "
        "time; goal: under 3 s)."
    )
    return "\n".join(sentences)


def memory_sentence(name: str, found: dict[str, float]) -> str:
    """The memory of one run of a column in a sentence: from the shapes, and as measured on the card."""
    shapes, measured = megabytes(found["from_shapes"]), megabytes(found["measured"])
    parts = ", ".join(f"{part} {megabytes(found[part])}" for part in Footprint._fields)
    return f"* {name}: {shapes} from the shapes ({parts}), {measured} measured."


def write(folder: Path, rows: pd.DataFrame, machine: dict[str, Any], cores: dict[str, Any] | None) -> None:
    """Write ``bench.csv``, ``bench.md`` and ``bench.png`` to ``folder``."""
    rows.to_csv(folder / "bench.csv", index=False, float_format="%.6g")
    figure, description = picture(rows)
    figure.savefig(folder / "bench.png", dpi=110, metadata={"Description": description})
    plt.close(figure)
    write_text(folder / "bench.md", page(rows, machine, cores, description))


def _turns(rows: pd.DataFrame) -> str:
    if rows["turns"].max() == 1:
        return "one turn each (`--quick`), so nothing is known of their spread"
    return "the median over turns; the quartiles in brackets"


def page(rows: pd.DataFrame, machine: dict[str, Any], cores: dict[str, Any] | None, description: str) -> str:
    """The page in Markdown: the table, the machine on which it was measured, and how to read it."""
    lines = [
        "# How fast",
        "",
        f"Made by `{machine['command']}` on {machine['date']}: {machine['processor']} ({machine['instructions']}), "
        f"{machine['cores']} cores, networks on {machine['device']}, torch {machine['torch']}, {machine['threads']} "
        f"thread, products by {machine['products']}, load {machine['load']} at the start.",
        *machine.get("left_out", []),
        "",
        f"![{description}](bench.png)",
        "",
        f"Times faster than each peer, {_turns(rows)}. *Limit*: the least time that "
        "the necessary matrix products take at the rate of torch's own product, over our time; above 1 where ours "
        "are quicker than torch's. Contestants called a limit do only a part of the work, which no version can do "
        "without.",
        "",
        "| work | ours | faster than | limit | must | aim | reached |",
        "|---|---|---|---|---|---|---|",
    ]
    for _, of_line in rows.groupby("line", sort=False):
        ours = of_line.iloc[0]
        reference = of_line[of_line["is_reference"]].iloc[0]
        peers = "<br>".join(
            f"{'**' if row.is_reference else ''}{row.ratio:.3g}x{'**' if row.is_reference else ''} {row.contestant}"
            + (f" ({row.ratio_low:.3g} to {row.ratio_high:.3g})" if row.turns > 1 else "")
            for row in of_line.iloc[1:].itertuples()
        )
        floor = f"{ours['of_floor']:.2f}" if np.isfinite(ours["of_floor"]) else ""
        goals = f"{_goal(reference, 'must')} | {_goal(reference, 'aim')} | {reference['verdict']}"
        goals = goals if reference["verdict"] else " | | "
        lines.append(f"| {ours['title']} | {_rate(ours)} | {peers} | {floor} | {goals} |")
    if memory := machine.get("memory_of_a_run"):
        lines += ["", "## Memory of one more run in a column", "", *map(memory_sentence, memory, memory.values())]
    if cores is not None:
        lines += ["", "## More than one core", "", cores_summary(cores)]
    return "\n".join(lines) + "\n"


def _goal(reference: pd.Series, name: str) -> str:
    share = reference[f"{name}_of_floor"]
    return f"{reference[name]:.3g}x" + (f" and limit {share:.2f}" if np.isfinite(share) else "")


def picture(rows: pd.DataFrame) -> tuple[Figure, str]:
    """(figure, description): one bar per peer, and marks for the goals at the peers to which they refer."""
    peers = rows[rows["contestant"] != rows.groupby("line")["contestant"].transform("first")]
    figure, axis = plt.subplots(figsize=(9, 0.32 * len(peers) + 1.2), layout="constrained")
    places = np.arange(len(peers))[::-1]
    colours = [OURS_COLOUR if reference else OTHERS_COLOUR for reference in peers["is_reference"]]
    axis.barh(places, peers["ratio"], color=colours, height=0.7)
    spread = [peers["ratio"] - peers["ratio_low"], peers["ratio_high"] - peers["ratio"]]
    axis.errorbar(peers["ratio"], places, xerr=spread, fmt="none", ecolor="black", linewidth=1)
    marked = peers["is_reference"].to_numpy()
    for goal, marker in (("must", "|"), ("aim", "D")):
        axis.scatter(
            peers[goal][marked],
            places[marked],
            marker=marker,
            s=90 if marker == "|" else 25,
            facecolors="none" if marker == "D" else MARK_COLOUR,
            edgecolors=MARK_COLOUR if marker == "D" else None,
            label=goal,
            zorder=3,
        )
    axis.set_yticks(places, [f"{row.title} / {row.contestant}" for row in peers.itertuples()], fontsize=7)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xscale("log")
    with_goals = bool(peers[["must", "aim"]].notna().any(axis=None))
    axis.set_xlabel("times faster than this peer" + ("; goals are for the blue bars" if with_goals else ""))
    axis.margins(y=0.01)
    if with_goals:
        axis.legend(loc="lower right", fontsize=8)
    judged = peers[marked]
    words = [f"{row.title}: {row.ratio:.3g} times faster ({row.verdict or 'no goal'})" for row in judged.itertuples()]
    return figure, textwrap.shorten("Bars of how many times faster ours is. " + "; ".join(words) + ".", 2000)


def _rate(ours: pd.Series) -> str:
    """Our speed in words: milliseconds per unit, or units per second when a unit takes less than a millisecond."""
    seconds = ours["seconds"]
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.3g} ms per {ours['unit']}"
    first, *rest = ours["unit"].split(" ")  # "update of one run" in the plural: updates of one run
    return f"{1 / seconds:,.0f} {' '.join([first + 's', *rest])} per second"
