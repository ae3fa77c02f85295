"""Cards of what is pushed to a hub: YAML front matter, the results with n and uncertainty, the data, the licence."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from synthlib.machine.description import describe_environment
from synthlib.offline.cards import card, card_markdown
from synthlib.offline.sources import parse_source, reference_returns
from synthlib.paths import data_cache
from synthlib.report.report import Report
from synthlib.runs.job import Job
from synthlib.study.algorithms import algorithm, describe, training
from synthlib.study.plan import Plan
from synthlib.tasks import REFERENCE_RETURNS, environment_of

PAPER = "arxiv:2310.00771"
_SCORES = ("final", "best")  # metrics whose numbers are D4RL-normalised scores
_REPLICA = (
    "The data are a replica: D4RL's recipe with behaviour policies of the companion's own. Scores on it are not "
    "comparable with scores on D4RL's data."
)


def card_of_runs(plan: Plan, report: Report | None, jobs: Sequence[Job], folders: Sequence[Path], licence: str) -> str:
    """The card of a table's trainings. ``report`` is None where no run of the table is finished.

    ``folders``: of each of ``jobs``, relative to the card.
    """
    front: dict[str, Any] = {
        "license": licence,
        "library_name": "synthlib",
        "pipeline_tag": "reinforcement-learning",
        "tags": ["offline-reinforcement-learning", "d4rl", "mujoco", algorithm(plan.artefact.algorithm).name, PAPER],
    }
    if report is not None and plan.artefact.metric in _SCORES:
        front["model-index"] = [_results(plan, report)]
    return "\n".join(
        [
            _front_matter(front),
            f"# {plan.artefact.title}",
            "",
            f"Trainings of `{plan.artefact.name}` of the companion to *Pre-training with Synthetic Data Helps Offline "
            "Reinforcement Learning* (ICLR 2024): pre-trained weights, the runs that were fine-tuned from them, and "
            "the policies that were kept.",
            "",
            f"* preset: `{plan.preset}`; {_sizes(plan)}",
            f"* data: {_source(plan)}; {_checksums(plan)}",
            f"* made with: {_versions()}",
            f"* licence: {licence}",
            "",
            *([_REPLICA, ""] if plan.source == "replica" else []),
            "## Results",
            "",
            *(_table(plan, report) if report is not None else ["No run of this table is finished."]),
            "",
            "## Files",
            "",
            *_files(plan, jobs, folders),
            "",
            "## Use",
            "",
            "`make pull HUB=...` of the companion puts all of it into its store, and `make show-` prints the table.",
            "",
            *_use_of_gpt2(jobs, folders),
        ]
    )


def _use_of_gpt2(jobs: Sequence[Job], folders: Sequence[Path]) -> list[str]:
    """How to read the first GPT-2 among the trainings; nothing where there is none."""
    kept = [folder / str(max(job.keep)) for job, folder in zip(jobs, folders, strict=True) if training(job).huggingface]
    if not kept:
        return []
    return [
        "A GPT-2 is read by transformers as well, and a folder with one is an arm (`weights: folder`):",
        "",
        "```python",
        "from transformers import GPT2Model",
        "",
        f'GPT2Model.from_pretrained("user/name", subfolder="{kept[0].as_posix()}")',
        "```",
        "",
    ]


def card_of_data(names: Iterable[str], source: str, licence: str) -> str:
    """The card of data sets: what is in each, and where it comes from."""
    cards = [card(name, source, data_cache()) for name in names]
    rows = sum(one["transitions"] for one in cards)
    size = next(word for limit, word in _SIZES if rows < limit)
    front = {
        "license": licence,
        "task_categories": ["reinforcement-learning"],
        "tags": ["offline-reinforcement-learning", "d4rl", "mujoco"],
        "size_categories": [size],
    }
    title = "Offline data sets in D4RL's layout"
    returns = [
        f"* {name}: a return of {low:g} scores 0, a return of {high:g} scores 100"
        for name in (one["name"] for one in cards)
        for low, high in [reference_returns(name, source) or REFERENCE_RETURNS[environment_of(name)]]
    ]
    words = ["Reference returns of the normalised scores:", "", *returns, "", f"Licence: {licence}.", ""]
    use = "`make pull HUB=... TO=folder` of the companion fetches the files; `DATA=path:folder` trains on them.\n"
    return "\n".join([_front_matter(front), f"# {title}", "", *words, *map(card_markdown, cards), use])


_SIZES = (
    *((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")),
    *((10_000_000, "1M<n<10M"), (1 << 62, "10M<n<100M")),
)


def _front_matter(front: dict[str, Any]) -> str:
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n"


def _results(plan: Plan, report: Report) -> dict[str, Any]:
    """The results in the hub's own terms; a number that is not there, such as the spread of one run, is left out."""
    results = []
    for dataset, cells in _cells(report).groupby("dataset", sort=False):
        metrics = []
        for cell in cells.itertuples():
            args: dict[str, Any] = {"arm": str(cell.arm), "n": int(cell.n)}
            if pd.notna(cell.low):
                args |= {"interval_95": [round(float(cell.low), 2), round(float(cell.high), 2)]}
            name, value = f"{cell.arm}: normalised score", round(float(cell.mean), 2)
            metrics.append({"type": "normalized_score", "name": name, "value": value, "args": args})
        results.append(
            {
                "task": {"type": "reinforcement-learning", "name": "offline reinforcement learning"},
                "dataset": {"type": str(dataset), "name": f"{dataset} ({_source(plan)})"},
                "metrics": metrics,
            }
        )
    return {"name": f"{plan.artefact.name}-{plan.preset}", "results": results}


