"""The official D4RL files: found in ``D4RL_DATASET_DIR`` (default ``~/.d4rl/datasets``) or downloaded there.

If the official server is slow or gone, set ``D4RL_MIRROR`` to the address of a folder that has the twelve files. A
file gets its final name only when it is complete and can be read as the expected data set. Its SHA-256 is then written
into a manifest beside it, and a file that changes afterwards is refused.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from synthlib.machine.download import DownloadError, fetch
from synthlib.machine.files import read_json, write_json
from synthlib.offline.checksums import file_checksum
from synthlib.offline.hdf5 import DataFileError, read_d4rl_file
from synthlib.offline.sources import MANIFESTS, DataSource, checksum, parse_source
from synthlib.paths import data_cache
from synthlib.tasks import DATASETS, parse_name

OFFICIAL = "http://rail.eecs.berkeley.edu/datasets/offline_rl/gym_mujoco_v2"
_ADVICE = (
    "Try again later, set D4RL_MIRROR to a folder on another server, "
    "or put the file into D4RL_DATASET_DIR (which may be on a larger disk) yourself; DATA=replica needs no network"
)


def prepare(names: Iterable[str], data: str | DataSource, cache: str | Path | None = None, **options: Any) -> None:
    """Make sure that the data source ``data`` has the files of every data set in ``names``.

    For ``d4rl``, missing files are downloaded, and the SHA-256 of every file is written into the manifest at first use.
    The files of other data sources are only checked. With a ``cache`` folder, the SHA-256 of unchanged files are cached
    there. ``options`` go to :func:`download`. Raises :class:`DownloadError`, FileNotFoundError, ``DataFileError``.
    """
    data = parse_source(data)
    for name in names:
        if data.kind == "d4rl":
            path = data.folder / file_name(name)
            if not path.is_file():
                download(name, path, **options)
            _note_checksum(path, cache)
        checksum(name, data, cache)


def file_name(name: str) -> str:
    """Name of a data set's official file: ``hopper_medium_expert-v2.hdf5``. ValueError for an unknown data set."""
    environment, tier = parse_name(name)
    return f"{environment}_{tier.replace('-', '_')}-v2.hdf5"


def download(name: str, path: Path, mirror: str | None = None, **options: Any) -> None:
    """Download the official file of data set ``name`` to ``path``.

    ``mirror`` is the address of the folder that has the file (default: ``D4RL_MIRROR``, else the official server).
    ``options`` are the ``tries``, ``timeout`` and ``first_wait`` of :func:`synthlib.machine.download.fetch`. Raises
    :class:`DownloadError`, also when the file is not a D4RL file of the data set's environment.
    """
    url = f"{(mirror or os.environ.get('D4RL_MIRROR') or OFFICIAL).rstrip('/')}/{path.name}"

    def check(partial: Path) -> None:
        try:
            read_d4rl_file(partial, parse_name(name)[0])
        except DataFileError as error:
            raise DownloadError(f"{url} is not the file of {name}: {error}") from error

    fetch(url, path, check, _ADVICE, **options)


def _note_checksum(path: Path, cache: str | Path | None) -> None:
    """Write a file's SHA-256 into the manifest of its folder, unless the manifest lists the file already."""
    manifest = path.parent / MANIFESTS["d4rl"]
    listed = read_json(manifest) if manifest.is_file() else {"files": {}}
    if path.name not in listed["files"]:
        listed["files"][path.name] = {"sha256": file_checksum(path, cache), "bytes": path.stat().st_size}
        write_json(manifest, listed)


def main() -> None:
    """Command line of ``python -m synthlib.offline.download``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets; default: all twelve")
    parser.add_argument("--data", default="d4rl", help="replica, d4rl or path:DIR")
    arguments = parser.parse_args()
    names = arguments.names or DATASETS
    try:
        prepare(names, arguments.data, data_cache())
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    print(f"{len(names)} data sets ready in {Path(parse_source(arguments.data).folder)}")


if __name__ == "__main__":
    main()
