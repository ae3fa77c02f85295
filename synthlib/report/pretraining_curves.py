"""The losses that the pre-trainings of a plan logged: their curves, and where they ended."""

import math

import pandas as pd

from synthlib.paths import store_root
from synthlib.report.curves import Curves
from synthlib.report.figures import Drawing
from synthlib.report.guess_lines import guess_line
from synthlib.report.palette import arm_styles
from synthlib.runs.store import Store
from synthlib.study.algorithms import training
from synthlib.study.plan import Plan

_REMARK = (
    "0 is one and the same answer for every input. The short line at the right end, in the arm's colour: a perfect "
    "model of the distribution behind the data. What lies below it is memorised."
)


def pretraining_curves(plan: Plan) -> Drawing:
    """(figure, alt text) of pre-training's losses, each minus its own guess, with the floor of each where it is known.

    Raises RuntimeError when no pre-training was long enough to log a loss.
    """
    losses = pretraining_losses(plan)
    known = losses.dropna(subset="guess")
    left_out = [arm for arm in losses["arm"].unique() if arm not in set(known["arm"])]
    if known.empty:
        raise RuntimeError(f"nobody knows the guess of these pre-trainings: {', '.join(left_out)}")
    arms = [arm for arm in plan.artefact.arms if arm in set(known["arm"])]
    remarks = [_REMARK, *([f"Not drawn, for nobody knows its guess: {', '.join(left_out)}."] if left_out else [])]
    below = known.assign(loss=known["loss"] - known["guess"])
    curves = Curves(
        below, arms, values=["loss"], smoothing=1, xlabel="pre-training updates", spread=False, remarks=remarks
    )
    figure, alt = curves.draw()
    styles = arm_styles(arms)
    for axis, (_, panel) in zip(figure.axes, known.groupby("dataset", sort=False), strict=True):
        axis.axhline(0, color="0.3", linewidth=1)
        axis.set_ylabel("loss minus its own guess")
        end = panel["updates"].max()
        for arm, rows in panel.groupby("arm", sort=False):
            depth = rows["floor"].iloc[0] - rows["guess"].iloc[0]
            axis.plot([end, 1.08 * end], [depth, depth], color=styles[arm]["color"], linewidth=2)
    return figure, f"{alt} {learned_in_words(plan)}"


def pretraining_learned(plan: Plan) -> pd.DataFrame:
    """By arm and scale of the loss: ``updates, guess, end`` (the last logged loss), ``learned`` and ``to learn``.

    ``learned`` is the guess minus the end, ``to learn`` the guess minus the floor. A pre-training that learned more has
    memorised the data beyond the distribution behind them.
    """
    rows = pretraining_losses(plan)
    rows = rows.sort_values("updates").groupby(["dataset", "arm"], sort=False).last()
    order = {arm: place for place, arm in enumerate(plan.artefact.arms)}
    rows = rows.sort_index(level="arm", key=lambda arms: arms.map(order), sort_remaining=False)
    found = pd.DataFrame({"updates": rows["updates"], "guess": rows["guess"], "end": rows["loss"]})
    found["learned"] = rows["guess"] - rows["loss"]
    found["to learn"] = rows["guess"] - rows["floor"]
    return found


def learned_in_words(plan: Plan) -> str:
    """One sentence written from the numbers: which arm learned most, below its own guess, and which least."""
    learned = pretraining_learned(plan)["learned"].dropna().groupby("arm").max().sort_values()
    parts = [f"{arm} {value:.4f}" for arm, value in learned.iloc[::-1].items()]
    return f"Below its own guess each pre-training ended by, the most first: {'; '.join(parts)}."


def pretraining_losses(plan: Plan) -> pd.DataFrame:
    """The logged losses: ``updates, loss, guess, floor, arm, dataset, seed, key``, one row per log line.

    ``guess`` and ``floor`` are those of :class:`synthlib.report.guess_lines.GuessLine`.
    What the loss is, the algorithm says (``curve`` of its training). ``dataset`` names what has a scale of its own, and
    so a panel: a pair of widths (CQL) or a size of the vocabulary (DT).
    """
    store, frames = Store(store_root()), []
    for cell in plan.cells:
        for job in cell.job.requires:
            rows, curve = store.losses(job), training(job).curve
            if curve is None or rows.empty or cell.seed != plan.cells[0].seed:
                continue
            scale, loss = curve(job, rows)
            line = guess_line(job)._asdict()
            frames.append(rows[["updates"]].assign(loss=loss, **line, arm=cell.arm, dataset=scale, seed=0, key=job.key))
    if not frames:
        raise RuntimeError("no pre-training of this plan is long enough to have logged a loss")
    return pd.concat(frames).dropna(subset="loss").drop_duplicates(["key", "updates", "dataset"])


def pretraining_ends(plan: Plan) -> pd.DataFrame:
    """By arm, where GPT-2's pre-training was left: ``updates`` and ``validation_loss`` (nats per token)."""
    store, ends = Store(store_root()), {}
    for cell in plan.cells:
        for pretraining in cell.job.requires:
            updates = cell.job.config["backbone"]["updates"]
            rows = store.losses(pretraining)
            seen = rows[rows["updates"] <= updates].get("validation_loss", pd.Series(dtype=float)).dropna()
            ends[cell.arm] = {"updates": updates, "validation_loss": seen.iloc[-1] if len(seen) else math.nan}
    return pd.DataFrame.from_dict(ends, orient="index")
