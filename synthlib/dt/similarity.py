"""How far fine-tuning moves weights and features: the cosine similarities of the paper's appendix H, Figure 12.

"PT vs FT" compares a model with its pre-trained weights just loaded and the same model after fine-tuning. "RI vs FT"
compares the randomly initialised model and the fine-tuned model. The definitions are from the authors' code
(faithfulness 3.20). The run store has everything needed: the untrained model follows from the run's seed, the loaded
model from the pre-trained weights, and the fine-tuned model is in the run's checkpoint.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from synthlib.dt.jobs import loaded_model, sequence_data, untrained_model
from synthlib.dt.model import DecisionTransformer
from synthlib.dt.windows import CONTEXT, Batch, BatchBuilder, SequenceData, subset
from synthlib.kernels.twins import best
from synthlib.runs.job import Job
from synthlib.runs.store import Store

FEATURE_BATCH = 64
FEATURE_RATIO = 0.1


def weight_similarity(first: DecisionTransformer, second: DecisionTransformer) -> float:
    """Cosine similarity of two models' backbone weights, flattened into one vector each.

    The weights of layer norms count. Biases and the token and position tables do not count. Everything outside the
    blocks and the final norm depends on the data set or has no pre-trained counterpart.
    """
    return float(F.cosine_similarity(_weights(first), _weights(second), dim=0))


def feature_windows(
    data: SequenceData,
    ratio: float = FEATURE_RATIO,
    batch_size: int = FEATURE_BATCH,
    context: int = CONTEXT,
    **window: Any,
) -> Iterator[Batch]:
    """Batches of consecutive, non-overlapping windows from a fixed ``ratio`` of the trajectories.

    ``context`` and the other keywords go to :class:`synthlib.dt.windows.BatchBuilder`. The last batch is left out when
    it is not full. Raises ValueError when no batch is full.
    """
    places = list(range(len(data.trajectories)))
    windows = [
        (row, start)
        for row in subset(places, ratio)
        for start in range(0, len(data.trajectories[row].rewards), context)
    ]
    full = len(windows) // batch_size
    if not full:
        raise ValueError(
            f"{len(windows)} windows do not fill a batch of {batch_size}; use more of the data than {ratio}"
        )
    builder = best(BatchBuilder)(data, context, **window)
    for batch in range(full):
        rows, starts = np.array(windows[batch * batch_size : (batch + 1) * batch_size]).T
        yield builder.batch(rows, starts)


def feature_similarity(first: DecisionTransformer, second: DecisionTransformer, batches: Iterable[Batch]) -> float:
    """Mean cosine similarity of two models' final hidden states at the observation tokens.

    Padded steps count as 0 in the mean, as in the authors' code. So short windows lower the mean equally for every arm.
    """
    means = []
    for batch in batches:
        mask = torch.from_numpy(batch.mask)
        one, other = (_features(model, batch, mask) for model in (first, second))
        means.append((F.cosine_similarity(one, other, dim=-1) * mask).mean().item())
    return float(np.mean(means))


def similarities_of_run(
    job: Job, store: Store, ratio: float = FEATURE_RATIO, batch_size: int = FEATURE_BATCH
) -> list[dict[str, Any]]:
    """Both comparisons for one done "dt" job of ``store``: a dict each, comparison, weights, features and updates.

    ``updates`` is the number that the training has reached; it exceeds the job's number if a longer job continued the
    training. The published baseline loads no weights, so its two comparisons are equal.
    """
    saved, tuned = store.checkpoint(job), untrained_model(job)
    tuned.load_state_dict(saved["training"]["model"])
    batches = list(feature_windows(sequence_data(job), ratio, batch_size, **tuned.config.window))
    starts = {"PT vs FT": loaded_model(job, store), "RI vs FT": untrained_model(job)}
    return [
        {
            "comparison": comparison,
            "weights": weight_similarity(start, tuned),
            "features": feature_similarity(start, tuned, batches),
            "updates": saved["training"]["updates"],
        }
        for comparison, start in starts.items()
    ]


def similarities_of_plan(plan: Any, store: Store) -> pd.DataFrame:
    """Figure 12's numbers: one row per done run of ``plan`` and comparison, from :func:`similarities_of_run`.

    ``plan`` is a :class:`synthlib.study.plan.Plan`. Columns: arm, dataset, seed, comparison, weights, features,
    updates. The paper averages over all runs of an arm. Published runs have scores but no fine-tuned weights and are
    left out. Raises RuntimeError when no run is left.
    """
    rows = []
    for cell in plan.cells:
        if store.updates_done(cell.job) >= cell.job.updates and (store.folder(cell.job) / "checkpoint.pt").exists():
            which = {"arm": cell.arm, "dataset": cell.dataset, "seed": cell.seed}
            rows += [which | found for found in similarities_of_run(cell.job, store)]
    if not rows:
        name = plan.artefact.name
        raise RuntimeError(
            f"{name}: no done run has its fine-tuned weights here; make run-{name} PRESET={plan.preset}, after moving "
            "away outputs/records if it says that nothing is missing (published runs are scores without weights)"
        )
    return pd.DataFrame(rows)


def _weights(model: DecisionTransformer) -> torch.Tensor:
    named = model.backbone().items()
    chosen = [p.detach().flatten() for name, p in named if name.endswith("weight") and name != "wpe.weight"]
    return torch.cat(chosen).double()


@torch.no_grad()
def _features(model: DecisionTransformer, batch: Batch, mask: torch.Tensor) -> torch.Tensor:
    parts = (batch.observations, batch.actions, batch.returns_to_go[:, :-1], batch.timesteps)
    observations, actions, returns_to_go, timesteps = map(torch.from_numpy, parts)
    hidden, _ = model.hidden(observations, actions, returns_to_go, timesteps, mask)
    return hidden[:, :, 1]
