"""The auxiliary k-means term of DT+Wiki (faithfulness 3.10): pull input tokens towards clusters of word embeddings.

The intended term is the cosine similarity between a token and its nearest cluster centre. But the product in the
authors' code keeps the feature axis, so the maximum over centres is taken for each feature separately. Of a thousand
centres, only the largest and the smallest value of each feature matter. We keep what the authors' code computed.
"""

from typing import NamedTuple

import torch
from torch.nn import functional as F

CLUSTERS = 1000


def cluster_centres(
    embeddings: torch.Tensor,
    clusters: int,
    generator: torch.Generator,
    tolerance: float = 1e-4,
    iterations: int = 100,
) -> torch.Tensor:
    """k-means by cosine of word ``embeddings`` (V, E) -> centres (clusters, E), each the mean of its members.

    The first centres are distinct rows, drawn by ``generator``. The search stops after ``iterations``, or when the
    squared sum of the centres' moves is below ``tolerance``. An empty cluster starts again from a random row. Raises
    ValueError when there are fewer rows than clusters.
    """
    count = len(embeddings)
    if count < clusters:
        raise ValueError(f"{clusters} clusters of {count} tokens: ask for at most {count}")
    embeddings = embeddings.detach()
    directions = F.normalize(embeddings, dim=1)
    centres = embeddings[torch.randperm(count, generator=generator)[:clusters]].clone()
    for _ in range(iterations):
        nearest = (directions @ F.normalize(centres, dim=1).T).argmax(dim=1)
        members = torch.bincount(nearest, minlength=clusters)
        moved = torch.zeros_like(centres).index_add_(0, nearest, embeddings) / members.clamp(min=1)[:, None]
        empty = members == 0
        moved[empty] = embeddings[torch.randint(count, (int(empty.sum()),), generator=generator)]
        shift = (moved - centres).norm(dim=1).sum()
        centres = moved
        if shift**2 < tolerance:
            break
    return centres


class ClusterTerm(NamedTuple):
    """The k-means loss: maps token embeddings (B, T, E), padding included, to a scalar.

    The loss is minus the mean over batch, token and feature e of max_c (c_e x_e), with normalised centres c and tokens
    x. This maximum is x_e times ``largest``_e where x_e > 0, and x_e times ``smallest``_e elsewhere. ``largest`` and
    ``smallest`` (E,) are the largest and smallest value of each feature over the centres.
    """

    largest: torch.Tensor
    smallest: torch.Tensor

    @classmethod
    def of(cls, centres: torch.Tensor) -> "ClusterTerm":
        """The loss for ``centres`` (C, E)."""
        directions = F.normalize(centres.detach(), dim=1)
        return cls(directions.max(dim=0).values, directions.min(dim=0).values)

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        x = F.normalize(embeddings, dim=-1)
        return -torch.where(x > 0, x * self.largest, x * self.smallest).mean()
