"""The order in which GPT-2's pre-training reads its sequences of tokens (faithfulness 2.7).

Both functions return a function ``batches(update)``, which returns the integer tokens (B, T) of the 0-based ``update``.
So a resumed training needs no saved position in the data.
"""

import random
from collections.abc import Callable

import numpy as np

SHUFFLE_SEED = 666


def stream_batches(
    sequences: Callable[[int, int], np.ndarray], batch_size: int, rows: int | None = None
) -> Callable[[int], np.ndarray]:
    """Minibatches from ``sequences(first, count) -> (count, T)`` in order, starting again after ``rows`` sequences.

    With ``rows`` None there is no end. The sequences of a generated chain are independent, so shuffling them would
    change nothing. Raises ValueError when ``rows`` do not fill one minibatch.
    """
    per_epoch = None if rows is None else _batches_per_epoch(rows, batch_size)

    def batches(update: int) -> np.ndarray:
        place = update if per_epoch is None else update % per_epoch
        return sequences(place * batch_size, batch_size)

    return batches


def shuffled_batches(
    rows: np.ndarray, batch_size: int, seed: int = SHUFFLE_SEED, workers: int = 1
) -> Callable[[int], np.ndarray]:
    """Minibatches from an array of sequences (R, T) in one shuffled order, which is the same in every epoch.

    ``workers=4`` is the authors' loader: each worker has a contiguous quarter of the order, and the workers take turns.
    Each worker drops the sequences at its end that do not fill a minibatch (faithfulness 2.7). Raises ValueError when
    no worker fills one minibatch.
    """
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    shares = np.array_split(np.array(order), workers)
    turns = max(len(share) for share in shares) // batch_size
    places = [
        share[turn * batch_size : (turn + 1) * batch_size]
        for turn in range(turns)
        for share in shares
        if (turn + 1) * batch_size <= len(share)
    ]
    _batches_per_epoch(max(map(len, shares)), batch_size)
    return lambda update: rows[places[update % len(places)]]


def _batches_per_epoch(rows: int, batch_size: int) -> int:
    if rows < batch_size:
        raise ValueError(f"{rows} sequences do not fill one batch of {batch_size}; give more data or a smaller batch")
    return rows // batch_size
