"""Fine-tuned policies, kept where the user asks for them: ``KEEP_POLICY=1`` of the Makefile.

    policy_<n>.pt      in a run's folder: the tensors that act, after n updates; its checksum is in progress.json

They are taken out of the last checkpoint, so nothing is trained for them, and whether they are kept is no part of a
run's identity. A run whose checkpoint is not here, since only its rows were published, or whose checkpoint has gone
further, has no policy to keep.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthlib.runs.job import Job, Training
from synthlib.runs.progress import policy_name, read_progress, weights_fit
from synthlib.runs.session import CHECKPOINT, load_saved

if TYPE_CHECKING:
    from synthlib.runs.store import Store


def kept_policy(job: Job, store: "Store") -> Path | None:
    """The file with the policy of a job, whole; None where it is not kept."""
    folder, name = store.folder(job), policy_name(job.updates)
    return folder / name if weights_fit(folder, name, read_progress(folder) or {}) else None


def policy_of(job: Job, training: Training, store: "Store") -> dict[str, Any] | None:
    """{name: tensor} of the policy of a done job: the kept one, or else that of its checkpoint; None without both."""
    if path := kept_policy(job, store):
        policy: dict[str, Any] = load_saved(path)
        return policy
    if training.policy is None or why_not(job, store):
        return None
    return training.policy(job, store.checkpoint(job))


def why_not(job: Job, store: "Store") -> str:
    """Why a done job has no policy that could be kept, with what to do; "" when it has one."""
    folder, record, done = store.folder(job), store.record(job), store.updates_done(job)
    if done > job.updates:
        return f"a longer run went on from it, to {done} updates; move {folder} away and train it again"
    if done == job.updates and (folder / CHECKPOINT).exists():
        return ""
    if store.is_published(job):
        return f"only its rows are published; move {record} away and train it again (git has a copy)"
    return f"its rows came without its networks; move {folder} away and train it again"


def keep_policies(jobs: Iterable[tuple[Job, Training]], store: "Store") -> tuple[list[Path], list[str]]:
    """Keep the policy of each done run among ``jobs``.

    Returns the files that are there now, and why the other done runs have none. May raise ClaimLost.
    """
    there, lacking = [], []
    for job, training in jobs:
        if training.policy is None or not store.is_done(job):
            continue
        if (path := kept_policy(job, store)) is None and not (why := why_not(job, store)):
            if (session := store.open(job)) is None:
                why = "another process holds its lock; ask again"
            else:
                try:
                    session.save_policy(job.updates, training.policy(job, store.checkpoint(job)))
                finally:
                    session.release()
                path = kept_policy(job, store)
        if path is None:
            lacking.append(why)
        else:
            there.append(path)
    return there, lacking


def said_of(kept: tuple[list[Path], list[str]]) -> str:
    """The result of :func:`keep_policies` in sentences."""
    there, lacking = kept
    lines = [f"policies kept: {len(there)}" + (f", such as {there[0]}" if there else "")]
    if lacking:
        lines.append(f"finished runs without a policy: {len(lacking)}. The first: {lacking[0]}")
    return "\n".join(lines)
