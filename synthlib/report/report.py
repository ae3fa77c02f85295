"""An artefact's runs as numbers beside the paper's, for any set of runs: ours or the authors'.

Here the parts are put together. Arithmetic and words come from :mod:`synthlib.report.statistics`,
:mod:`synthlib.report.comparisons` and :mod:`synthlib.report.verdicts`, the layout of tables from
:mod:`synthlib.report.tables`, the drawing from :mod:`synthlib.report.figures` and :mod:`synthlib.report.paper_figures`,
the files from :mod:`synthlib.report.files`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthlib.report.captions import caption
from synthlib.report.comparisons import against_baseline
from synthlib.report.countings import BOTH, both_countings, is_counted_twice
from synthlib.report.curves import Curves
from synthlib.report.figures import Drawing, performance_profiles
from synthlib.report.files import ReportFiles
from synthlib.report.findings import decides_something, findings
from synthlib.report.paper_cells import corl_cells, paper_cells
from synthlib.report.paper_figures import Chart, described_chart, text_of_figures
from synthlib.report.power import power_table
from synthlib.report.q_values import finding, q_figure, q_table
from synthlib.report.runs import Runs, refuse_mixed_physics
from synthlib.report.statistics import (
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
from synthlib.report.tables import comparison_text, html_frame, html_table, overall_text, wide
from synthlib.report.verdicts import MINIMUM_SEEDS, Margin, margin_of
from synthlib.study.algorithms import algorithm
from synthlib.study.figures import name_in_figure
from synthlib.study.sizes import with_size
from synthlib.tasks import in_data_order

_RESAMPLES = 1000
_COMPARED = "Arm against arm on the same data, mean over data sets, 95 % intervals"
_Q_VALUES = "Values of next states beside Qmax, the cap of safe Q: the greatest over the runs"
_OVERALL = "Over all runs, 95 % intervals"


class Report:
    """Everything that is shown of an artefact's runs; as a notebook's value, its table.

    Raises RuntimeError when runs made with different physics would share a data set's row.
    """

    def __init__(self, runs: Runs) -> None:
        refuse_mixed_physics(runs.records)
        self.runs = runs
        self.artefact = runs.artefact

    def label(self, arm: str) -> str:
        """The arm's name where it is shown: with the updates that were run, where the name says another number."""
        return with_size(name_in_figure(self.artefact, arm), self.runs.sizes.get(arm, {}))

    @property
    def without_their_total(self) -> list[str]:
        """The arms that were fine-tuned for longer to reach the total of another arm, and have not reached it."""
        unequal = {arm for arms in self.runs.unequal for arm in arms}
        return [arm for arm, settings in self.artefact.arms.items() if arm in unequal and "length" in settings]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per run: ``arm, dataset, seed, score, updates``; the score of a run without its target is NaN."""
        artefact, evaluations = self.artefact, self.runs.evaluations
        if artefact.metric == "loss":
            return relative_losses(evaluations, artefact.baseline)
        if artefact.metric != "updates":
            return seed_scores(evaluations, artefact.metric)
        last = algorithm(artefact.algorithm).target_over  # faithfulness 3.19, 6.8
        as_table_13 = artefact.counting == "as_table_13"
        reached = updates_to_target(evaluations, artefact.baseline, last=last, as_table_13=as_table_13)
        return reached.assign(score=reached["updates"] / 1000)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per arm and data set, then the average rows (``is_average``): ours beside the paper's and CORL's."""
        ours = score_cells(self.scores.dropna(subset="score")).assign(is_average=False)
        averages = average_rows(ours).assign(dataset=self.average_name, is_average=True)
        printed = paper_cells(self.artefact, ours, averages, self.runs.compared_as)
        # Our average may be over fewer data sets than the paper's and has a label of its own: it is found by its arm.
        printed_averages = printed[printed["is_average"]].drop(columns=["dataset", "is_average"])
        cells = [
            ours.merge(printed.drop(columns="is_average"), on=["arm", "dataset"], how="left"),
            averages.merge(printed_averages, on="arm", how="left"),
        ]
        cells = pd.concat(cells, ignore_index=True).merge(corl_cells(self.artefact), on=["arm", "dataset"], how="left")
        cells.insert(0, "table", self.artefact.paper_table)
        # What has no place, the average row, comes last.
        order = {name: place for place, name in enumerate([*self.artefact.arms, *in_data_order(ours["dataset"])])}
        return cells.sort_values(["dataset", "arm"], key=lambda names: names.map(order), ignore_index=True)

    @property
    def averages(self) -> pd.DataFrame:
        """The average rows of :attr:`cells`, one per arm."""
        return self.cells[self.cells["is_average"]]

    def averages_by_data_ratio(self) -> pd.DataFrame:
        """:attr:`averages` with ``arm`` and ``data_ratio``, the share of the data, in two columns."""
        arms, ratios = zip(*(self.artefact.ratios.get(arm, (arm, 1.0)) for arm in self.averages["arm"]), strict=True)
        return self.averages.assign(arm=arms, data_ratio=ratios)

    @property
    def _margin(self) -> Margin:
        return margin_of(self.artefact.metric)

    @property
    def _number_of_datasets(self) -> int:
        return self.runs.records["dataset"].nunique()

    @property
    def average_name(self) -> str:
        """The label of our average rows."""
        number = self._number_of_datasets
        return f"Average over {number} data set{'s' if number > 1 else ''}"

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """Every arm against the published baseline and its matched control: verdicts, P(improvement), seeds needed.

        Columns of :func:`~synthlib.report.comparisons.against_baseline`, and in the average rows ``improvement,
        improvement_low, improvement_high`` and ``seeds``: how many seeds per arm and data set would find a true
        difference of the margin in the average with 80 % power, spreads as observed (NaN: too few runs to say).
        """
        return self._comparisons_of(self._compared)

    def compared(self, pairs: Mapping[str, Sequence[str]]) -> pd.DataFrame:
        """Comparisons as text like :meth:`comparison_table`, of other pairs: {arm: the arms that it is compared with}.

        They are what a description declares beside the comparisons of all tables. Arms without runs are left out.
        """
        there = set(self.cells["arm"])
        others = dict.fromkeys(other for arm, named in pairs.items() for other in named if {arm, other} <= there)
        compared = {other: [arm for arm in pairs if arm in there and other in pairs[arm]] for other in others}
        return comparison_text(self._labelled(self._comparisons_of(compared)), self._margin)

    def _comparisons_of(self, compared: Mapping[str, Sequence[str]]) -> pd.DataFrame:
        """:attr:`comparisons` of {baseline: the arms that are compared with it}."""
        cells = self.cells[~self.cells["is_average"]]
        frames = []
        for baseline, arms in compared.items():
            table = against_baseline(cells, baseline, arms, self._margin.cell, self._margin.average)
            for arm in table.loc[table["is_average"], "arm"]:
                rows = (table["arm"] == arm) & table["is_average"]
                for name, value in self._improvement(arm, baseline, cells).items():
                    table.loc[rows, name] = value
            frames.append(table)
        empty = pd.DataFrame(columns=["arm", "dataset", "baseline", "is_average"]).astype({"is_average": bool})
        return pd.concat(frames, ignore_index=True) if frames else empty

    def _improvement(self, arm: str, baseline: str, cells: pd.DataFrame) -> dict[str, Any]:
        there = [set(self.scores.loc[self.scores["arm"] == name, "dataset"]) for name in (arm, baseline)]
        datasets = in_data_order(there[0] & there[1])
        first, second = (baseline, arm) if self.artefact.metric == "loss" else (arm, baseline)
        tasks, others = by_task(self.scores, first, datasets), by_task(self.scores, second, datasets)
        low, high = improvement_interval(tasks, others, generator=0, resamples=_RESAMPLES)
        found = {
            "improvement": probability_of_improvement(tasks, others),
            "improvement_low": low,
            "improvement_high": high,
        }
        if min(map(len, tasks + others)) >= MINIMUM_SEEDS:
            found["seeds"] = power_table(cells, arm, baseline, self._margin.average)["seeds"].iloc[-1]
        return found

    @cached_property
    def overall(self) -> pd.DataFrame:
        """Per arm over all its runs: mean of means and interquartile mean, each with its 95 % interval."""
        rows = self.averages.set_index("arm")[["mean", "low", "high"]]
        for arm in rows.index:
            there = self.scores.loc[self.scores["arm"] == arm, "dataset"]
            tasks = by_task(self.scores, arm, in_data_order(there))
            enough = min(map(len, tasks)) >= MINIMUM_SEEDS  # of two runs the bootstrap would be certain
            interval = iqm_interval(tasks, generator=0, resamples=_RESAMPLES) if enough else (np.nan, np.nan)
            rows.loc[arm, ["iqm", "iqm_low", "iqm_high"]] = [iqm(tasks), *interval]
        return rows

    def caption(self) -> str:
        """One paragraph: what the numbers are, which runs they are made of, and what stands beside them."""
        return caption(self)

    def wide(self) -> pd.DataFrame:
        """The table as text: rows data sets (ours, its interval, the paper's, the difference), columns arms.

        For a figure: one row per arm, the numbers ``mean, std, n`` of its average.
        """
        arms = list(self.artefact.arms)
        if not self.artefact.is_table:
            return self.averages.set_index("arm").reindex(arms)[["mean", "std", "n"]].round(1).rename(index=self.label)
        digits = 2 if self.artefact.metric == "updates" else 1
        ours = "authors' runs" if self.runs.by_authors else "ours"
        return wide(self.cells, arms, self._number_of_datasets, ours, digits).rename(columns=self.label)

    def comparison_table(self) -> pd.DataFrame:
        """The comparisons over all data sets as text: difference, interval, P(improvement), verdict, power."""
        return comparison_text(self._labelled(self.comparisons), self._margin)

    def overall_table(self) -> pd.DataFrame:
        """:attr:`overall` as text."""
        return overall_text(self.overall.rename(index=self.label))

    def _labelled(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(arm=frame["arm"].map(self.label))

    def paper_verdict(self) -> str:
        """One sentence that counts the verdicts on our cells beside the paper's; empty without a table of the paper."""
        words = self.cells.loc[self.cells["paper_mean"].notna(), "verdict"].value_counts()
        if words.empty:
            return ""
        return "Against the paper: " + "; ".join(f"{word} ({count} cells)" for word, count in words.items()) + "."

    def missing_lines(self) -> list[str]:
        """One line per run that is wanted and not done."""
        return [f"missing: {line}" for line in self.runs.missing]

    @property
    def _compared(self) -> dict[str, list[str]]:
        """{published baseline or a matched control: the arms that are compared with it}, as far as there are runs."""
        artefact = self.artefact
        there = [arm for arm in artefact.arms if arm in set(self.cells["arm"])]
        compared: dict[str, list[str]] = {name: [] for name in (artefact.baseline, artefact.control) if name in there}
        for arm in there:
            for name in {artefact.baseline, artefact.control_of(arm)} - {arm, None}:
                if name in there:
                    compared.setdefault(str(name), []).append(arm)
        return {name: arms for name, arms in compared.items() if arms}

    @cached_property
    def larger(self) -> list[Report]:
        """Reports of :attr:`Runs.larger`, of those with enough seeds to decide something."""
        return [report for report in map(Report, self.runs.larger) if decides_something(report)]

    @property
    def has_comparisons(self) -> bool:
        """Whether arms are compared with each other."""
        return self.artefact.metric != "updates" and bool(self._compared)

    def text(self) -> str:
        """What the terminal shows: the table with its comparisons, or the numbers of the figures."""
        if not self.artefact.is_table:
            return "\n".join([text_of_figures(self), *self.missing_lines()]).rstrip() + "\n"
        parts = [self.caption(), "", self.wide().to_string()]
        if is_counted_twice(self):
            parts += ["", f"{BOTH}:", both_countings(self).to_string(na_rep="-")]
        if self.has_comparisons:
            parts += ["", f"{_COMPARED}:", self.comparison_table().to_string()]
            parts += ["", f"{_OVERALL}:", self.overall_table().to_string()]
        if self.runs.q_values is not None:
            parts += ["", f"{_Q_VALUES}:", q_table(self.runs.q_values).to_string(), finding(self)]
        notes = [textwrap.fill(sentence, 150) for sentence in findings(self)]
        return "\n".join([*parts, "", *notes, self.paper_verdict(), *self.missing_lines()]).rstrip() + "\n"

    def _repr_html_(self) -> str:
        if not self.artefact.is_table:
            return html_frame(self.wide(), self.caption())
        return html_table(self.wide(), self.caption(), [*findings(self), *self.missing_lines()])

    def html(self) -> str:
        """The table and all comparisons, or the numbers of the figures, as an HTML fragment."""
        parts = [self._repr_html_()]
        if not self.artefact.is_table:
            charts = map(self.chart, self.artefact.figures)
            parts += [html_frame(chart.numbers(), chart.caption) for chart in charts]
        if is_counted_twice(self):
            parts.append(html_frame(both_countings(self), BOTH))
        if self.has_comparisons:
            parts += [html_frame(self.comparison_table(), _COMPARED), html_frame(self.overall_table(), _OVERALL)]
        if self.runs.q_values is not None:
            parts += [html_frame(q_table(self.runs.q_values), _Q_VALUES), f"<p>{finding(self)}</p>"]
        return "".join([*parts, f"<p>{self.paper_verdict()}</p>"])

    def figure(self, name: str) -> Drawing:
        """(figure, alt text) of one of the artefact's figures, or of those that :meth:`figure_names` adds."""
        arms = [self.label(arm) for arm in self.artefact.arms]
        if name == "curves":
            return Curves(self._labelled(self.runs.evaluations), arms).draw()
        if name == "profile":
            return performance_profiles(self._labelled(self.scores.dropna(subset="score")), arms)
        if name == "q_values" and self.runs.q_values is not None:
            return q_figure(self._labelled(self.runs.q_values), arms)
        return self.chart(name).draw()

    def chart(self, name: str) -> Chart:
        """One of the artefact's figures before it is drawn: its caption and its numbers."""
        return described_chart(self.artefact.figures[name], self)

    def figure_names(self) -> list[str]:
        """Names that :meth:`figure` knows."""
        ours = {"final": ["curves", "profile"], "best": ["profile"]}.get(self.artefact.metric, [])
        ours += ["q_values"] if self.runs.q_values is not None else []
        return [*self.artefact.figures, *(ours if self.artefact.is_table else [])]

    @cached_property
    def _files(self) -> ReportFiles:
        return ReportFiles(self)

    def show(self, name: str) -> Any:
        """One of the figures as it is saved, for a notebook: see :meth:`synthlib.report.files.ReportFiles.image`."""
        return self._files.image(name)

    def save(self) -> Path:
        """Write everything that :class:`synthlib.report.files.ReportFiles` knows to write; returns the folder."""
        return self._files.save()
