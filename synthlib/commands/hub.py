"""Commands that share what was trained: push trainings or data to a hub, pull them from one."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from synthlib.commands.options import names, selection
from synthlib.paths import absolute
from synthlib.study.params import ParameterError

if TYPE_CHECKING:
    from synthlib.report.report import Report
    from synthlib.study.plan import Plan

_LICENCES = {"replica": "mit", "d4rl": "cc-by-4.0"}  # of the data; D4RL's is on its page


def push(options: argparse.Namespace) -> int:
    """``push TABLE``: finished trainings, their kept policies and a card, to a folder or a repository of the hub."""
    from synthlib.errors import Failed
    from synthlib.paths import store_root
    from synthlib.report.hub_cards import card_of_runs
    from synthlib.runs import hub
    from synthlib.runs.store import Store
    from synthlib.study.algorithms import training
    from synthlib.study.plan import make_plan

    (name,) = names(options)
    _check_hub(options, f"push-{name}")
    store, asked = Store(store_root()), selection(options)
    plan = make_plan(name, options.preset, options.data, selection=asked)
    jobs = [job for job in plan.jobs() if store.is_done(job)]
    if options.only == "weights":
        jobs = [job for job in jobs if training(job).is_pretraining]
    if not jobs:
        raise Failed(f"nothing of {name} is finished in preset {options.preset}: make run-{name} trains it")
    if any("weights" in job.config.get("data", {}) for job in jobs) and not options.license:
        raise ParameterError("weights of somebody else are among them: say under which licence, with LICENSE=")
    licence, what = options.license or "mit", {"kind": "runs", "table": name, "preset": plan.preset}
    what |= {"data": options.data.partition(":")[0], "part": asked.suffix.removeprefix("-part-"), "only": options.only}

    def fill(folder: Path) -> str:
        folders = [hub.write_training(job, training(job), store, folder).relative_to(folder) for job in jobs]
        return card_of_runs(plan, _report(plan), jobs, folders, licence)

    where = hub.push(fill, what, options.hub)
    print(f"{len(jobs)} finished trainings and their card in {where}")
    return 0


def push_data(options: argparse.Namespace) -> int:
    """``push-data``: the files of data sets and their card."""
    import shutil

    from synthlib.offline.sources import files_with_facts, parse_source
    from synthlib.report.hub_cards import card_of_data
    from synthlib.runs import hub

    _check_hub(options, "push-data")
    kind = parse_source(options.data).kind
    if not (datasets := selection(options).datasets):
        raise ParameterError('which data sets? Say DATASETS="hopper-medium ant-medium"')
    if not (licence := options.license or _LICENCES.get(kind)):
        raise ParameterError("say under which licence your data are, with LICENSE=, for example LICENSE=cc-by-4.0")

    def fill(folder: Path) -> str:
        (folder / "data").mkdir()
        for dataset in datasets:
            for path in files_with_facts(dataset, options.data):
                shutil.copyfile(path, folder / "data" / path.name)
        return card_of_data(datasets, options.data, licence)

    where = hub.push(fill, {"kind": "data", "data": kind, "datasets": " ".join(datasets)}, options.hub)
    print(f"{len(datasets)} data set{'s' if len(datasets) > 1 else ''} and their card in {where}")
    return 0


def pull(options: argparse.Namespace) -> int:
    """``pull``: trainings into the store, or data sets into a folder; whatever is there already stays."""
    from synthlib.paths import outputs, store_root
    from synthlib.runs import hub
    from synthlib.runs.store import Store

    _check_hub(options, "pull")
    with hub.pulled(options.hub) as (folder, what):
        if what["kind"] == "data":
            to = absolute(options.to) if options.to else outputs() / "pulled"
            for path in hub.take_data(folder, to):
                print(path)
            print(f"train on them with DATA=path:{to}")
            return 0
        new, known, left = hub.take_trainings(folder, Store(store_root()))
    print(f"{len(new)} trainings pulled into {store_root()}, {len(known)} were there already")
    for one in left:
        print(f"left alone, since it was started here and is not so far: {one}; delete it and pull again")
    print(f"make show-{what['table']} PRESET={what['preset']} shows the table; run- trains what is not among them")
    return 0


def _report(plan: "Plan") -> "Report | None":
    from synthlib.report.finished_runs import runs_of_plan
    from synthlib.report.report import Report

    try:
        return Report(runs_of_plan(plan))
    except RuntimeError:  # no run is done, or some that may not stand in one table
        return None


def _check_hub(options: argparse.Namespace, command: str) -> None:
    if not options.hub:
        raise ParameterError(f"where to? Say HUB=folder, or HUB=hf://user/name: make {command} HUB=...")
