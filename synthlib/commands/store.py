"""Commands on what is stored: publish runs, move them between machines, check what is there."""

import argparse

from synthlib.commands.options import names
from synthlib.paths import absolute


def publish(options: argparse.Namespace) -> int:
    """``publish TABLE``: copy finished runs into outputs/records."""
    from synthlib.paths import store_root
    from synthlib.runs.publish import publish
    from synthlib.runs.store import Store
    from synthlib.study.plan import make_plan

    for name in names(options):
        new = publish(make_plan(name, options.preset, options.data), Store(store_root()))
        print(f"{name}: {len(new)} runs published", *new, sep="\n  ")
    return 0


def export_runs(options: argparse.Namespace) -> int:
    """``export-runs TABLE``: finished runs in one file, with checksums."""
    from synthlib.paths import store_root
    from synthlib.runs.store import Store
    from synthlib.runs.transfer import export_runs
    from synthlib.study.plan import distinct_jobs, make_plan

    plans = [make_plan(name, options.preset, options.data) for name in names(options)]
    path = absolute(options.file)
    number = export_runs(distinct_jobs(job for plan in plans for job in plan.jobs()), Store(store_root()), path)
    print(f"{number} finished trainings in {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def import_runs(options: argparse.Namespace) -> int:
    """``import-runs``: put the runs of such a file into the store here."""
    from synthlib.paths import store_root
    from synthlib.runs.store import Store
    from synthlib.runs.transfer import import_runs

    new, known, left = import_runs(absolute(options.file), Store(store_root()))
    print(f"{len(new)} trainings imported into {store_root()}, {len(known)} were there already")
    for folder in left:
        print(f"left alone, since it was started here and is not so far: {folder}; delete it and import again")
    return 0


def export(options: argparse.Namespace) -> int:
    """``export``: all trainings of the store and of the records as tables, or for a tracker."""
    from synthlib.paths import outputs
    from synthlib.runs.trackers import export

    folder = absolute(options.to) if options.to else outputs() / "export"
    print(f"{export(options.format, folder)} trainings as {options.format} in {folder}")
    return 0


def check_authors(options: argparse.Namespace) -> int:
    """``check-authors``: the paper's DT tables from the authors' runs; 1 where a digit differs."""
    from synthlib.report.authors_check import check, summary
    from synthlib.report.authors_logs import find_logs, read_logs

    checked = check(read_logs(find_logs(options.logs)))
    different = checked[~checked["equal"]]
    print(summary(checked))
    if len(different):
        print(different[["table", "dataset", "arm"]].to_string(index=False))
    return int(len(different) > 0)


def doctor(options: argparse.Namespace) -> int:
    """``doctor``: check the installation, or with --store all trainings and caches."""
    from synthlib.doctor import examine, examine_store

    return examine_store() if options.store else examine(options.data, options.preset)
