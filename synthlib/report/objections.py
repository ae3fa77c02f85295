"""Objections that a reader of the paper has, and what is known about each, written from published runs and prints."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from synthlib.generators.information import information
from synthlib.generators.markov_chain import ChainConfig
from synthlib.paper import paper_table
from synthlib.report.beside_corl import corl_table
from synthlib.report.findings import size_in_words
from synthlib.report.ladder import CONTROL, finding, published_cells, rungs
from synthlib.report.pretraining_spread import effect
from synthlib.report.report import Report
from synthlib.report.sources import open_runs
from synthlib.report.verdicts import CELL_MARGIN, margin_of

Pair = tuple[str, str]  # an arm, and the arm that it is held against


class Objection(NamedTuple):
    """A question, what is known, and the page that shows it."""

    question: str
    answer: str
    page: str


def objections() -> list[Objection]:
    """All of them, the most frequent first. Nothing is trained; runs that are not finished are said to be missing."""
    return [
        Objection("Is it the switches of fine-tuning?", _switches(), "30_matched_control.ipynb"),
        Objection(
            "Is it the one initialisation that all seeds of a pre-trained CQL share?",
            said_by_runs(
                "cql_start", "evening",
                [("CQL, matched", "CQL"), ("S=100", "CQL, matched"), ("CQL+IID", "CQL, matched")],
            ),
            "32_cql_start.ipynb",
        ),
        Objection("Is one pre-training enough?", _one_pretraining(), "36_dt_pretraining_seeds.ipynb"),
        Objection(
            "Does it help DT beyond the control in runs of our own?",
            said_by_runs("dt_start", "early", [("DT+Synthetic", "DT, matched"), ("DT, matched", "DT")]),
            "37_dt_start.ipynb",
        ),
        Objection("Would a stronger CQL gain as well?", _stronger(), "35_cql_stronger.ipynb"),
        Objection("Does the network learn anything of the chain?", _learning(), "02_section3_2_chains.ipynb"),
        Objection(
            "Is it only the scale of the weights?",
            said_by_runs(
                "cql_why", "evening", [("S=100, permuted", "S=100"), ("S=100, norms only", "S=100")]
            ),
            "33_cql_why.ipynb",
        ),
        Objection("Do a few data sets carry the average?", _few_datasets(), "03_table1_dt_wiki_synthetic.ipynb"),
    ]  # fmt: skip


def said_by_runs(name: str, preset: str, pairs: Sequence[Pair]) -> str:
    """What the finished runs of artefact ``name`` say about ``pairs``, with their size; or that there are none yet."""
    try:
        report = open_runs("own", preset).report(name)
    except RuntimeError:
        return f"No run of ours says anything yet (make reproduce-{name} PRESET={preset})."
    return f"Our runs on replica data ({size_in_words(report)}): {_pairs_in_words(report, pairs)}."


def _pairs_in_words(report: Report, pairs: Sequence[Pair]) -> str:
    averages = report.comparisons[report.comparisons["is_average"]].set_index(["arm", "baseline"])
    unit, said = margin_of(report.artefact.metric).unit, []
    for arm, other in pairs:
        if (arm, other) not in averages.index or pd.isna(averages.loc[(arm, other), "low"]):
            said.append(f"{arm} against {other}: too few runs yet")
            continue
        row = averages.loc[(arm, other)]
        numbers = f"{row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}] {unit}"
        said.append(f"{arm} against {other}: {row['verdict']} ({numbers})")
    return "; ".join(said)


def answers() -> tuple[float, float, float]:
    """What the page asks beforehand.

    The share of DT's gain that is due to the switches, per cent; the points of DT's gain without the three data sets
    with the largest; the points of CQL's gain where the printed baseline is about as strong as CORL's.
    """
    table, weak = _beside_corl()
    return 100 * _share_of_switches(), float(_gains("DT").nsmallest(9).mean()), float(table["gain"][~weak].mean())


def _share_of_switches() -> float:
    steps = rungs(published_cells())
    return float(steps.loc[CONTROL, "gain"] / steps.loc["DT+Synthetic", "gain"])


def _switches() -> str:
    found = finding(rungs(published_cells()))
    return f"{_share_of_switches():.0%} of DT's gain is. In the authors' runs on D4RL, {found}"


def _one_pretraining() -> str:
    of_dt = said_by_runs(
        "pretraining_recipes",
        "evening",
        [("DT+Synthetic", "DT, matched"), ("another pre-training", "another control")],
    )
    return (
        "The paper has one file of weights behind each arm, so none of its intervals knows. A repeated pre-training of "
        f"DT, by the training loss of fine-tuning: {of_dt}{_more_critics()}"
    )


def _more_critics() -> str:
    """What several pre-trainings of CQL's critics say (page 34), "" without such runs."""
    try:
        of_cql = effect(open_runs("own", "evening").report("cql_pretraining_seeds"), "S=100", "CQL, matched")
    except RuntimeError:  # no run is finished
        return ""
    if of_cql["n"] < 2:
        return ""
    return (
        f" Of CQL's critics there are {of_cql['n']:.0f} pre-trainings (page 34): S=100 minus CQL, matched is "
        f"{of_cql['mean']:+.1f} [{of_cql['low']:+.1f}, {of_cql['high']:+.1f}] points over them."
    )


def _beside_corl() -> tuple[pd.DataFrame, pd.Series]:
    """CQL beside CORL's, and on which data sets the printed baseline is the weaker one."""
    table = corl_table("CQL")
    return table, table["difference"] > CELL_MARGIN


def _stronger() -> str:
    table, weak = _beside_corl()
    gain = table["gain"]
    return (
        f"The printed gain of S=1000 is {gain[weak].mean():.1f} points on the {weak.sum()} data sets where CORL's CQL "
        f"is more than {CELL_MARGIN:g} points above the paper's ({', '.join(table.index[weak])}), and "
        f"{gain[~weak].mean():.1f} on the other {np.sum(~weak)}. So much of it may be a repair of a weak baseline. "
        + said_by_runs(
            "cql_stronger",
            "evening",
            [("Stronger CQL, S=100", "Stronger CQL, matched"), ("Stronger CQL, matched", "Stronger CQL")],
        )
    )


def _learning() -> str:
    printed = paper_table(4).query("is_average").set_index("arm")["mean"]
    parts = []
    for temperature in (0.01, 0.1, 1.0, 10.0):
        gained = np.log(100) - information(ChainConfig(temperature=temperature)).entropy_rate
        parts.append(f"{gained:.3f} nat and {printed[f'tau={temperature:g}']:.1f} at temperature {temperature:g}")
    return (
        "There is little to learn at the default temperature, and the printed scores do not follow it. What a perfect "
        f"model gains of ln 100 = {np.log(100):.3f} nat, and the printed average: {'; '.join(parts)}; 0 and "
        f"{printed['IID uniform']:.1f} for IID tokens."
    )


def _gains(baseline: str) -> pd.Series:
    """DT+Synthetic's difference from a baseline, by data set."""
    scores = published_cells().pivot(index="dataset", columns="arm", values="mean")
    return scores["DT+Synthetic"] - scores[baseline]


def _few_datasets() -> str:
    parts = []
    for baseline in ("DT", "DT, matched"):
        gain = _gains(baseline)
        top = gain.nlargest(3)
        parts.append(
            f"over {baseline} {gain.mean():.1f} points on twelve data sets, {gain.drop(top.index).mean():.1f} without "
            f"{', '.join(top.index)}"
        )
    return f"DT+Synthetic gains {'; '.join(parts)} (printed cells, and the authors' control)."
