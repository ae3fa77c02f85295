"""What one machine has trained is shown on another one: with checksums, and without harm to what is there."""

import io
import tarfile

import pytest

from synthlib.errors import Failed
from synthlib.machine.files import read_json
from synthlib.runs.store import Store
from synthlib.runs.transfer import export_runs, import_runs
from tests.attacks.toys import plan, pretraining_job, run_job
from tests.common import train
from tests.runs.test_integrity import assert_equal, copied, undisturbed  # noqa: F401


@pytest.fixture
def exported(copied, tmp_path):  # noqa: F811
    store, jobs = copied
    assert export_runs([*jobs, run_job(7)], store, tmp_path / "runs.tar") == 2
    return store, jobs, tmp_path / "runs.tar"


def other(tmp_path):
    return Store(tmp_path / "other", tmp_path / "records")


def test_finished_runs_travel_without_checkpoints_and_without_the_name_of_the_machine(exported, tmp_path):
    store, jobs, path = exported
    there = other(tmp_path)
    assert [len(part) for part in import_runs(path, there)] == [2, 0, 0]
    assert_equal(store, there, jobs)
    assert not list(there.root.rglob("checkpoint.pt")) and "host" not in path.read_text(errors="replace")
    assert [len(part) for part in import_runs(path, there)] == [0, 2, 0]


def test_a_damaged_description_does_not_travel(copied, tmp_path):  # noqa: F811
    store, jobs = copied
    (store.folder(jobs[0]) / "config.json").write_text('{"a')
    (store.folder(jobs[0]) / "environment.json").write_text("")
    (store.folder(jobs[1]) / "environment.json").unlink()
    assert export_runs(jobs, store, tmp_path / "runs.tar") == 2
    there = other(tmp_path)
    assert [len(part) for part in import_runs(tmp_path / "runs.tar", there)] == [2, 0, 0]
    assert_equal(store, there, jobs)
    assert read_json(there.folder(jobs[0]) / "config.json") == {"kind": jobs[0].kind, **jobs[0].config}


def test_what_was_started_here_is_left_alone(exported, tmp_path):
    _, jobs, path = exported
    there = other(tmp_path)
    train(jobs[0], there)
    train(run_job(1, 20, pretraining=jobs[0]), there)
    result = import_runs(path, there)
    assert (result.new, result.known, result.left) == ([], [there.folder(jobs[0])], [there.folder(jobs[1])])
    assert there.updates_done(jobs[1]) == 20


def test_a_longer_training_of_an_imported_run_starts_from_the_imported_weights(exported, tmp_path):
    store, jobs, path = exported
    there, longer = other(tmp_path), run_job(1, 80, pretraining=jobs[0])
    import_runs(path, there)
    for one in (store, there):
        train(longer, one)
    assert_equal(store, there, [longer])


@pytest.mark.parametrize("place", [0.001, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_is_noticed(place, exported, tmp_path):
    store, jobs, path = exported
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)
    there = other(tmp_path)
    try:
        import_runs(path, there)
    except Failed as failed:
        assert str(path) in str(failed)
    for job in jobs:
        if there.is_done(job):  # what came before the damage, or damage to what nobody reads
            assert_equal(store, there, [job])


def test_an_archive_whose_end_is_missing_is_refused(exported, tmp_path):
    path = exported[2]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Failed, match=r"runs\.tar"):
        import_runs(path, other(tmp_path))
    path.write_bytes(b"")
    with pytest.raises(Failed, match=r"runs\.tar is no whole archive"):
        import_runs(path, other(tmp_path))


@pytest.mark.parametrize("name", ["../../evil.json", "/etc/evil.json", "toy/0123456789abcdef/../evil.json", "link"])
def test_nothing_is_written_outside_of_the_store(name, tmp_path):
    path = tmp_path / "runs.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("toy/0123456789abcdef/config.json" if name == "link" else name)
        if name == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member, io.BytesIO(b""))
        content = f'{{"{member.name}": "0"}}'.encode()
        manifest = tarfile.TarInfo("manifest.json")
        manifest.size = len(content)
        archive.addfile(manifest, io.BytesIO(content))
    with pytest.raises(Failed, match="no file of a training; nothing of it is imported"):
        import_runs(path, other(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["runs.tar"]


def test_nothing_finished_is_nothing_to_export(tmp_path):
    with pytest.raises(Failed, match="nothing to export"):
        export_runs([pretraining_job(5), *plan([6])], other(tmp_path), tmp_path / "runs.tar")
    assert list(tmp_path.iterdir()) == []
