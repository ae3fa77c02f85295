"""Finished trainings as one file, to be shown or gone on from on another machine.

The file is a tar archive: what a record has of each training (:mod:`synthlib.runs.publish`) as ``<kind>/<key>/<name>``,
and last ``manifest.json`` with the SHA-256 of each of these. A training gets into a store only when all its files have
their checksums and its configuration has the key that it goes by.
"""

import hashlib
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from synthlib.errors import Failed
from synthlib.machine.files import make_folder, write_atomically
from synthlib.runs.job import Job
from synthlib.runs.progress import misfits, read_progress
from synthlib.runs.publish import fill_record
from synthlib.runs.store import Store, updates_in

_MANIFEST = "manifest.json"
_MEMBER = re.compile(r"([a-z0-9_]+)/([0-9a-f]{16})/([A-Za-z0-9_]+\.(?:json|csv|pt))")
_LARGEST = 4 << 30  # bytes of one file in an archive


class Imported(NamedTuple):
    """What became of the trainings in an archive: their folders."""

    new: list[Path]
    known: list[Path]
    """Those that this store has as far already."""
    left: list[Path]
    """Those that were started here and are not so far: they are left alone."""


def export_runs(jobs: Iterable[Job], store: Store, path: Path) -> int:
    """Write the finished ones of ``jobs``, and what they require, to the file ``path``; returns how many there are.

    Raises Failed when none is finished.
    """
    finished = [job for job in jobs if store.is_done(job)]
    if not finished:
        raise Failed("no training of this table is finished, so there is nothing to export; `make run-` trains it")

    def write(temporary: Path) -> None:
        sums: dict[str, str] = {}
        with tarfile.open(temporary, "w") as archive, tempfile.TemporaryDirectory() as folder:
            for job in finished:
                made = Path(folder) / job.kind / job.key
                made.mkdir(parents=True)
                fill_record(made, job, store.finished(job), None)
                for file in sorted(made.iterdir()):
                    name = f"{job.kind}/{job.key}/{file.name}"
                    sums[name] = _sha256(file.read_bytes())
                    archive.add(file, name)
                    file.unlink()
            _add(archive, _MANIFEST, json.dumps(sums, indent=1, sort_keys=True).encode())

    write_atomically(path, write)
    return len(finished)


def import_runs(path: Path, store: Store) -> Imported:
    """Put the trainings in the file ``path`` into ``store``; what is there already stays as it is.

    Raises Failed when the file is damaged or no such archive; the trainings before the damage are imported.
    """
    result = Imported([], [], [])
    try:
        with tarfile.open(path, "r:") as archive:
            for (kind, key), members in _trainings(archive, path).items():
                _import(store.root / kind / key, members, archive, path, result)
    except (tarfile.TarError, EOFError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Failed(f"{path} is no whole archive of runs ({error}); export or copy it again") from error
    return result


def _trainings(archive: tarfile.TarFile, path: Path) -> dict[tuple[str, str], list[tuple[tarfile.TarInfo, str]]]:
    """{(kind, key): (member, SHA-256 that it must have) of each file}."""
    members = {member.name: member for member in archive.getmembers()}
    if _MANIFEST not in members:
        raise Failed(f"{path} has no {_MANIFEST}: it is no archive of runs, or its end is missing; export it again")
    sums = json.loads(_read(archive, members.pop(_MANIFEST), path))
    if not isinstance(sums, dict) or sums.keys() != members.keys():
        raise Failed(f"{path} has other files than its {_MANIFEST} lists; export or copy it again")
    found: dict[tuple[str, str], list[tuple[tarfile.TarInfo, str]]] = {}
    for name, member in members.items():
        match = _MEMBER.fullmatch(name)
        if match is None or not member.isfile():
            raise Failed(f"{path} has {name!r}, which is no file of a training; nothing of it is imported")
        found.setdefault((match[1], match[2]), []).append((member, sums[name]))
    return found


def _import(
    folder: Path,
    members: list[tuple[tarfile.TarInfo, str]],
    archive: tarfile.TarFile,
    path: Path,
    result: Imported,
) -> None:
    def fill(made: Path) -> None:
        for member, digest in members:
            content = _read(archive, member, path)
            if _sha256(content) != digest:
                raise Failed(f"{member.name} in {path} does not have its checksum; export or copy it again")
            (made / Path(member.name).name).write_bytes(content)

    take_in(folder, fill, path, result)


def take_in(folder: Path, fill: Callable[[Path], object], where: Path, result: Imported) -> None:
    """Make the training's ``folder`` with what ``fill`` writes, unless it is there; note in ``result`` which.

    Raises Failed, which names ``where`` it came from, unless the files fit the key that the folder is named by and
    their checksums.
    """

    def checked(made: Path) -> None:
        fill(made)
        config = json.loads((made / "config.json").read_text()) if (made / "config.json").exists() else {}
        progress = read_progress(made)
        if (
            Job(str(config.pop("kind", "")), config, 0).key != folder.name
            or progress is None
            or misfits(made, progress)
        ):
            raise Failed(f"{folder.parent.name}/{folder.name} in {where} does not fit its own key and checksums")
        updates.append(progress["updates"])

    updates: list[int] = []
    if not folder.exists():
        make_folder(folder, checked)
        result.new.append(folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        checked(Path(temporary))
    (result.known if (updates_in(folder) or 0) >= updates[0] else result.left).append(folder)


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes:
    file = archive.extractfile(member) if member.isfile() and member.size <= _LARGEST else None
    if file is None:
        raise Failed(f"{member.name} in {path} is no file, or larger than any file of a training")
    return file.read()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
