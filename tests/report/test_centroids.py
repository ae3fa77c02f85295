"""Section 4.3: the centroids that pre-training aims at, exact and in the data."""

from dataclasses import replace

import numpy as np
import pytest

from synthlib.generators.mdp import MDPConfig, distinct_transition_rows, generate, vectors
from synthlib.paper import paper_claims
from synthlib.report.centroids import centroids
from synthlib.report.claims import judge
from synthlib.report.evidence import AUTHORS, CELL, OWN, PRINT, Evidence
from synthlib.tasks import DIMENSIONS

SMALL = MDPConfig(states=10, trajectories=20, length=50)


def test_the_least_loss_is_what_the_centroids_leave():
    data = generate(SMALL)
    table, _ = vectors(SMALL, *DIMENSIONS["halfcheetah"])
    wanted = table[data.next_observations].astype(float)
    pair = data.observations * 10 + data.actions
    at_centroids = np.stack([wanted[pair == one].mean(axis=0) for one in pair])
    loss = ((wanted - at_centroids) ** 2).mean()
    found = centroids(SMALL)
    assert loss == pytest.approx(found.total - found.empirical)
    rng = np.random.default_rng(0)
    elsewhere = at_centroids + 0.1 * rng.normal(size=(100, wanted.shape[1]))[pair]
    assert ((wanted - elsewhere) ** 2).mean() > loss


def test_many_data_bring_the_centroids_to_their_exact_places():
    few, many = (centroids(MDPConfig(states=3, trajectories=n, length=100)) for n in (3, 300))
    assert abs(many.empirical - many.exact) < 0.3 * abs(few.empirical - few.exact)
    iid = centroids(MDPConfig(kind="iid", states=3, trajectories=300, length=100))
    assert iid.exact < 1e-12 and iid.distinct == 1 and 0.1 < iid.empirical / iid.noise < 3


def test_pairs_that_share_a_row_share_a_centroid():
    assert centroids(SMALL).distinct == distinct_transition_rows(10, 10) == 94 and centroids(SMALL).pairs == 100
    assert centroids(replace(SMALL, rows="independent")).distinct == 100


def test_the_papers_sizes_give_the_numbers_of_the_claims():
    mdp, iid = centroids(MDPConfig()), centroids(MDPConfig(kind="iid"))
    assert (round(mdp.empirical, 5), round(iid.empirical, 5), round(mdp.total, 4)) == (0.00371, 0.00343, 0.3425)
    assert mdp.exact == pytest.approx(0.00028, abs=5e-6) and (mdp.distinct, mdp.pairs) == (1444, 10_000)
    claims = {claim["id"]: claim for claim in paper_claims() if "centroids" in claim}
    own = Evidence(OWN, CELL)
    words = {identity: judge(claim, own).word for identity, claim in claims.items()}
    assert words == {
        "pretraining-aims-at-centroids": "holds",
        "iid-centroids-collapse": "holds",
        "mdp-centroids-farther-apart": "holds",
        "mdp-centroids-distinct": "fails",
    }
    assert "1,444 different centroids for 10,000 pairs" in judge(claims["mdp-centroids-distinct"], own).detail
    for source in (PRINT, AUTHORS):
        assert judge(claims["mdp-centroids-distinct"], Evidence(source, CELL)).word in ("not printed", "no CQL logs")
