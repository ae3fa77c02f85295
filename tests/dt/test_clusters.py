import pytest
import torch
from torch.nn import functional as F

from synthlib.dt.clusters import ClusterTerm, cluster_centres


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def blobs(directions, members, seed=1):
    """Rows of very different lengths around each of ``directions`` (C, E), and the direction of each row."""
    truth = torch.arange(len(directions)).repeat(members)
    noise = 0.05 * torch.randn(len(truth), directions.shape[1], generator=generator(seed))
    lengths = torch.rand(len(truth), 1, generator=generator(seed + 1)) * 10 + 0.1
    return (directions[truth] + noise) * lengths, truth


def test_clusters_are_found_by_direction_not_by_length():
    directions = torch.eye(8)[:4] - 0.5 * torch.eye(8)[4:]
    rows, truth = blobs(directions, 50)
    best = max((cluster_centres(rows, 4, generator(seed)) for seed in range(5)), key=lambda c: _agreement(rows, c))
    nearest = (F.normalize(rows, dim=1) @ F.normalize(best, dim=1).T).argmax(1)
    for cluster in range(4):
        assert len(set(nearest[truth == cluster].tolist())) == 1
    for cluster in nearest.unique():
        torch.testing.assert_close(best[cluster], rows[nearest == cluster].mean(0))


def _agreement(rows, centres):
    return (F.normalize(rows, dim=1) @ F.normalize(centres, dim=1).T).max(1).values.mean().item()


def test_clustering_repeats_with_its_generator_and_improves_on_its_start():
    rows = torch.randn(300, 16, generator=generator(3))
    centres = cluster_centres(rows, 20, generator())
    assert torch.equal(centres, cluster_centres(rows, 20, generator()))
    assert not torch.equal(centres, cluster_centres(rows, 20, generator(1)))
    start = cluster_centres(rows, 20, generator(), iterations=0)
    assert _agreement(rows, centres) > _agreement(rows, start)
    with pytest.raises(ValueError, match="21 clusters of 20 tokens"):
        cluster_centres(rows[:20], 21, generator())


def test_empty_clusters_do_not_make_nan():
    rows = torch.ones(30, 4) + 1e-9 * torch.randn(30, 4, generator=generator())
    assert torch.isfinite(cluster_centres(rows, 10, generator())).all()


def test_the_term_equals_its_definition_and_so_does_its_gradient():
    """The reference forms the whole product (B, T, C, E) and takes the maximum over C."""
    centres = torch.randn(7, 5, generator=generator(), dtype=torch.float64)
    embeddings = torch.randn(3, 4, 5, generator=generator(1), dtype=torch.float64, requires_grad=True)
    product = torch.einsum("bte,ce->btce", F.normalize(embeddings, dim=-1), F.normalize(centres, dim=-1))
    expected = -product.max(dim=2).values.mean()
    got = ClusterTerm.of(centres)(embeddings)
    torch.testing.assert_close(got, expected)
    gradients = [torch.autograd.grad(loss, embeddings)[0] for loss in (got, expected)]
    torch.testing.assert_close(*gradients)
    cosine = -torch.einsum("bte,ce->btc", F.normalize(embeddings, dim=-1), F.normalize(centres, dim=-1))
    assert abs(got.item() - cosine.min(dim=2).values.mean().item()) > 0.05
