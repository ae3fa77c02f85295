"""What the trainings of CQL and of the Decision Transformer share: they advance, save and go on in the same way.

A pre-training passes through the numbers of updates whose weights are kept; a fine-tuning evaluates as it goes. Either
saves its state at least every :data:`CHECKPOINT_SECONDS`, and one that goes on equals one that never stopped.
"""

import time

from synthlib.offline.evaluation import evaluation_seed

CHECKPOINT_SECONDS = 60


def scaled_checkpoints(updates, checkpoints, scale):
    """(``updates`` scaled, what a pre-training of that length keeps: it and the scaled ``checkpoints`` before)."""
    last = round(updates * scale)
    passed = {round(checkpoint * scale) for checkpoint in checkpoints}
    return last, tuple(sorted({last} | {checkpoint for checkpoint in passed if checkpoint < last}))


def pretrain(training, weights, session, report, stride):
    """Train through ``session.job.keep``, keeping ``weights()`` at each; saves are looked at every ``stride`` updates.

    ``training`` has ``updates``, ``losses`` (rows), ``run(until, report)``, ``state_dict()`` and ``load_state_dict()``.
    Weights from before the saved state are trained again from the start; that state stays, and what comes after it goes
    on from there.
    """
    saved = session.resume()
    missing = [updates for updates in session.job.keep if not session.has_weights(updates)]
    longest = saved["updates"] if saved else -1
    last_save = time.monotonic()

    def save():
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


def finetune(run, session, report):
    """Advance ``run`` to the length of its job, evaluating at every multiple of its ``every`` updates.

    ``run`` has ``updates``, ``every``, ``evaluations`` and ``losses`` (rows), ``update()``, ``evaluate()``, ``state()``
    and ``restore(state)``.
    """
    finetune_together([run], [session], lambda runs: run.update, report)


def finetune_stack(runs, sessions, stacked, report):
    """As :func:`finetune`, for runs that differ in their seed alone, as one computation.

    A run further has ``draw()``, what its next update takes, and ``log(done)``; ``stacked(runs)`` is a
    :mod:`synthlib.kernels.stacking` of their trainings.
    """

    def updates_of(runs):
        if len({run.updates for run in runs}) > 1:  # a checkpoint that could not be read starts again from 0
            raise ValueError("these runs are not equally far and cannot be stacked; run again without STACKED=1")
        stack = stacked(runs)

        def update():
            drawn = zip(*(run.draw() for run in runs), strict=True)
            for run, done in zip(runs, stack.update(*drawn), strict=True):
                try:
                    run.log(done)
                except FloatingPointError as diverged:
                    seed = run.config["seed"]
                    where = f"seed {seed} of {len(runs)} stacked ones (without STACKED=1 the others go on)"
                    raise FloatingPointError(f"{where}: {diverged}") from diverged

        return update

    finetune_together(runs, sessions, updates_of, report)


def finetune_together(runs, sessions, updates_of, report):
    """Restore ``runs``, then advance them by ``updates_of(runs)``, a function that makes one update of each."""
    for run, session in zip(runs, sessions, strict=True):
        run.restore(session.resume())
    update, first, until = updates_of(runs), runs[0], sessions[0].job.updates
    last_save = time.monotonic()

    def save():
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


def evaluated(run_seed, updates, evaluate):
    """The row of ``evaluations.csv`` after ``updates`` updates; ``evaluate(seed)`` gives an Evaluation."""
    seed = evaluation_seed(run_seed, updates)
    result = evaluate(seed)
    return {
        "updates": updates,
        "score": result.score,
        "return_mean": float(result.returns.mean()),
        "return_std": float(result.returns.std()),
        "length_mean": float(result.lengths.mean()),
        "environment_seed": seed,
    }
