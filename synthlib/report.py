"""A plan's runs as a table beside the paper's, its curves and its verdicts, and the files that carry them.

Numbers and words come from :mod:`synthlib.statistics` and :mod:`synthlib.verdicts`; here they are only laid out.
"""

import html
import json
from dataclasses import dataclass

import pandas as pd

from synthlib.atomic_files import write_text
from synthlib.data_sources import parse_source
from synthlib.engine import describe
from synthlib.figures import learning_curves, save_figure
from synthlib.paper import AVERAGE_ROWS
from synthlib.paths import outputs, store_root
from synthlib.statistics import (
    FINAL_EVALUATIONS,
    average_rows,
    by_task,
    improvement_interval,
    probability_of_improvement,
    score_cells,
    seed_scores,
)
from synthlib.store import Store, describe_environment
from synthlib.study import Plan
from synthlib.verdicts import AVERAGE, MINIMUM_SEEDS, against_baseline, against_paper

_SOURCES = {
    "replica": "replica data (D4RL's recipe, made by this project; scores are not comparable with the paper's)",
    "d4rl": "official D4RL v2 data",
    "path": "the user's own files in D4RL's layout",
}


def table_folder(plan):
    """``outputs/<preset>/<table>``, with the data source in the name unless it is the default replica."""
    kind = parse_source(plan.source).kind
    return outputs() / plan.preset / (plan.artefact.name + ("" if kind == "replica" else f"-{kind}"))


def collect(plan):
    """All evaluations that the plan's finished runs made: columns arm, dataset, seed, updates, score, return.

    Returns the frame and the cells whose run is not done, so that a reader is told.
    """
    store = Store(store_root())
    frames, missing = [], []
    for cell in plan.cells:
        if not store.is_done(cell.job):
            missing.append(cell)
            continue
        rows = store.evaluations(cell.job).rename(columns={"return_mean": "return"})
        frames.append(rows.assign(arm=cell.arm, dataset=cell.dataset, seed=cell.seed))
    if not frames:
        raise RuntimeError(f"{plan.artefact.name}, preset {plan.preset}: no run is done; make run-{plan.artefact.name}")
    return pd.concat(frames, ignore_index=True), missing


def pretraining_curves(plan):
    """(figure, alt text) of the critics' pre-training losses, both critics summed, one panel per pair of widths."""
    store, frames = Store(store_root()), []
    for cell in plan.cells:
        for job in cell.job.requires:
            rows = store.losses(job)
            if len(rows) and cell.seed == plan.cells[0].seed:
                widths = f"{job.config['observation_width']} observations, {job.config['action_width']} actions"
                loss = rows["qf1_loss"] + rows["qf2_loss"]
                frames.append(rows[["updates"]].assign(loss=loss, arm=cell.arm, dataset=widths, seed=42, key=job.key))
    if not frames:
        raise RuntimeError("no pre-training of this plan is long enough to have logged a loss")
    curves = pd.concat(frames).drop_duplicates(["key", "updates", "dataset"])
    arms = [arm for arm in plan.artefact.arms if arm in set(curves["arm"])]
    return learning_curves(curves, arms, smoothing=1, value="loss", label="loss", xlabel="pre-training updates")


