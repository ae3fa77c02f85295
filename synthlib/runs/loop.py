"""The loops that advance, save and resume a training.

:func:`pretrain` keeps the weights after given numbers of updates. :func:`finetune` evaluates at regular intervals. Both
save a checkpoint about every :data:`CHECKPOINT_SECONDS`. A resumed training equals a training that never stopped.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from synthlib.runs.groups import Group, GroupOf, Pretrainings
from synthlib.runs.job import Pretraining, Report, Run, Training

if TYPE_CHECKING:
    from synthlib.runs.session import Session
    from synthlib.runs.store import Store

CHECKPOINT_SECONDS = 60


class OutOfTime(BaseException):
    """Raised by a report when a command's time is over: the training is saved and ends. Not an error."""


def train(training: Training, sessions: Sequence["Session"], store: "Store", report: Report) -> None:
    """Train the jobs of ``sessions``, all of the kind of ``training``, to their full length.

    Several runs must be alike (:attr:`Training.alike`). They are trained as one computation.
    """
    runs = [training.start(session.job, store) for session in sessions]
    if training.weights is not None:
        pretrain(runs, training.weights, sessions, report, training.stride, training.together or Pretrainings)
    else:
        finetune(runs, sessions, report, training.together if training.together and len(runs) > 1 else Group)


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
    trainings: Sequence[Pretraining],
    weights: Callable[[Any], dict[str, Any]],
    sessions: Sequence["Session"],
    report: Report | None,
    stride: int,
    together: Callable[[Sequence[Any]], Pretrainings] = Pretrainings,
) -> None:
    """Train up to each number of updates in a session's ``job.keep``, and keep ``weights(training)`` there.

    Between two of them, the loop checks every ``stride`` updates whether it is time to save. When kept weights from
    before the checkpoint are missing, they are trained again from the start; the checkpoint stays. Later weights are
    trained from the checkpoint. Trainings that are equally far and lack the same weights are trained ``together``.
    """
    groups: dict[tuple[Any, ...], list[_Resumed]] = {}
    for training, session in zip(trainings, sessions, strict=True):
        saved = session.resume()
        missing = [updates for updates in session.job.keep if not session.has_weights(updates)]
        if session.must_save and not saved:  # the rows were damaged, and nothing is left that has them
            missing = sorted({*missing, session.job.updates})
        plan = saved["updates"] if saved else -1, *missing
        groups.setdefault(plan, []).append(_Resumed(training, session, saved))
    for (longest, *missing), members in groups.items():
        _pretrain_group(members, longest, missing, weights, report, stride, together)


class _Resumed(NamedTuple):
    """A pre-training before its first update, with the checkpoint that it can go on from."""

    training: Pretraining
    session: "Session"
    saved: dict[str, Any] | None

    def load(self) -> None:
        """Go on from the checkpoint."""
        assert self.saved is not None
        self.training.load_state_dict(self.saved["training"])
        self.session.stopwatch.restart()  # what was trained again is no part of the saved updates' time

    def save(self) -> None:
        """Save a checkpoint."""
        state = {"training": self.training.state_dict(), "updates": self.training.updates}
        self.session.save(state, self.training.updates, losses=self.training.losses)


def _pretrain_group(
    members: Sequence[_Resumed],
    longest: int,
    missing: Sequence[int],
    weights: Callable[[Any], dict[str, Any]],
    report: Report | None,
    stride: int,
    together: Callable[[Sequence[Any]], Pretrainings],
) -> None:
    """Train ``members``, whose checkpoints have ``longest`` updates (-1: there is none), to each of ``missing``."""
    group: Pretrainings | None = None
    updates = members[0].training.updates
    last_save = time.monotonic()
    for member in members:
        member.session.stopwatch.shared_by = len(members)

    def save() -> None:
        if group is not None:
            group.settle()
        for member in members:
            member.save()

    for stop in missing:
        if updates < longest <= stop:
            for member in members:
                member.load()
            updates, group = longest, None
        while updates < stop:
            group = group or together([member.training for member in members])
            try:
                group.run(min(updates + stride, stop), report)
            except OutOfTime:
                if longest < group.updates:
                    save()
                raise
            updates = group.updates
            if time.monotonic() - last_save > CHECKPOINT_SECONDS and longest < updates < stop:
                save()
                last_save = time.monotonic()
        if stop >= longest:  # also where they are equal: an earlier process may have been killed while it saved
            save()
        elif group is not None:
            group.settle()
        for member in members:
            member.session.save_weights(stop, weights(member.training))
    for member in members:
        if member.session.must_save and member.saved:  # a damaged file of rows is made again from the checkpoint
            member.load()
            member.save()


def finetune(
    runs: Sequence[Run], sessions: Sequence["Session"], report: Report | None, together: GroupOf = Group
) -> None:
    """Restore ``runs``, then train them to the length of their jobs; they are evaluated every ``every`` updates."""
    for run, session in zip(runs, sessions, strict=True):
        run.restore(session.resume())
    group = together(runs)
    try:
        _train_group(group, sessions, report)
    finally:
        group.close()


def _train_group(group: Group, sessions: Sequence["Session"], report: Report | None) -> None:
    updates, every, until = group.runs[0].updates, group.runs[0].every, sessions[0].job.updates
    for session in sessions:
        session.stopwatch.shared_by = len(sessions)
    last_save = time.monotonic()

    def save() -> None:
        group.settle()
        group.collect()
        for run, session in zip(group.runs, sessions, strict=True):
            session.save(run.state(), run.updates, run.evaluations, run.losses)

    try:
        while updates < until:
            group.update()
            updates += 1
            evaluated = updates % every == 0
            if evaluated:
                group.settle()
                with contextlib.ExitStack() as timed:
                    for session in sessions:
                        timed.enter_context(session.stopwatch.evaluating())
                    group.evaluate()
            if (evaluated and not group.evaluates_beside) or time.monotonic() - last_save > CHECKPOINT_SECONDS:
                save()
                last_save = time.monotonic()
            if report is not None and updates % 10 == 0:
                report(updates)
    except OutOfTime:
        save()
        raise
    save()
