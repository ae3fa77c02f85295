"""An artefact's runs as numbers beside the paper's, whoever trained them.

Arithmetic and words come from :mod:`synthlib.report.statistics` and :mod:`synthlib.report.verdicts`, the layout from
:mod:`synthlib.report.tables`, the drawing from :mod:`synthlib.report.figures`; here they are put together.
"""

import base64
import html
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from synthlib.machine.files import write_text
from synthlib.paper import AVERAGE_ROWS, corl_scores, normalisation_slip, paper_costs, paper_seeds
from synthlib.report import figures
from synthlib.report.statistics import (
    FINAL_EVALUATIONS,
    average_rows,
    by_task,
    improvement_interval,
    iqm,
    iqm_interval,
    probability_of_improvement,
    relative_losses,
    score_cells,
    seed_scores,
    updates_to_target,
)
from synthlib.report.tables import comparison_text, html_frame, html_table, latex_table, overall_text, wide
from synthlib.report.verdicts import (
    AVERAGE,
    AVERAGE_MARGIN,
    DIGITS_DIFFER,
    EQUAL,
    MINIMUM_SEEDS,
    NOT_COMPARABLE,
    against_baseline,
    against_paper,
    power_table,
)
from synthlib.study.algorithms import algorithm
from synthlib.study.params import Artefact
from synthlib.tasks import DATASETS

_PAPER_COLUMNS = ["arm", "dataset", "paper_mean", "paper_std", "difference", "difference_low", "difference_high"]
_PAPER_COLUMNS += ["paper_printed", "verdict"]
_RESAMPLES = 1000
_COMPARED = "Arm against arm on the same data, mean over data sets, 95 % intervals"
_OVERALL = "Over all runs, 95 % intervals"
_WORDS = {
    "final": "D4RL-normalised score x 100: mean over {n} seeds of the mean of each run's last four evaluations "
    "({span} updates)",
    "best": "D4RL-normalised score x 100: mean over {n} seeds of each run's best evaluation (of those up to {span} "
    "updates)",
    "updates": "Thousands of fine-tuning updates until a run first reaches 90 % of the mean final return of "
    "{baseline}: mean over the {n} seeds that get there",
    "loss": "Training loss of fine-tuning, mean since the evaluation before, in per cent of the mean of {baseline} "
    "(less is a better fit): mean over {n} seeds ({span} updates)",
}


@dataclass(frozen=True)
class Runs:
    """Finished runs of one artefact: all that a report is made of. Made by :mod:`synthlib.report.sources`."""

    artefact: Artefact
    evaluations: pd.DataFrame  # one row per evaluation: arm, dataset, seed, updates, score, return, loss where logged
    records: pd.DataFrame  # one row per run: arm, dataset, seed, run (its id), physics, pretraining_updates
    source: str  # replica, d4rl or path (data of our own runs), or authors
    label: str  # half a sentence that says so
    folder: Path  # where the report's files go
    missing: tuple  # one line per run that is wanted and not done
    provenance: dict  # what else a reader needs to find or repeat the runs, fit for JSON
    reduced: bool = False  # made with fewer updates, of fine-tuning or pre-training, than the paper's

    @property
    def compared_as(self):
        """What the paper's cells are compared with: the source, or that it is the right data but smaller runs."""
        return "reduced" if self.reduced and self.source == "d4rl" else self.source


