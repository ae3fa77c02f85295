"""Figure 12 as a report: cosine similarities by arm, drawn, tabulated, and compared with what the paper says of them.

The numbers come from :mod:`synthlib.dt.similarity`, or are the averages that the authors' programs left. Statistics and
words are the same as in the score tables: means over data sets of means over seeds, Welch intervals, and for every
claim the strictest answer of its comparisons. No margin is declared: a difference is shown or not.
"""

import itertools
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from synthlib.paper import logged_similarities, paper_claims
from synthlib.report.comparisons import against_baseline
from synthlib.report.judgements import NOT_LOGGED, Judgement, all_of, over_fewer
from synthlib.report.paper_figures import cosine_text
from synthlib.report.report import Report
from synthlib.report.runs import Runs
from synthlib.report.statistics import average_rows, score_cells, seed_scores
from synthlib.report.tables import html_frame
from synthlib.report.verdicts import FAILS, HOLDS, LEVEL, NO_RUNS, NOT_ENOUGH_RUNS, UNDECIDED, claim_answer

Rule = dict[str, Any]
AGAINST_CONTROLS = "against the matched control"
_VERDICT = "What the paper says of Figure 12"
# Which cosine: of which quantity, between which two stages.
_COSINES = list(itertools.product(("weights", "features"), ("PT vs FT", "RI vs FT")))


