"""The loops that advance, save and resume a training.

:func:`pretrain` keeps the weights after given numbers of updates. :func:`finetune` evaluates at regular intervals. Both
save a checkpoint about every :data:`CHECKPOINT_SECONDS`. A resumed training equals a training that never stopped.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from synthlib.runs.job import Pretraining, Report, Run, StackableRun, Training, UpdateAll, one_by_one

if TYPE_CHECKING:
    from synthlib.runs.session import Session
    from synthlib.runs.store import Store

CHECKPOINT_SECONDS = 60


def train(training: Training, sessions: Sequence["Session"], store: "Store", report: Report) -> None:
    """Train the jobs of ``sessions``, all of the kind of ``training``, to their full length.

    Several fine-tuning runs must differ only in their seed. They are trained as one computation.
    """
    runs = [training.start(session.job, store) for session in sessions]
    if training.weights is not None:
        for run, session in zip(runs, sessions, strict=True):
            pretrain(run, partial(training.weights, run), session, report, training.stride)
    else:
        finetune(runs, sessions, report, training.update_all if len(runs) > 1 else one_by_one)


def scaled_checkpoints(updates: int, checkpoints: Sequence[int], scale: float) -> tuple[int, tuple[int, ...]]:
    """The scaled length of a pre-training, and the numbers of updates after which its weights are kept.

    ``updates`` and ``checkpoints`` are the numbers at the paper's size; ``scale`` multiplies them. The second result
    has the scaled length itself and the scaled checkpoints before it, in increasing order. A pre-training stays one at
    every scale: it has at least one update, unless ``updates`` is 0.
    """
    last = max(round(updates * scale), min(updates, 1))
    passed = {round(checkpoint * scale) for checkpoint in checkpoints}
    return last, tuple(sorted({last} | {checkpoint for checkpoint in passed if checkpoint < last}))


def pretrain(
    training: Pretraining,
    weights: Callable[[], dict[str, Any]],
    session: "Session",
    report: Report | None,
    stride: int,
) -> None:
    """Train up to each number of updates in ``session.job.keep``, and keep ``weights()`` there.

    Between two of them, the loop checks every ``stride`` updates whether it is time to save. When kept weights from
    before the checkpoint are missing, they are trained again from the start; the checkpoint stays. Later weights are
    trained from the checkpoint.
    """
    saved = session.resume()
    missing = [updates for updates in session.job.keep if not session.has_weights(updates)]
    if session.must_save and not saved:  # the rows were damaged, and nothing is left that has them
        missing = sorted({*missing, session.job.updates})
    longest = saved["updates"] if saved else -1
    last_save = time.monotonic()

    def save() -> None:
        state = {"training": training.state_dict(), "updates": training.updates}
        session.save(state, training.updates, losses=training.losses)

    for stop in missing:
        if saved and training.updates < longest <= stop:
            training.load_state_dict(saved["training"])
            session.stopwatch.restart()  # what was trained again is no part of the saved updates' time
        while training.updates < stop:
            training.run(min(training.updates + stride, stop), report)
            if time.monotonic() - last_save > CHECKPOINT_SECONDS and longest < training.updates < stop:
                save()
                last_save = time.monotonic()
        if stop >= longest:  # also where they are equal: an earlier process may have been killed while it saved
            save()
        session.save_weights(stop, weights())
    if session.must_save and saved:  # a damaged file of rows is made again from the checkpoint
        training.load_state_dict(saved["training"])
        session.stopwatch.restart()
        save()


def finetune(
    runs: Sequence[Run], sessions: Sequence["Session"], report: Report | None, update_all: UpdateAll = one_by_one
) -> None:
    """Restore ``runs``, then train them to the length of their jobs; they are evaluated every ``every`` updates."""
    for run, session in zip(runs, sessions, strict=True):
        run.restore(session.resume())
    update, first, until = update_all(runs), runs[0], sessions[0].job.updates
    for session in sessions:
        session.stopwatch.shared_by = len(sessions)
    last_save = time.monotonic()

    def save() -> None:
        for run, session in zip(runs, sessions, strict=True):
            session.save(run.state(), run.updates, run.evaluations, run.losses)

    while first.updates < until:
        update()
        evaluated = first.updates % first.every == 0
        if evaluated:
            with contextlib.ExitStack() as timed:
                for session in sessions:
                    timed.enter_context(session.stopwatch.evaluating())
                for run in runs:
                    run.evaluate()
        if evaluated or time.monotonic() - last_save > CHECKPOINT_SECONDS:
            save()
            last_save = time.monotonic()
        if report is not None and first.updates % 10 == 0:
            report(first.updates)
    save()


def batched(stack_of: Callable[[Sequence[Any]], Any]) -> UpdateAll:
    """A function for :attr:`Training.update_all` that updates several runs as one computation.

    ``stack_of(runs)`` returns an object that holds the stacked runs (:mod:`synthlib.kernels.stacking`). Its ``update``
    takes one list per argument of an update, each with the values that the runs drew. It returns a list with the value
    that each run logs. Raises ValueError when the runs have not made equally many updates. A FloatingPointError of one
    run stops all of them; its message names the seed.
    """

    def update_all(runs: Sequence[StackableRun]) -> Callable[[], None]:
        if len({run.updates for run in runs}) > 1:  # a run whose checkpoint cannot be read starts again from 0
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
