"""Section 4.3's claims, with the numbers that their page measures."""

import pandas as pd

from synthlib.paper import paper_claims
from synthlib.report.claims import judge
from synthlib.report.evidence import AUTHORS, CELL, OWN, PRINT, Evidence
from synthlib.study import critic_study

CLAIMS = {claim["id"]: claim for claim in paper_claims() if "centroids" in claim}
NOTHING = pd.DataFrame(columns=CELL)


def test_each_claim_of_section_4_3_has_its_word_and_its_numbers():
    found = {identity: judge(claim, Evidence(OWN, NOTHING)) for identity, claim in CLAIMS.items()}
    assert {identity: one.word for identity, one in found.items()} == {
        "pretraining-aims-at-centroids": "holds",
        "iid-centroids-collapse": "holds",
        "mdp-centroids-farther-apart": "holds",
        "mdp-centroids-distinct": "fails",
    }
    assert "0.00028 against 0" in found["mdp-centroids-farther-apart"].detail
    assert "in the data 0.00371 against 0.00343" in found["mdp-centroids-farther-apart"].detail
    assert "0.00343 a dimension, 0.013" in found["iid-centroids-collapse"].detail
    assert "1,444 different centroids for 10,000 pairs" in found["mdp-centroids-distinct"].detail
    for source in (PRINT, AUTHORS):
        assert judge(CLAIMS["mdp-centroids-distinct"], Evidence(source, NOTHING)).word in ("not printed", "no CQL logs")


def test_the_least_loss_is_what_the_centroids_leave():
    """The algebra behind the first claim, on the vectors themselves."""
    import numpy as np

    from synthlib.generators.mdp import MDPConfig, generate, vectors

    data = MDPConfig(states=10, trajectories=20, length=50)
    measured, transitions = critic_study.measure(data), generate(data)
    table, _ = vectors(data, *critic_study.WIDTHS)
    wanted = table[transitions.next_observations].astype(float)
    place = np.searchsorted(measured.pairs, transitions.observations * 10 + transitions.actions)
    at_centroids = measured.empirical[place]
    loss = ((wanted - at_centroids) ** 2).mean()
    spread = critic_study.spread(measured)
    np.testing.assert_allclose(loss, spread.total - spread.empirical, rtol=1e-6)
    moved = 0.1 * np.random.default_rng(0).normal(size=measured.empirical.shape)[place]
    assert ((wanted - at_centroids - moved) ** 2).mean() > loss