@dataclass(frozen=True)
class Report:
    """Everything that is shown of a plan; :func:`make_report` fills it."""

    plan: Plan
    evaluations: pd.DataFrame
    scores: pd.DataFrame  # one row per run
    cells: pd.DataFrame  # one row per arm and data set: ours and, where printed, the paper's
    comparisons: pd.DataFrame  # arms against the baseline and against the matched control
    missing: list

    def caption(self):
        settings, artefact = self.plan.settings, self.plan.artefact
        first = settings["updates"] - (FINAL_EVALUATIONS - 1) * settings["evaluate_every"]
        seeds = self.scores.groupby(["arm", "dataset"])["seed"].size()
        n = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()}-{seeds.max()}"
        return (
            f"{artefact.title}. D4RL-normalised score x 100: mean over n = {n} seeds of the last {FINAL_EVALUATIONS} "
            f"evaluations (updates {first:,} to {settings['updates']:,}) ± population standard deviation. "
            f"Preset {self.plan.preset}; {_SOURCES[parse_source(self.plan.source).kind]}. "
            f"Paper: Table {artefact.paper_table}, 20 seeds, 1,000,000 updates, D4RL."
        )

    def wide(self):
        """Rows data sets and average, columns arms, two values each: ours and the paper's, as text."""
        arms = list(self.plan.artefact.arms)
        rows = {}
        for (dataset, arm), cell in self.cells.set_index(["dataset", "arm"]).iterrows():
            rows.setdefault((dataset, "ours"), {})[arm] = _plus_minus(cell["mean"], cell["std"])
            whose = "paper, 12 data sets" if dataset.startswith("Average") else "paper"
            rows.setdefault((dataset, whose), {})[arm] = _plus_minus(cell["paper_mean"], cell["paper_std"])
        return pd.DataFrame(rows).T.reindex(columns=arms).fillna("-")

    def comparison_table(self):
        """The comparisons over all data sets as text: difference, interval, P(improvement), verdict."""
        average = self.comparisons[self.comparisons["dataset"] == AVERAGE]
        rows = {}
        for _, row in average.iterrows():
            interval, better = "", f"{row['improvement']:.2f}"
            # An interval from two runs is a play with numbers: the bootstrap would even call it certain.
            if min(row["n"], row["baseline_n"]) >= MINIMUM_SEEDS:
                interval = f" [{row['low']:+.1f}, {row['high']:+.1f}]"
                better += f" [{row['improvement_low']:.2f}, {row['improvement_high']:.2f}]"
            rows[row["arm"], f"against {row['baseline']}"] = {
                "difference": f"{row['difference']:+.1f}{interval}",
                "P(improvement)": better,
                "verdict": row["verdict"],
            }
        return pd.DataFrame(rows).T

    def text(self):
        """What the terminal shows."""
        parts = [self.caption(), "", self.wide().to_string(), "", "Ours against ours, mean over data sets, 95 %:"]
        parts += [self.comparison_table().to_string(), "", self.paper_verdict(), *self.missing_lines()]
        return "\n".join(parts) + "\n"

    def paper_verdict(self):
        """One sentence on how our cells stand to the paper's."""
        words = self.cells.loc[self.cells["paper_mean"].notna(), "verdict"].value_counts()
        return "Against the paper: " + "; ".join(f"{word} ({count} cells)" for word, count in words.items()) + "."

    def missing_lines(self):
        return [f"missing: {cell.arm}, {describe(cell.job)}" for cell in self.missing]

    def html(self):
        """The table as an HTML fragment, the paper's cells in smaller type below ours."""
        wide = self.wide()
        head = "".join(f"<th scope='col'>{html.escape(arm)}</th>" for arm in wide.columns)
        body = []
        for dataset in dict.fromkeys(wide.index.get_level_values(0)):
            ours, papers = wide.loc[dataset].to_numpy()
            values = "".join(
                f"<td>{our}<br><small>{paper}</small></td>" for our, paper in zip(ours, papers, strict=True)
            )
            body.append(f"<tr><th scope='row'>{html.escape(dataset)}</th>{values}</tr>")
        lines = "".join(f"<p><strong>{html.escape(line)}</strong></p>" for line in self.missing_lines())
        return (
            f"<table><caption>{html.escape(self.caption())} Small type: the paper's cell.</caption>"
            f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{lines}"
        )

    def latex(self):
        wide = self.wide().map(lambda cell: cell.replace("±", r"$\pm$"))
        wide.index = [dataset if whose == "ours" else rf"\quad {whose}" for dataset, whose in wide.index]
        return wide.to_latex(caption=self.caption().replace("±", r"$\pm$"), column_format="l" + "r" * len(wide.columns))

    def provenance(self):
        """What a reader needs to find the runs again."""
        plan = self.plan
        data = {cell.dataset: cell.job.config["dataset"]["checksum"] for cell in plan.cells}
        versions = {name: value for name, value in describe_environment().items() if name != "host"}
        versions["made"] = versions.pop("started")
        return {
            "artefact": plan.artefact.name,
            "preset": plan.preset,
            "settings": plan.settings,
            "source": parse_source(plan.source).kind,
            "data_checksums": data,
            "physics": {cell.dataset: cell.job.config["physics"] for cell in plan.cells},
            "environment": versions,
            "runs": [
                {"arm": cell.arm, "dataset": cell.dataset, "seed": cell.seed, "run": cell.job.key}
                for cell in plan.cells
            ],
        }

    def save(self, folder=None):
        """Write the table as text, HTML, CSV, LaTeX and JSON, and the curves as PNG and SVG; returns the folder."""
        folder = folder or table_folder(self.plan)
        folder.mkdir(parents=True, exist_ok=True)
        name = self.plan.artefact.name
        write_text(folder / f"{name}.txt", self.text())
        write_text(folder / f"{name}.html", f"<!doctype html><meta charset='utf-8'><title>{name}</title>{self.html()}")
        write_text(folder / f"{name}.csv", self.cells.to_csv(index=False))
        write_text(folder / f"{name}_comparisons.csv", self.comparisons.to_csv(index=False))
        write_text(folder / f"{name}_scores.csv", self.scores.to_csv(index=False))
        write_text(folder / f"{name}.tex", self.latex())
        cells = json.loads(self.cells.to_json(orient="records"))
        write_text(folder / f"{name}.json", json.dumps(self.provenance() | {"cells": cells}, indent=1) + "\n")
        save_figure(*self.curves(), folder / f"{name}_curves")
        return folder

    def curves(self):
        """(figure, alt text) of the learning curves."""
        return learning_curves(self.evaluations, list(self.plan.artefact.arms))