class SimilarityReport(Report):
    """A report whose numbers are cosines.

    ``similarities``: rows of ``arm, dataset, seed, comparison, weights, features``, one per run and comparison. For the
    authors' runs the rows of :func:`authors_similarities`, which are averages: they have no interval, so a claim is
    judged by the averages alone.
    """

    def __init__(self, runs: Runs, similarities: pd.DataFrame) -> None:
        super().__init__(runs)
        self._similarities = similarities

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per run, pair of stages and quantity: ``arm, dataset, seed, between, of, score`` (a cosine)."""
        rows = self._similarities.rename(columns={"comparison": "between"})
        which = ["arm", "dataset", "seed", "between"]
        return rows.melt(which, ["weights", "features"], var_name="of", value_name="score")

    @cached_property
    def by_dataset(self) -> pd.DataFrame:
        """One row per arm, data set, pair of stages and quantity: columns of ``statistics.score_cells``."""
        return _for_each_cosine(score_cells, self.scores)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per arm, pair of stages and quantity: mean over data sets, its 95 % interval, and the mean score.

        DT starts from its random initialisation only, so it has no "PT vs FT".
        """
        cells = _for_each_cosine(average_rows, self.by_dataset)
        cells = cells[(cells["arm"] != self.artefact.baseline) | (cells["between"] == "RI vs FT")]
        scores = average_rows(self._final_cells).set_index("arm")["mean"]
        return cells.assign(final_score=cells["arm"].map(scores)).reset_index(drop=True)

    @cached_property
    def claims(self) -> pd.DataFrame:
        """One row per claim of appendix H: what it says, and a word for each baseline that it can be compared with."""
        rows = {}
        for claim in paper_claims():
            if rules := claim.get("similarities"):
                row = {"claim": claim["says"].strip(), "as published": self.judge(rules).word}
                if all(rule["baselines"] == [self.artefact.baseline] for rule in rules):
                    row[AGAINST_CONTROLS] = self.judge(rules, matched=True).word
            elif rules := claim.get("order"):
                row = {"claim": claim["says"].strip(), "as published": self.judge_order(rules).word}
            else:
                continue
            rows[claim["id"]] = row
        return pd.DataFrame.from_dict(rows, orient="index").fillna("")

    def judge(self, rules: list[Rule], matched: bool = False) -> Judgement:
        """The strictest answer to ``rules``: is a cosine ``of`` weights or features ``between`` two stages higher?

        ``factor`` asks for more: the baseline's cosine is at least so many times the arm's. ``matched``: arms are held
        against their matched controls, in the place of the published baseline.
        """
        parts = []
        for rule in rules:
            for arm, baseline in itertools.product(rule["arms"], rule["baselines"]):
                of_control = matched and baseline == self.artefact.baseline
                parts.append(self._answer(rule, arm, str(self.artefact.control_of(arm)) if of_control else baseline))
        return self._with_what_it_rests_on(all_of(parts), rules)

    def _answer(self, rule: Rule, arm: str, baseline: str) -> Judgement:
        # "a lower than b" is asked as "b higher than a", the form that claim_answer knows.
        higher, lower = (arm, baseline) if rule["must"] == "higher" else (baseline, arm)
        cells = _chosen(self.by_dataset, rule["of"], rule["between"])
        if absent := [name for name in (arm, baseline) if name not in set(cells["arm"])]:
            reason = NOT_LOGGED if self.runs.by_authors else NO_RUNS
            return Judgement(reason, f"{rule['between']} of {', '.join(absent)}")
        factor = rule.get("factor", 1)
        times = np.where(cells["arm"] == lower, factor, 1)
        cells = cells.assign(mean=times * cells["mean"], std=times * cells["std"])
        table = against_baseline(cells, lower, [higher], margin=0, average_margin=0)
        average = table[table["is_average"]].assign(must="higher")
        if average.empty:
            return Judgement(NOT_ENOUGH_RUNS)
        (row,) = average.itertuples()
        detail = f"{higher} {cosine_text(row.mean)}, {lower} {cosine_text(row.baseline_mean / factor)}"
        if self.runs.by_authors:
            return Judgement(HOLDS if row.difference > 0 else FAILS, detail)
        return Judgement(claim_answer(row, margin=0), detail)

    def judge_order(self, rules: list[Rule]) -> Judgement:
        """Whether a cosine falls from arm to arm as the final score rises ("inversely proportional").

        It fails when two arms stand in the wrong order, by the averages where no spread is known, and otherwise where
        the difference of the cosines and that of the scores are shown. It holds when all pairs are shown in order.
        """
        parts = [
            self._ordered(rule, first, second)
            for rule in rules
            for first, second in itertools.combinations(rule["arms"], 2)
        ]
        return self._with_what_it_rests_on(all_of(parts), rules)

    def _with_what_it_rests_on(self, found: Judgement, rules: list[Rule]) -> Judgement:
        """The judgement, and whether averages alone or fewer data sets than the paper's decide it."""
        if found.word not in (HOLDS, FAILS, UNDECIDED):
            return found
        if self.runs.by_authors:
            return found._replace(detail=f"{found.detail}; averages alone, their spread is not public")
        arms = {arm for rule in rules for arm in [*rule["arms"], *rule.get("baselines", [])]}
        runs = self.by_dataset[self.by_dataset["arm"].isin(arms)]
        return found._replace(detail=found.detail + over_fewer(runs.groupby("arm")["dataset"].nunique().min()))

    def _ordered(self, rule: Rule, first: str, second: str) -> Judgement:
        cosines, scores = _chosen(self.by_dataset, rule["of"], rule["between"]), self._final_cells
        for cells in (cosines, scores):
            if absent := [name for name in (first, second) if name not in set(cells["arm"])]:
                return Judgement(NO_RUNS, f"of {', '.join(absent)}")
        rows = []
        for cells in (cosines, scores):
            table = against_baseline(cells, second, [first], margin=0, average_margin=0)
            rows.extend(table[table["is_average"]].itertuples())
        if len(rows) < 2:
            return Judgement(NOT_ENOUGH_RUNS)
        cosine, score = rows
        opposite = cosine.difference * score.difference < 0
        words = [
            f"{arm} {at:.3f} / {final:.1f}"
            for arm, at, final in (
                (first, cosine.mean, score.mean),
                (second, cosine.baseline_mean, score.baseline_mean),
            )
        ]
        detail = f"{' and '.join(words)} {'stand in' if opposite else 'break'} the order"
        if self.runs.by_authors:
            return Judgement(HOLDS if opposite else FAILS, detail)
        if NOT_ENOUGH_RUNS in (cosine.verdict, score.verdict):
            return Judgement(NOT_ENOUGH_RUNS)
        if cosine.p_different < LEVEL and score.p_different < LEVEL:
            return Judgement(HOLDS if opposite else FAILS, detail)
        return Judgement(UNDECIDED, detail)

    @cached_property
    def _final_cells(self) -> pd.DataFrame:
        """Cells of the final scores of these runs."""
        return score_cells(seed_scores(self.runs.evaluations))

    def wide(self) -> pd.DataFrame:
        """The cosines as text: rows arms, columns quantities and pairs of stages."""
        columns = {}
        for cosine in _COSINES:
            found = _chosen(self.cells, *cosine).set_index("arm")
            columns[", ".join(cosine)] = found.apply(_with_interval, axis=1)
        columns["final score"] = self.cells.groupby("arm")["final_score"].first().map("{:.1f}".format)
        table = pd.DataFrame(columns)
        return table.reindex([arm for arm in self.artefact.arms if arm in table.index]).rename_axis(None).fillna("-")

    def caption(self) -> str:
        """One paragraph: what the numbers are, and which runs they are made of."""
        stages = "PT: after pre-training, RI: random initialisation, FT: after fine-tuning"
        if self.runs.by_authors:
            return (
                f"{self.artefact.title}: cosine similarities averaged over all of the authors' runs. {stages}. For RI "
                "vs FT only the cosines of DT are public, and no spread is public for any arm: the words below compare "
                f"averages alone. {self.runs.label}."
            )
        n = self._similarities.groupby(["arm", "dataset"])["seed"].nunique()
        return (
            f"{self.artefact.title}: cosine similarities, mean over seeds and data sets with its 95 % interval "
            f"({len(n)} pairs of arm and data set, {n.min()} seeds or more). {stages}. {self.runs.label}."
        )

    def text(self) -> str:
        """What the terminal shows."""
        said = [f"{row['claim']}\n    {_answers(row)}" for _, row in self.claims.iterrows()]
        parts = [self.caption(), "", self.wide().to_string(), "", f"{_VERDICT}:", *said, "", *self.missing_lines()]
        return "\n".join(parts).rstrip() + "\n"

    def _repr_html_(self) -> str:
        return html_frame(self.wide(), self.caption())

    def html(self) -> str:
        """The table and the claims as an HTML fragment."""
        return self._repr_html_() + html_frame(self.claims, _VERDICT)

    @property
    def has_comparisons(self) -> bool:
        return False