class Report:
    """Everything that is shown of an artefact's runs; as a notebook's value, its table.

    Raises RuntimeError when runs made with different physics would share a data set's row.
    """

    def __init__(self, runs):
        _refuse_mixed_physics(runs.records)
        self.runs = runs
        self.artefact = runs.artefact

    @cached_property
    def scores(self):
        """One row per run: ``arm, dataset, seed, score, updates``; NaN score for a run that never got to a target."""
        artefact, evaluations = self.artefact, self.runs.evaluations
        if artefact.metric == "loss":
            return relative_losses(evaluations, artefact.baseline)
        if artefact.metric != "updates":
            return seed_scores(evaluations, artefact.metric)
        last = algorithm(artefact.algorithm).target_over  # faithfulness 3.19, 6.8
        reached = updates_to_target(evaluations, artefact.baseline, last=last)
        return reached.assign(score=reached["updates"] / 1000)

    @cached_property
    def cells(self):
        """One row per arm and data set, average rows last: ours and, where printed, the paper's."""
        ours = score_cells(self.scores.dropna(subset="score"))
        average = average_rows(ours).assign(dataset=self.average_name)
        printed = _paper_cells(self.artefact, ours, self.runs.compared_as)
        paper_average = printed[printed["dataset"].isin(AVERAGE_ROWS)].drop(columns="dataset")
        cells = [
            ours.merge(printed, on=["arm", "dataset"], how="left"),
            average.merge(paper_average, on="arm", how="left"),
        ]
        cells = pd.concat(cells, ignore_index=True).merge(_corl_cells(self.artefact), on=["arm", "dataset"], how="left")
        cells.insert(0, "table", self.artefact.paper_table)
        order = {name: place for place, name in enumerate([*self.artefact.arms, *DATASETS])}
        return cells.sort_values(["dataset", "arm"], key=lambda names: names.map(order), ignore_index=True)

    @property
    def average_name(self):
        number = self.runs.records["dataset"].nunique()
        return f"Average over {number} data set{'s' if number > 1 else ''}"

    @cached_property
    def comparisons(self):
        """Every arm against the published baseline and the matched control: verdicts, P(improvement), seeds needed.

        ``seeds`` is how many per arm and data set would find a true difference of 2.5 points in the average with 80 %
        power, spreads as observed; NaN with too few runs to say.
        """
        cells = self.cells[self.cells["dataset"] != self.average_name]
        frames = []
        for baseline in self._baselines:
            arms = [arm for arm in self.artefact.arms if arm != baseline and arm in set(cells["arm"])]
            table = against_baseline(cells, baseline, arms)
            for arm in table.loc[table["dataset"] == AVERAGE, "arm"]:
                rows = (table["arm"] == arm) & (table["dataset"] == AVERAGE)
                for name, value in self._improvement(arm, baseline, cells).items():
                    table.loc[rows, name] = value
            frames.append(table)
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["arm", "dataset", "baseline"])

    def _improvement(self, arm, baseline, cells):
        there = [set(self.scores.loc[self.scores["arm"] == name, "dataset"]) for name in (arm, baseline)]
        datasets = [dataset for dataset in DATASETS if dataset in there[0] & there[1]]
        better, other = (baseline, arm) if self.artefact.metric == "loss" else (arm, baseline)
        pair = [by_task(self.scores, name, datasets) for name in (better, other)]
        low, high = improvement_interval(*pair, generator=0, resamples=_RESAMPLES)
        found = {"improvement": probability_of_improvement(*pair), "improvement_low": low, "improvement_high": high}
        if min(len(task) for task in pair[0] + pair[1]) >= MINIMUM_SEEDS:
            found["seeds"] = power_table(cells, arm, baseline, AVERAGE_MARGIN)["seeds"].iloc[-1]
        return found

    @cached_property
    def overall(self):
        """Per arm over all its runs: mean of means and interquartile mean, each with its 95 % interval."""
        rows = self.cells[self.cells["dataset"] == self.average_name].set_index("arm")[["mean", "low", "high"]]
        for arm in rows.index:
            there = self.scores.loc[self.scores["arm"] == arm, "dataset"]
            tasks = by_task(self.scores, arm, [dataset for dataset in DATASETS if dataset in set(there)])
            enough = min(map(len, tasks)) >= MINIMUM_SEEDS  # of two runs the bootstrap would be certain
            interval = iqm_interval(tasks, generator=0, resamples=_RESAMPLES) if enough else (np.nan, np.nan)
            rows.loc[arm, ["iqm", "iqm_low", "iqm_high"]] = [iqm(tasks), *interval]
        return rows

    def caption(self):
        """One paragraph: what the numbers are, of which runs, and what stands beside them."""
        artefact = self.artefact
        n = _span(self.scores.dropna(subset="score").groupby(["arm", "dataset"]).size())
        words = _WORDS[artefact.metric].format(n=n, span=self._evaluations_that_enter(), baseline=artefact.baseline)
        spread = "" if artefact.metric == "updates" else " ± population standard deviation"
        sentences = [artefact.title, f"{words}{spread}; in parentheses the number of seeds", self.runs.label]
        if never := int(self.scores["score"].isna().sum()):
            sentences.append(f"{never} of {len(self.scores)} runs never get there and are left out")
        if (number := artefact.paper_table) is not None:
            seeds = "" if artefact.metric == "updates" else f"{_span(pd.Series(self._paper_seeds()))} seeds, "
            sentences.append(f"Paper: Table {number}, {seeds}D4RL")
            if self.cells["corl_mean"].notna().any():
                sentences.append("CORL: an independent implementation's scores of that arm, 4 seeds, D4RL")
            if self.cells["paper_printed"].notna().any():
                sentences.append("Paper (printed): as it stands there, lowered by a slip of normalisation")
        return ". ".join(sentences) + "."

    def _evaluations_that_enter(self):
        last = self.runs.evaluations.groupby(["arm", "dataset", "seed"])["updates"]
        if self.artefact.metric != "final":
            return _span(last.max())
        first = last.apply(lambda updates: updates.nlargest(FINAL_EVALUATIONS).min())
        return f"{_span(first)} to {_span(last.max())}" if first.nunique() == 1 else f"ending at {_span(last.max())}"

    def _paper_seeds(self):
        printed = self.cells.loc[self.cells["paper_mean"].notna(), "arm"].unique()
        return [paper_seeds(self.artefact.paper_table, arm) for arm in printed]

    def wide(self):
        """The table as text: rows data sets (ours, its interval, the paper's, the difference), columns arms."""
        arms = list(self.artefact.arms)
        if not self.artefact.is_table:  # what a figure shows: an average per arm
            averages = self.cells[self.cells["dataset"] == self.average_name].set_index("arm")
            return averages.reindex(arms)[["mean", "std", "n"]].round(1)
        digits = 2 if self.artefact.metric == "updates" else 1
        return wide(self.cells, arms, "authors' runs" if self.runs.source == "authors" else "ours", digits)

    def comparison_table(self):
        """The comparisons over all data sets as text: difference, interval, P(improvement), verdict, power."""
        return comparison_text(self.comparisons)

    def overall_table(self):
        """:attr:`overall` as text."""
        return overall_text(self.overall)

    def paper_verdict(self):
        """One sentence on how our cells stand to the paper's; empty without a table of the paper."""
        words = self.cells.loc[self.cells["paper_mean"].notna(), "verdict"].value_counts()
        if words.empty:
            return ""
        return "Against the paper: " + "; ".join(f"{word} ({count} cells)" for word, count in words.items()) + "."

    def missing_lines(self):
        return [f"missing: {line}" for line in self.runs.missing]

    @property
    def _baselines(self):
        """The published baseline and the matched control, as far as there are runs of them and of another arm."""
        there = set(self.cells["arm"])
        return [arm for arm in (self.artefact.baseline, self.artefact.control) if arm in there and len(there) > 1]

    @property
    def _has_comparisons(self):
        return self.artefact.metric != "updates" and bool(self._baselines)

    def text(self):
        """What the terminal shows."""
        parts = [self.caption(), "", self.wide().to_string()]
        if self._has_comparisons:
            parts += ["", f"{_COMPARED}:", self.comparison_table().to_string()]
            parts += ["", f"{_OVERALL}:", self.overall_table().to_string()]
        return "\n".join([*parts, "", self.paper_verdict(), *self.missing_lines()]).rstrip() + "\n"

    def _repr_html_(self):
        if not self.artefact.is_table:
            return html_frame(self.wide(), self.caption())
        return html_table(self.wide(), self.caption(), self.missing_lines())

    def html(self):
        """The table and all comparisons as an HTML fragment."""
        parts = [self._repr_html_()]
        if self._has_comparisons:
            parts += [html_frame(self.comparison_table(), _COMPARED), html_frame(self.overall_table(), _OVERALL)]
        return "".join([*parts, f"<p>{self.paper_verdict()}</p>"])

    def provenance(self):
        """What a reader needs to find the runs again, fit for JSON."""
        records = self.runs.records
        physics = records.assign(environment=records["dataset"].str.split("-").str[0])
        return {
            "artefact": self.artefact.name,
            "source": self.runs.source,
            **self.runs.provenance,
            "physics": physics.groupby("environment")["physics"].first().to_dict(),
            "missing": list(self.runs.missing),
            "runs": records[["arm", "dataset", "seed", "run"]].to_dict(orient="records"),
        }

    def figure(self, name):
        """(figure, alt text) of one of the artefact's figures, or of the two that every report has."""
        if name == "curves":
            return figures.learning_curves(self.runs.evaluations, list(self.artefact.arms))
        if name == "profile":
            return figures.performance_profiles(self.scores.dropna(subset="score"), list(self.artefact.arms))
        return figures.described(self.artefact.figures[name], self)

    def figure_names(self):
        """Names that :meth:`figure` knows."""
        ours = {"final": ["curves", "profile"], "best": ["profile"]}.get(self.artefact.metric, [])
        return [*self.artefact.figures, *(ours if self.artefact.is_table else [])]

    def show(self, name):
        """One of the figures as it is saved, for a notebook: an image with its alt text, which nbconvert would drop."""
        from IPython.display import HTML

        path = self._save_figure(name)
        alt = html.escape(path.with_suffix(".alt.txt").read_text().strip(), quote=True)
        data = base64.b64encode(path.read_bytes()).decode()
        return HTML(f'<img style="max-width: 100%" alt="{alt}" src="data:image/png;base64,{data}">')

    @cached_property
    def _saved(self):
        """Names of the figures that are saved already."""
        return set()

    def _save_figure(self, name):
        path = self.runs.folder / f"{name if name in self.artefact.figures else f'{self.artefact.name}_{name}'}.png"
        if name not in self._saved:
            path.parent.mkdir(parents=True, exist_ok=True)
            figures.save_figure(*self.figure(name), path)
            self._saved.add(name)
        return path

    def save(self):
        """Write tables as text, HTML, CSV, LaTeX and JSON and every figure as PNG and SVG; returns the folder."""
        folder, name = self.runs.folder, self.artefact.name
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / f"{name}.txt", self.text())
        write_text(folder / f"{name}.html", f"<!doctype html><meta charset='utf-8'><title>{name}</title>{self.html()}")
        write_text(folder / f"{name}.csv", self.cells.to_csv(index=False))
        write_text(folder / f"{name}_scores.csv", self.scores.to_csv(index=False))
        if self._has_comparisons:
            write_text(folder / f"{name}_comparisons.csv", self.comparisons.to_csv(index=False))
        if self.artefact.is_table:
            write_text(folder / f"{name}.tex", latex_table(self.wide(), self.caption()))
        cells = json.loads(self.cells.to_json(orient="records"))
        write_text(folder / f"{name}.json", json.dumps(self.provenance() | {"cells": cells}, indent=1) + "\n")
        for figure in self.figure_names():
            self._save_figure(figure)
        return folder