def make_report(plan):
    """Collect a plan's finished runs into a :class:`Report`. RuntimeError when none is done, or physics are mixed."""
    evaluations, missing = collect(plan)
    _refuse_mixed_physics(plan)
    scores = seed_scores(evaluations, plan.artefact.metric, until=plan.settings["updates"])
    ours = score_cells(scores)
    average = average_rows(ours).assign(dataset=f"Average over {ours['dataset'].nunique()} data sets")
    printed = against_paper(ours, plan.artefact.paper_table, parse_source(plan.source).kind)
    keep = ["arm", "dataset", "paper_mean", "paper_std", "difference", "verdict"]
    cells = ours.merge(printed[keep], on=["arm", "dataset"], how="left")
    paper_average = printed[printed["dataset"].isin(AVERAGE_ROWS)][keep].drop(columns="dataset")
    cells = pd.concat([cells, average.merge(paper_average, on="arm", how="left")], ignore_index=True)
    return Report(plan, evaluations, scores, cells, _comparisons(plan, scores, ours), missing)


def _comparisons(plan, scores, cells):
    """Every arm against the published baseline and against the matched control, with P(improvement)."""
    frames = []
    for baseline in (plan.artefact.baseline, plan.artefact.control):
        arms = [arm for arm in plan.artefact.arms if arm != baseline and arm in set(cells["arm"])]
        table = against_baseline(cells, baseline, arms)
        for arm in arms:
            datasets = [name for name in plan.settings["datasets"] if _both_ran(scores, arm, baseline, name)]
            pair = by_task(scores, arm, datasets), by_task(scores, baseline, datasets)
            rows = (table["arm"] == arm) & (table["dataset"] == AVERAGE)
            table.loc[rows, "improvement"] = probability_of_improvement(*pair)
            interval = improvement_interval(*pair, generator=0)
            table.loc[rows, ["improvement_low", "improvement_high"]] = list(interval)
        frames.append(table)
    return pd.concat(frames, ignore_index=True)


def _both_ran(scores, arm, baseline, dataset):
    there = set(scores.loc[scores["dataset"] == dataset, "arm"])
    return {arm, baseline} <= there


def _refuse_mixed_physics(plan):
    versions = {}
    for cell in plan.cells:
        physics = cell.job.config["physics"]
        versions.setdefault(physics["environment"], set()).add(json.dumps(physics, sort_keys=True))
    for environment, found in versions.items():
        if len(found) > 1:
            raise RuntimeError(f"{environment} runs with different physics cannot share a table: {'; '.join(found)}")


def _plus_minus(mean, std):
    if pd.isna(mean):
        return "-"
    return f"{mean:.1f}" if pd.isna(std) else f"{mean:.1f} ± {std:.1f}"
