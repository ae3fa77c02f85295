import json

import numpy as np
import pandas as pd
import pytest

from synthlib.dt.similarity import similarities_of_plan
from synthlib.paper import logged_similarities, paper_claims
from synthlib.report.finished_runs import runs_of_plan
from synthlib.report.runs import Runs
from synthlib.report.similarity import AGAINST_CONTROLS, SimilarityReport, authors_similarities
from synthlib.runs.store import Store
from synthlib.study.params import load_artefact
from synthlib.study.plan import make_plan
from synthlib.tasks import environment_of

ARTEFACT = load_artefact("figure12")
DATASETS = ("hopper-medium", "ant-medium")
# As the paper has it: (weights, features) of PT vs FT and of RI vs FT.
AS_PUBLISHED = {
    "DT": ((0.72, 0.64), (0.72, 0.64)),
    "DT, matched": ((0.81, 0.61), (0.30, 0.00)),
    "DT+Wiki, matched": ((0.81, 0.61), (0.30, 0.00)),
    "DT+Identity, matched": ((0.81, 0.61), (0.30, 0.00)),
    "DT+Mapping, matched": ((0.81, 0.61), (0.30, 0.00)),
    "DT+Wiki": ((0.84, 0.33), (0.31, 0.00)),
    "DT+Synthetic": ((0.76, 0.66), (0.32, 0.00)),
    "IID uniform": ((0.77, 0.73), (0.33, 0.00)),
    "DT+Identity": ((0.80, 0.56), (0.34, 0.00)),
    "DT+Mapping": ((0.82, 0.62), (0.35, 0.00)),
}


def report(levels=AS_PUBLISHED, seeds=4, spread=0.0002, by_authors=False, folder=None, scores=None):
    """Cosines around given levels, and five evaluations a run; nothing is trained."""
    generator = np.random.default_rng(0)
    similarities, evaluations = [], []
    for arm, dataset, seed in ((a, d, s) for a in levels for d in DATASETS for s in range(seeds)):
        which = {"arm": arm, "dataset": dataset, "seed": seed}
        for comparison, level in zip(("PT vs FT", "RI vs FT"), levels[arm], strict=True):
            weights, features = np.array(level) + spread * generator.normal(size=2)
            similarities.append(which | {"comparison": comparison, "weights": weights, "features": features})
        score = 50.0 + seed + (scores or {}).get(arm, 0)
        evaluations += [which | {"updates": updates, "score": score} for updates in range(1, 6)]
    records = pd.DataFrame(evaluations)[["arm", "dataset", "seed"]].drop_duplicates().assign(run="r", physics="p")
    records["environment"] = records["dataset"].map(environment_of)
    evaluations = pd.DataFrame(evaluations)
    runs = Runs(ARTEFACT, evaluations, records, "replica", "made up", folder, (), {}, by_authors=by_authors)
    similarities = authors_similarities("DT") if by_authors else pd.DataFrame(similarities)
    return SimilarityReport(runs, similarities)


def words(made, column="as published"):
    return made.claims[column].to_dict()


def test_cells_are_means_over_data_sets_and_dt_has_one_start():
    made = report()
    cells = made.cells.set_index(["arm", "of", "between"])
    assert ("DT", "weights", "PT vs FT") not in cells.index
    cell = cells.loc[("DT+Wiki", "features", "PT vs FT")]
    runs = made._similarities.query("arm == 'DT+Wiki' and comparison == 'PT vs FT'")
    assert cell["mean"] == pytest.approx(runs.groupby("dataset")["features"].mean().mean())
    assert cell["low"] < cell["mean"] < cell["high"] and cell["datasets"] == 2 and cell["n"] == 4
    assert cell["final_score"] == 51.5


