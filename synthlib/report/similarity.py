"""Figure 12 as a report: cosine similarities by arm, drawn, tabulated, and held against what the paper says of them.

The numbers are those of :mod:`synthlib.dt.similarity`, or the averages that the authors' programs left. Statistics and
words are those of the score tables: means over data sets of means over seeds, Welch intervals, and for every claim the
strictest answer of its comparisons. No margin is declared: a difference is shown or not.
"""

import itertools
from functools import cached_property

import numpy as np
import pandas as pd

from synthlib.paper import logged_similarities, paper_claims
from synthlib.report.report import Report
from synthlib.report.statistics import average_rows, score_cells, seed_scores
from synthlib.report.tables import html_frame
from synthlib.report.verdicts import AVERAGE, FAILS, HOLDS, NOT_ENOUGH_RUNS, against_baseline, claim_answer, strictest

_VERDICT = "What the paper says of Figure 12"
# Which cosine: of what, between which two stages.
_COSINES = list(itertools.product(("weights", "features"), ("PT vs FT", "RI vs FT")))


class SimilarityReport(Report):
    """A report whose numbers are cosines.

    ``similarities``: rows of ``arm, dataset, seed, comparison, weights, features``, one per run and comparison, or
    those of :func:`authors_similarities`, which are averages: no interval is known, a claim's word is theirs alone.
    """

    def __init__(self, runs, similarities):
        super().__init__(runs)
        self._similarities = similarities

    @cached_property
    def scores(self):
        """One row per run, pair of stages and quantity: ``arm, dataset, seed, between, of, score`` (a cosine)."""
        rows = self._similarities.rename(columns={"comparison": "between"})
        which = ["arm", "dataset", "seed", "between"]
        return rows.melt(which, ["weights", "features"], var_name="of", value_name="score")

    @cached_property
    def by_dataset(self):
        """One row per arm, data set, pair of stages and quantity, columns as of ``statistics.score_cells``."""
        return _for_each_cosine(score_cells, self.scores)

    @cached_property
    def cells(self):
        """One row per arm, pair of stages and quantity: mean over data sets, its 95 % interval, and the mean score.

        DT's only start is its random initialisation, so it has no "PT vs FT".
        """
        cells = _for_each_cosine(average_rows, self.by_dataset)
        cells = cells[(cells["arm"] != self.artefact.baseline) | (cells["between"] == "RI vs FT")]
        scores = average_rows(score_cells(seed_scores(self.runs.evaluations))).set_index("arm")["mean"]
        return cells.assign(final_score=cells["arm"].map(scores)).reset_index(drop=True)

    @cached_property
    def claims(self):
        """One row per claim of appendix H: what it says, and a word for each baseline that it can be held against."""
        rows = {}
        for claim in paper_claims():
            if rules := claim.get("similarities"):
                row = {"claim": claim["says"].strip(), "as published": self._judge(rules)}
                against = [rule | {"baselines": [self.artefact.control]} for rule in rules]
                if all(rule["baselines"] == [self.artefact.baseline] for rule in rules):
                    row[f"against {self.artefact.control}"] = self._judge(against)
                rows[claim["id"]] = row
        return pd.DataFrame.from_dict(rows, orient="index").fillna("")

    def _judge(self, rules):
        return strictest(
            self._answer(rule, arm, baseline)
            for rule in rules
            for arm, baseline in itertools.product(rule["arms"], rule["baselines"])
        )

    def _answer(self, rule, arm, baseline):
        # "a lower than b" is asked as "b higher than a", the form that claim_answer knows.
        higher, lower = (arm, baseline) if rule["must"] == "higher" else (baseline, arm)
        cells = _chosen(self.by_dataset, rule["of"], rule["between"])
        if not {higher, lower} <= set(cells["arm"]):
            return NOT_ENOUGH_RUNS
        table = against_baseline(cells, lower, [higher], margin=0, average_margin=0)
        average = table[table["dataset"] == AVERAGE].assign(must="higher")
        if average.empty:
            return NOT_ENOUGH_RUNS
        (row,) = average.itertuples()
        if self._is_averages:
            return HOLDS if row.difference > 0 else FAILS
        return claim_answer(row, margin=0)

    @property
    def _is_averages(self):
        return self.runs.source == "authors"

    def wide(self):
        """The cosines as text: rows arms, columns quantities and pairs of stages."""
        columns = {}
        for cosine in _COSINES:
            found = _chosen(self.cells, *cosine).set_index("arm")
            columns[", ".join(cosine)] = found.apply(_with_interval, axis=1)
        columns["final score"] = self.cells.groupby("arm")["final_score"].first().map("{:.1f}".format)
        table = pd.DataFrame(columns)
        return table.reindex([arm for arm in self.artefact.arms if arm in table.index]).rename_axis(None).fillna("-")

    def caption(self):
        """What the numbers are, and of which runs."""
        stages = "PT: after pre-training, RI: random initialisation, FT: after fine-tuning"
        if self._is_averages:
            return (
                f"{self.artefact.title}: cosine similarities averaged over all of the authors' runs. {stages}; of RI "
                "vs FT only DT's is public, and no spread, so that words below are of the averages alone. "
                f"{self.runs.label}."
            )
        n = self._similarities.groupby(["arm", "dataset"])["seed"].nunique()
        return (
            f"{self.artefact.title}: cosine similarities, mean over seeds and data sets with its 95 % interval "
            f"({len(n)} pairs of arm and data set, {n.min()} seeds or more). {stages}. {self.runs.label}."
        )

    def text(self):
        """What the terminal shows."""
        said = [f"{row['claim']}\n    {_answers(row)}" for _, row in self.claims.iterrows()]
        parts = [self.caption(), "", self.wide().to_string(), "", f"{_VERDICT}:", *said, "", *self.missing_lines()]
        return "\n".join(parts).rstrip() + "\n"

    def _repr_html_(self):
        return html_frame(self.wide(), self.caption())

    def html(self):
        """The table and the claims as an HTML fragment."""
        return self._repr_html_() + html_frame(self.claims, _VERDICT)

    @property
    def _has_comparisons(self):
        return False


def authors_similarities(baseline):
    """The averages that the authors' programs left, in the form that :class:`SimilarityReport` takes.

    The ``baseline``'s only start is its random initialisation: both pairs of stages are one.
    """
    averages = logged_similarities()
    own_start = averages[averages["arm"] == baseline].assign(comparison="PT vs FT")
    return pd.concat([averages, own_start], ignore_index=True).assign(dataset="all", seed="all")


def _for_each_cosine(summarise, frame):
    parts = [summarise(_chosen(frame, of, between)).assign(of=of, between=between) for of, between in _COSINES]
    return pd.concat(parts, ignore_index=True)


def _chosen(frame, of, between):
    return frame[(frame["of"] == of) & (frame["between"] == between)]


def _with_interval(cell):
    interval = "" if np.isnan(cell["low"]) else f" [{cell['low']:.3f}, {cell['high']:.3f}]"
    return f"{cell['mean']:.3f}{interval}"


def _answers(row):
    return "; ".join(f"{name}: {word}" for name, word in row.drop("claim").items() if word)