def _cells(report: Report) -> pd.DataFrame:
    cells = report.cells
    return cells[~cells["is_average"].astype(bool) & cells["n"].notna()]


def _source(plan: Plan) -> str:
    """The kind of data, in words, without the folder on this machine."""
    kind = parse_source(plan.source or "replica").kind
    return "files of the user's own" if kind == "path" else kind


def _table(plan: Plan, report: Report) -> list[str]:
    # The folder of the user's own data is no matter of the hub.
    caption = report.caption().replace(f", in {parse_source(plan.source or 'replica').folder} ", " ")
    lines = [caption, "", "| data set | arm | mean | 95 % interval | n |", "|---|---|---|---|---|"]
    for cell in _cells(report).itertuples():
        interval = f"[{cell.low:.1f}, {cell.high:.1f}]" if pd.notna(cell.low) else "-"
        lines.append(f"| {cell.dataset} | {cell.arm} | {cell.mean:.1f} | {interval} | {int(cell.n)} |")
    return [*lines, "", "Intervals are over fine-tuning seeds (Student's t); behind each arm is one pre-training."]


def _files(plan: Plan, jobs: Sequence[Job], folders: Sequence[Path]) -> list[str]:
    """A line for each training, pre-trainings first, with the arms that it belongs to."""
    arms: dict[str, dict[str, None]] = {}
    for cell in plan.cells:
        for job in (cell.job, *cell.job.requires):
            arms.setdefault(job.key, {})[cell.arm] = None
    order = sorted(zip(jobs, folders, strict=True), key=lambda one: not training(one[0]).is_pretraining)
    return [f"* `{folder}`: {'; '.join(arms[job.key])}: {describe(job)}" for job, folder in order]


def _sizes(plan: Plan) -> str:
    seeds = len({cell.seed for cell in plan.cells})
    return f"{plan.settings['updates']:,} updates, at most {seeds} seeds"


def _checksums(plan: Plan) -> str:
    sums = {cell.dataset: cell.job.config["dataset"]["checksum"] for cell in plan.cells}
    return ", ".join(f"{name} (SHA-256 {digest})" for name, digest in sums.items())


def _versions() -> str:
    facts, named = describe_environment(), ("python", "torch", "numpy", "gymnasium", "mujoco", "transformers")
    return ", ".join(f"{name} {facts[name]}" for name in named)
