"""The losses that the pre-trainings of a plan logged: their curves, and where they ended."""

import math

import pandas as pd

from synthlib.paths import store_root
from synthlib.report.curves import Curves
from synthlib.report.figures import Drawing
from synthlib.runs.store import Store
from synthlib.study.algorithms import training
from synthlib.study.plan import Plan


def pretraining_curves(plan: Plan) -> Drawing:
    """(figure, alt text) of the pre-training losses; RuntimeError when no pre-training was long enough to log one."""
    losses = pretraining_losses(plan)
    arms = [arm for arm in plan.artefact.arms if arm in set(losses["arm"])]
    return Curves(losses, arms, values=["loss"], smoothing=1, xlabel="pre-training updates").draw()


def pretraining_losses(plan: Plan) -> pd.DataFrame:
    """The logged losses: ``updates, loss, arm, dataset, seed, key``, one row per log line of a pre-training.

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
            frames.append(rows[["updates"]].assign(loss=loss, arm=cell.arm, dataset=scale, seed=0, key=job.key))
    if not frames:
        raise RuntimeError("no pre-training of this plan is long enough to have logged a loss")
    return pd.concat(frames).dropna().drop_duplicates(["key", "updates", "dataset"])


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