def authors_similarities(baseline: str | None) -> pd.DataFrame:
    """The averages that the authors' programs left, in the form that :class:`SimilarityReport` takes.

    The ``baseline`` starts from its random initialisation only, so both pairs of stages are the same for it.
    """
    averages = logged_similarities()
    own_start = averages[averages["arm"] == baseline].assign(comparison="PT vs FT")
    return pd.concat([averages, own_start], ignore_index=True).assign(dataset="all", seed="all")


def _for_each_cosine(summarise: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame) -> pd.DataFrame:
    parts = [
        summarise(_chosen(frame, quantity, stages)).assign(of=quantity, between=stages) for quantity, stages in _COSINES
    ]
    return pd.concat(parts, ignore_index=True)


def _chosen(frame: pd.DataFrame, quantity: str, stages: str) -> pd.DataFrame:
    return frame[(frame["of"] == quantity) & (frame["between"] == stages)]


def _with_interval(cell: pd.Series) -> str:
    interval = "" if np.isnan(cell["low"]) else f" [{cosine_text(cell['low'])}, {cosine_text(cell['high'])}]"
    return f"{cosine_text(cell['mean'])}{interval}"


def _answers(row: pd.Series) -> str:
    return "; ".join(f"{name}: {word}" for name, word in row.drop("claim").items() if word)
