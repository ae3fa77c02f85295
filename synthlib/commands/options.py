"""What the words of the command line mean: whose runs, which part of a table, which parameters of a notebook."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from synthlib.paths import absolute
from synthlib.study.pages import page_names
from synthlib.study.params import ParameterError, artefact_names, load_artefact
from synthlib.study.presets import can_train

if TYPE_CHECKING:
    from synthlib.report.sources import AuthorsRuns, OwnRuns
    from synthlib.study.engine import RunOptions
    from synthlib.study.plan import Selection


def open_asked(options: argparse.Namespace) -> "OwnRuns | AuthorsRuns":
    """The runs that --source, --preset, --data and the part of a table ask for."""
    from synthlib.report.sources import open_runs

    return open_runs(options.source, options.preset, options.data, options.logs, options.workers, selection(options))


def selection(options: argparse.Namespace) -> "Selection":
    """The part of a table that was asked for. ParameterError for seeds that are no numbers."""
    from synthlib.study.plan import Selection

    arms, datasets, seeds = (_listed(getattr(options, name, ""), name) for name in ("arms", "datasets", "seeds"))
    if wrong := [seed for seed in seeds if not seed.isdigit()]:
        raise ParameterError(f"SEEDS must be a number of seeds, or seeds like 42;666; not {wrong[0]!r}")
    numbers = tuple(map(int, seeds))
    is_count = options.__dict__.get("seeds", "").strip().isdigit()  # "42;" is a list of one
    return Selection(arms, datasets, numbers[0] if is_count else numbers)


def names(options: argparse.Namespace) -> list[str]:
    """The artefact that was asked for, or all that this source of runs can make."""
    if options.table in page_names():
        raise ParameterError(f"{options.table} has no fine-tuning runs; make reproduce-{options.table} makes it all")
    if options.table != "all":
        return [options.table]
    if options.source == "authors":
        from synthlib.report.authors_check import authors_artefacts

        return [artefact.name for artefact in authors_artefacts()]
    return [name for name in artefact_names() if can_train(options.preset, load_artefact(name).algorithm)]


def run_options(options: argparse.Namespace) -> "RunOptions":
    """How to train: which shard, stacked or not, for how many hours."""
    from synthlib.study.engine import RunOptions

    return RunOptions(_shard(options.shard), options.stacked or None, getattr(options, "hours", math.inf))


def known_parameters(path: Path, options: argparse.Namespace) -> dict[str, str | int]:
    """The options of the command line that the notebook ``path`` has as parameters."""
    from synthlib.notebooks import notebook_parameters

    known = notebook_parameters(path)
    given = {
        "source": getattr(options, "source", "own"),
        "preset": options.preset,
        "data": options.data,
        "logs": absolute_or_empty(options.logs),
        "workers": options.workers,
    }
    return {name: value for name, value in given.items() if name in known}


def absolute_or_empty(path: str) -> str:
    """A notebook runs in a folder of its own, so a path must not depend on where the command was typed."""
    return str(absolute(path)) if path else ""


def _listed(text: str, option: str) -> tuple[str, ...]:
    """The parts of an option between semicolons; in other options than "arms", between spaces and commas too."""
    if option != "arms":
        text = text.replace(",", ";").replace(" ", ";")
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise ParameterError(f"shard {text!r} is not I/N with 0 <= I < N")
    return int(index), int(count)