@pytest.mark.slow
def test_every_claim_on_cosines_is_judged_by_its_comparisons():
    claims = {claim["id"] for claim in paper_claims() if "similarities" in claim}
    found = words(report())
    assert found.pop("scores-inverse-to-similarity") == "undecided"  # all arms have the same scores here
    assert set(found) == claims and set(found.values()) == {"holds"}
    # One arm on the wrong side is enough, and only for the claims that name it there.
    turned = report(AS_PUBLISHED | {"DT+Mapping": ((0.70, 0.62), (0.35, 0.00))})
    fails = {claim for claim, word in words(turned).items() if word == "fails"}
    assert fails == {"weights-change-less", "more-change-better-score"}
    assert words(report(spread=0.5))["weights-change-less"] == "undecided"
    assert set(words(report(seeds=2)).values()) == {"not enough runs"}
    missing = {arm: level for arm, level in AS_PUBLISHED.items() if arm != "IID uniform"}
    assert set(words(report(missing)).values()) == {"no runs"}


def test_three_orders_of_magnitude_are_asked_for_where_the_paper_says_so():
    near = report({arm: (pt, (ri[0], 0.64 if arm == "DT" else 0.01)) for arm, (pt, ri) in AS_PUBLISHED.items()})
    assert words(near)["features-turn-more"] == "holds"
    assert words(near)["features-turn-more-by-three-orders"] == "fails"


def test_scores_and_cosines_in_opposite_order_are_asked_pair_by_pair():
    pretrained = ["DT+Synthetic", "IID uniform", "DT+Identity", "DT+Mapping", "DT+Wiki"]  # by rising cosine
    falling = {arm: -10 * place for place, arm in enumerate(pretrained)}
    assert words(report(scores=falling))["scores-inverse-to-similarity"] == "holds"
    broken = falling | {"DT+Identity": falling["DT+Mapping"], "DT+Mapping": falling["DT+Identity"]}
    made = report(scores=broken)
    assert words(made)["scores-inverse-to-similarity"] == "fails"
    (claim,) = (claim for claim in paper_claims() if claim["id"] == "scores-inverse-to-similarity")
    detail = made.judge_order(claim["order"]).detail
    assert "DT+Identity 0.800 / 21.5 and DT+Mapping 0.820 / 31.5 break the order" in detail
    assert detail.endswith(", over 2 of 12 data sets")


def test_claims_against_dt_are_also_held_against_the_matched_control():
    found = words(report(), AGAINST_CONTROLS)
    assert found["weights-change-less"] == "fails"  # DT+Synthetic changes more than random weights do
    assert found["weights-turn-more"] == "fails"  # they all lie beside the control
    assert found["more-change-better-score"] == ""  # not about DT


def test_of_the_authors_averages_only_what_is_public_is_judged():
    made = report(by_authors=True)
    found = words(made)
    assert found.pop("scores-inverse-to-similarity") == "fails"  # all scores are alike here
    assert found == {
        "weights-turn-more": "not logged",
        "weights-change-less": "holds",
        "more-change-better-score": "holds",
        "features-turn-more": "not logged",
        "features-turn-more-by-three-orders": "not logged",
        "wiki-features-change-most": "holds",
    }
    assert words(made, AGAINST_CONTROLS)["weights-change-less"] == "fails"
    assert made.wide().loc["DT", "weights, RI vs FT"] == "0.723"
    assert "no spread" in made.caption()


def test_the_authors_wiki_features_are_the_papers():
    (claim,) = (claim for claim in paper_claims() if claim["id"] == "wiki-features-change-most")
    wiki = logged_similarities().set_index("arm").loc["DT+Wiki", "features"]
    assert f"{wiki:.2f}" in claim["printed"]


def test_everything_is_saved(tmp_path):
    made = report(folder=tmp_path)
    made.save()
    kinds = ("txt", "html", "csv", "json", "png", "svg", "alt.txt")
    assert all((tmp_path / f"figure12.{kind}").stat().st_size > 0 for kind in kinds)
    assert "DT+Wiki" in (tmp_path / "figure12.alt.txt").read_text()
    assert len(json.loads((tmp_path / "figure12.json").read_text())["cells"]) == len(made.cells) == 38
    assert "as published: holds; against the matched control: fails" in (tmp_path / "figure12.txt").read_text()


def test_without_weights_there_is_nothing_to_compare(outputs):
    plan = make_plan("figure12", "smoke", "replica")
    with pytest.raises(RuntimeError, match="make run-figure12 PRESET=smoke"):
        similarities_of_plan(plan, Store(outputs / "store"))
    with pytest.raises(RuntimeError, match="make run-figure12 PRESET=smoke"):
        runs_of_plan(plan)
