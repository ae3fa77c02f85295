"""The auxiliary k-means term of DT+Wiki (faithfulness 3.10): draw input tokens towards clusters of word embeddings.

The name promises a cosine similarity between a token and its nearest cluster centre. The reference's product keeps
the feature axis, so the maximum over centres is taken for each feature by itself, and of a thousand centres only the
largest and the smallest value of each feature ever matter. It is kept as executed.
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

    Starts from distinct rows that ``generator`` (torch) draws, stops when the centres' moves sum to less than
    ``tolerance`` (squared) or after ``iterations``. An empty cluster starts again from a random row. Raises ValueError
    when there are fewer rows than clusters.
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
    """Maps token embeddings (B, T, E), padding included, to the scalar to be descended on.

    It is minus the mean over batch, token and feature of max over centres c of c_e x_e, both normalised; the maximum
    of c_e x_e is x_e times the ``largest`` c_e where x_e > 0, and times the ``smallest`` where x_e < 0; (E,) each.
    """

    largest: torch.Tensor
    smallest: torch.Tensor

    @classmethod
    def of(cls, centres: torch.Tensor) -> "ClusterTerm":
        """The term of ``centres`` (C, E)."""
        directions = F.normalize(centres.detach(), dim=1)
        return cls(directions.max(dim=0).values, directions.min(dim=0).values)

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        x = F.normalize(embeddings, dim=-1)
        return -torch.where(x > 0, x * self.largest, x * self.smallest).mean()
