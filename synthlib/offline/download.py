"""The official D4RL files: found in ``D4RL_DATASET_DIR`` (default ``~/.d4rl/datasets``) or downloaded there.

If the official server is slow or gone, set ``D4RL_MIRRORS`` to the addresses of folders that have the files, separated
by spaces: they are asked in this order, then the official server. A file gets its name only when its size and its
SHA-256 are those that :mod:`synthlib.offline.official` lists, so that any server will do.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from synthlib.machine.download import DownloadError, fetch
from synthlib.offline.datasets import load
from synthlib.offline.hdf5 import sha256_of
from synthlib.offline.official import file_name, gigabytes, official_file
from synthlib.offline.sources import DataSource, checksum, data_sets_there, parse_source
from synthlib.paths import data_cache
from synthlib.tasks import DATASETS

OFFICIAL = "http://rail.eecs.berkeley.edu/datasets/offline_rl/gym_mujoco_v2"
_ADVICE = (
    "Try again later, set D4RL_MIRRORS to the addresses of folders on other servers, "
    "or put the file into D4RL_DATASET_DIR (which may be on a larger disk) yourself; DATA=replica needs no network"
)


def prepare(names: Iterable[str], data: str | DataSource, cache: str | Path | None = None, **options: Any) -> None:
    """Make sure that the data source ``data`` has the files of every data set in ``names``.

    For ``d4rl``, missing files are downloaded. All files are checked as far as their SHA-256 is known: D4RL's and the
    replica's. With a ``cache`` folder, the SHA-256 of unchanged files are cached there; nothing is written beside the
    files. ``options`` go to :func:`download`. Raises :class:`DownloadError`, FileNotFoundError, ``DataFileError``.
    """
    data = parse_source(data)
    names = list(names)
    for name in missing_files(names, data):
        download(name, data.folder / file_name(name), **options)
    for name in names:
        checksum(name, data, cache)


def missing_files(names: Iterable[str], data: str | DataSource) -> list[str]:
    """The data sets whose official files would have to be downloaded: none unless the data source is ``d4rl``."""
    data = parse_source(data)
    if data.kind != "d4rl":
        return []
    return [name for name in names if not (data.folder / file_name(name)).is_file()]


def to_be_fetched(names: Iterable[str], data: str | DataSource) -> str:
    """A phrase on the official files that would have to be downloaded, "" when there are none."""
    if not (missing := missing_files(names, data)):
        return ""
    return f"official files to be fetched into {parse_source(data).folder}: {len(missing)}, {gigabytes(missing):.2f} GB"


def mirrors() -> list[str]:
    """Addresses of the folders that have the files: those in ``D4RL_MIRRORS``, then the official one.

    Raises ValueError when ``D4RL_MIRRORS`` contains something else than addresses.
    """
    given = os.environ.get("D4RL_MIRRORS", "").split()
    for address in given:
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"D4RL_MIRRORS: {address!r} is no address: it must begin with http:// or https://")
    return [*given, OFFICIAL]


def download(name: str, path: Path, folders: Sequence[str] | None = None, **options: Any) -> None:
    """Download the official file of data set ``name`` to ``path``.

    ``folders`` are addresses of folders that may have it (default: :func:`mirrors`). ``options`` are the ``tries``,
    ``timeout`` and ``first_wait`` of :func:`synthlib.machine.download.fetch`. Raises :class:`DownloadError` when none
    of them has D4RL's file.
    """
    known = official_file(name)

    def check(partial: Path) -> None:
        if (digest := sha256_of(partial)) != known.sha256:
            raise DownloadError(f"not D4RL's file of {name}: its SHA-256 is {digest[:8]}..., not {known.sha256[:8]}...")

    urls = [f"{folder.rstrip('/')}/{file_name(name)}" for folder in (folders or mirrors())]
    fetch(urls, path, check, _ADVICE, size=known.bytes, **options)


def main() -> None:
    """Command line of ``python -m synthlib.offline.download``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="NAMES", help="data sets; default: the paper's twelve, or all that are in DIR"
    )
    parser.add_argument("--data", default="d4rl", help="replica, d4rl or path:DIR")
    arguments = parser.parse_args()
    try:
        data = parse_source(arguments.data)
        there = data_sets_there(data) if data.kind == "path" else ()
        names = re.findall(r"[^\s;,]+", " ".join(arguments.names)) or there or DATASETS
        if wanted := to_be_fetched(names, data):
            print(wanted, flush=True)
        prepare(names, data, data_cache())
        if data.kind == "path":  # nothing is known of its files but what is in them
            for name in names:
                load(name, data)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    known = {"d4rl": "D4RL's by their SHA-256", "replica": "as in its manifest", "path": "each read and checked"}
    print(f"{len(names)} data set{'s' if len(names) > 1 else ''} ready in {data.folder}: {known[data.kind]}")


if __name__ == "__main__":
    main()
