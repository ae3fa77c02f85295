"""What is published in outputs/records stays findable: its keys depend on nothing but its configuration."""

import json

from synthlib.paths import RECORDS
from synthlib.runs.job import Job
from synthlib.runs.repair import verify
from synthlib.runs.store import Store
from synthlib.study.params import artefact_names, load_artefact
from synthlib.study.plan import make_plan
from synthlib.study.presets import can_train, presets

RECORDED = sorted(path for path in RECORDS.glob("*/*") if path.is_dir())


def wanted_today():
    """{(kind, key)} of every training that a plan of today asks for, with the embedded data."""
    plans = (
        make_plan(name, preset, "replica")
        for name in artefact_names()
        for preset in presets()
        if preset != "paper" and can_train(preset, load_artefact(name).algorithm)
    )
    return {(job.kind, job.key) for plan in plans for job in plan.jobs()}


def test_there_are_records():
    assert len(RECORDED) >= 73


def test_a_records_key_is_the_hash_of_its_configuration():
    for folder in RECORDED:
        config = json.loads((folder / "config.json").read_text())
        kind = config.pop("kind")
        assert (kind, Job(kind, config, updates=0).key) == (folder.parent.name, folder.name)


def test_every_file_of_a_record_has_its_checksum(tmp_path):
    """Else a record that was cut in copying would be shown as another answer."""
    found = verify(Store(tmp_path, RECORDS), tmp_path)
    assert (found.trainings, found.without_checksums, found.findings) == (len(RECORDED), 0, [])


def test_a_plan_of_today_asks_for_every_record():
    """A renamed, added or re-defaulted field of a configuration would orphan what was published, without a word."""
    assert {(folder.parent.name, folder.name) for folder in RECORDED} - wanted_today() == set()