def _corl_cells(artefact):
    """What CORL publishes of the baseline's algorithm on the same data sets: ``arm, dataset, corl_mean, corl_std``."""
    scores = corl_scores()
    scores = scores[(scores["arm"] == artefact.baseline) & (scores["metric"] == artefact.metric)]
    return scores.rename(columns={"mean": "corl_mean", "std": "corl_std"}).drop(columns="metric")


def _paper_cells(artefact, ours, source):
    """The paper's cells beside ours, columns ``_PAPER_COLUMNS``; no row when the artefact is no table of the paper."""
    if artefact.paper_table is None:
        return pd.DataFrame(columns=_PAPER_COLUMNS)
    if artefact.metric == "updates":
        return _printed_costs(artefact, ours, source)
    # The printed values of Tables 23-25 are too low by a constant per environment: compare at the printed level, show
    # at the right one.
    slip = ours["dataset"].map(lambda dataset: normalisation_slip(artefact.paper_table, dataset))
    table = against_paper(ours.assign(mean=ours["mean"] - slip), artefact.paper_table, source)
    slip = table["dataset"].map(lambda dataset: normalisation_slip(artefact.paper_table, dataset))
    table["paper_printed"] = table["paper_mean"].where(slip != 0)
    table["paper_mean"] = table["paper_mean"] + slip
    return table.rename(columns={"low": "difference_low", "high": "difference_high"})[_PAPER_COLUMNS]


