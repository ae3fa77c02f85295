"""The loops that advance a training, save it and go on with it.

A pre-training passes through the numbers of updates whose weights are kept; a fine-tuning evaluates as it goes. Both
save their state at least every :data:`CHECKPOINT_SECONDS`. A training that goes on from a saved state equals a training
that never stopped.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from synthlib.runs.job import Pretraining, Report, Run, StackableRun, Training, UpdateAll, one_by_one

if TYPE_CHECKING:
    from synthlib.runs.store import Session, Store

CHECKPOINT_SECONDS = 60


def train(training: Training, sessions: Sequence["Session"], store: "Store", report: Report) -> None:
    """Train the jobs of ``sessions``, all of the kind of ``training``, to their length.

    Several jobs are fine-tunings that differ in their seed alone, and are trained as one computation.
    """
    runs = [training.start(session.job, store) for session in sessions]
    if training.weights is not None:
        for run, session in zip(runs, sessions, strict=True):
            pretrain(run, lambda run=run: training.weights(run), session, report, training.stride)
    else:
        finetune(runs, sessions, report, training.update_all if len(runs) > 1 else one_by_one)


def scaled_checkpoints(updates: int, checkpoints: Sequence[int], scale: float) -> tuple[int, tuple[int, ...]]:
    """(``updates`` scaled, what a pre-training of that length keeps: it and the scaled ``checkpoints`` before)."""
    last = round(updates * scale)
    passed = {round(checkpoint * scale) for checkpoint in checkpoints}
    return last, tuple(sorted({last} | {checkpoint for checkpoint in passed if checkpoint < last}))


def pretrain(
    training: Pretraining,
    weights: Callable[[], dict[str, Any]],
    session: "Session",
    report: Report | None,
    stride: int,
) -> None:
    """Train through ``session.job.keep``, keeping ``weights()`` at each; every ``stride`` updates it may be saved.

    Weights from before the saved state are trained again from the start. The saved state stays, and the weights after
    it are trained from there.
    """
    saved = session.resume()
    missing = [updates for updates in session.job.keep if not session.has_weights(updates)]
    longest = saved["updates"] if saved else -1
    last_save = time.monotonic()

    def save() -> None:
        state = {"training": training.state_dict(), "updates": training.updates}
        session.save(state, training.updates, losses=training.losses)

    for stop in missing:
        if training.updates < longest <= stop:
            training.load_state_dict(saved["training"])
        while training.updates < stop:
            training.run(min(training.updates + stride, stop), report)
            if time.monotonic() - last_save > CHECKPOINT_SECONDS and longest < training.updates < stop:
                save()
                last_save = time.monotonic()
        if stop >= longest:  # equal: the process may have been killed in the middle of that save
            save()
        session.save_weights(stop, weights())


def finetune(
    runs: Sequence[Run], sessions: Sequence["Session"], report: Report | None, update_all: UpdateAll = one_by_one
) -> None:
    """Restore ``runs``, then advance them to the length of their jobs, evaluating at every multiple of ``every``."""
    for run, session in zip(runs, sessions, strict=True):
        run.restore(session.resume())
    update, first, until = update_all(runs), runs[0], sessions[0].job.updates
    last_save = time.monotonic()

    def save() -> None:
        for run, session in zip(runs, sessions, strict=True):
            session.save(run.state(), run.updates, run.evaluations, run.losses)

    while first.updates < until:
        update()
        evaluated = first.updates % first.every == 0
        for run in runs if evaluated else ():
            run.evaluate()
        if evaluated or time.monotonic() - last_save > CHECKPOINT_SECONDS:
            save()
            last_save = time.monotonic()
        if first.updates % 10 == 0:
            report(first.updates)
    save()


def batched(stack_of: Callable[[Sequence[Any]], Any]) -> UpdateAll:
    """Updates several runs as one computation: ``stack_of(runs)`` is their :mod:`synthlib.kernels.stacking`.

    Its ``update`` takes a list of each argument that the runs draw, and returns a list of what each run logs.
    """

    def update_all(runs: Sequence[StackableRun]) -> Callable[[], None]:
        if len({run.updates for run in runs}) > 1:  # a checkpoint that could not be read starts again from 0
            raise ValueError("these runs are not equally far and cannot be stacked; run again without STACKED=1")
        stack = stack_of(runs)

        def update() -> None:
            drawn = zip(*(run.draw() for run in runs), strict=True)
            for run, done in zip(runs, stack.update(*drawn), strict=True):
                try:
                    run.log(done)
                except FloatingPointError as diverged:
                    seed = run.config["seed"]
                    where = f"seed {seed} of {len(runs)} stacked ones (without STACKED=1 the others go on)"
                    raise FloatingPointError(f"{where}: {diverged}") from diverged

        return update

    return update_all