def _printed_costs(artefact, ours, source):
    printed = paper_costs(artefact.paper_table).rename(columns={"value": "paper_mean"})
    whole = ours.groupby("arm").filter(lambda of_arm: len(of_arm) == len(DATASETS))  # what is printed is of all twelve
    average = whole.groupby("arm", as_index=False)["mean"].mean().assign(dataset=AVERAGE_ROWS[0])
    table = printed.merge(pd.concat([ours, average])[["arm", "dataset", "mean"]], on=["arm", "dataset"], how="left")
    table["difference"] = table["mean"] - table["paper_mean"]
    # Half a tenth either way, since 15.25 may be printed as 15.2 or 15.3.
    equal = np.where(table["difference"].abs() <= 0.05 + 1e-9, EQUAL, DIGITS_DIFFER)
    table["verdict"] = NOT_COMPARABLE.get(source, equal if source == "authors" else "not tested")
    if source in NOT_COMPARABLE:
        table["difference"] = np.nan
    return table.reindex(columns=_PAPER_COLUMNS)


def _span(values):
    low, high = values.min(), values.max()
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _refuse_mixed_physics(records):
    environments = records["dataset"].str.split("-").str[0]
    for environment, found in records.groupby(environments)["physics"].unique().items():
        if len(found) > 1:
            raise RuntimeError(f"{environment} runs with different physics cannot share a table: {'; '.join(found)}")
