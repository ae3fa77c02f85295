"""The official D4RL files: found in ``D4RL_DATASET_DIR`` (default ``~/.d4rl/datasets``) or downloaded there.

``D4RL_MIRROR`` is the address of a folder that has the twelve files, if the official server is slow or gone. A file
gets its name only when it is whole and reads as the data set it should be; its SHA-256 is then noted beside it, and
from then on a file that has changed is refused.
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import requests
from tqdm import tqdm

from synthlib.machine.files import read_json, write_json
from synthlib.offline.hdf5 import DataFileError, read_d4rl_file, sha256_of
from synthlib.offline.sources import MANIFESTS, checksum, find_files, parse_source
from synthlib.tasks import DATASETS, parse_name

OFFICIAL = "http://rail.eecs.berkeley.edu/datasets/offline_rl/gym_mujoco_v2"
CHUNK = 1 << 16  # what is lost, at most, when a transfer breaks off


class DownloadError(OSError):
    """A file that could not be fetched; the message says why and what to do."""


def prepare(names, source, **options):
    """Make sure that every data set of ``names`` can be loaded from ``source``; ``options`` go to :func:`download`.

    For ``d4rl``, what is missing is downloaded and every file's SHA-256 is noted at first use; for other sources the
    files are only looked for. Raises :class:`DownloadError`, FileNotFoundError, ``DataFileError``.
    """
    source = parse_source(source)
    for name in names:
        if source.kind == "d4rl":
            path = source.folder / file_name(name)
            if not path.is_file():
                download(name, path, **options)
            _note_checksum(path)
        find_files(name, source)
        checksum(name, source)


def file_name(name):
    """Name of a data set's official file: ``hopper_medium_expert-v2.hdf5``."""
    environment, tier = parse_name(name)
    return f"{environment}_{tier.replace('-', '_')}-v2.hdf5"


def download(name, path, mirror=None, **options):
    """Fetch the official file of ``name`` to ``path``; ``options`` and errors as of :func:`fetch`."""
    url = f"{(mirror or os.environ.get('D4RL_MIRROR') or OFFICIAL).rstrip('/')}/{path.name}"

    def check(partial):
        try:
            read_d4rl_file(partial, parse_name(name)[0])
        except DataFileError as error:
            raise DownloadError(f"{url} is not the file of {name}: {error}") from error

    fetch(url, path, check, _ADVICE, **options)


def fetch(url, path, check, advice, tries=5, timeout=30, first_wait=1.0):
    """Fetch ``url`` to ``path``; a transfer that breaks off is taken up where it stopped.

    ``check(file)`` raises :class:`DownloadError` when the file is not what it should be. Gives up after ``tries``
    attempts in a row that brought nothing new; waits double from ``first_wait`` seconds, a server is called silent
    after ``timeout`` seconds. An interrupted process leaves ``path.partial``, from which the next call goes on; an
    error leaves nothing. Raises :class:`DownloadError`, whose message ends with the ``advice``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with tqdm(desc=path.name, unit="B", unit_scale=True, disable=None) as bar:
            _transfer(url, partial, bar, tries, timeout, first_wait)
        check(partial)
        os.replace(partial, path)
    except DownloadError as error:
        partial.unlink(missing_ok=True)
        raise DownloadError(f"{error}. {advice}") from error.__cause__
    except Exception:
        partial.unlink(missing_ok=True)
        raise
    finally:
        if not partial.exists():
            _validator_file(partial).unlink(missing_ok=True)


_ADVICE = (
    "Try again later, set D4RL_MIRROR to a folder on another server, "
    "or put the file into D4RL_DATASET_DIR (which may be on a larger disk) yourself; DATA=replica needs no network"
)


def _transfer(url, partial, bar, tries, timeout, first_wait):
    """Repeat :func:`_attempt` until the file is whole."""
    failures = 0
    while True:
        before = partial.stat().st_size if partial.exists() else 0
        try:
            _attempt(url, partial, bar, timeout)
            return
        except requests.RequestException as error:
            after = partial.stat().st_size if partial.exists() else 0
            failures = 1 if after > before else failures + 1
            if failures >= tries:
                reason = _reason(error, timeout)
                raise DownloadError(f"{url}: {reason}, {tries} times in a row") from error
            time.sleep(first_wait * 2 ** (failures - 1))


def _attempt(url, partial, bar, timeout):
    """One request for what is still missing of ``partial``. RequestException when it is worth trying again."""
    have = partial.stat().st_size if partial.exists() else 0
    validator = _validator_file(partial).read_text() if _validator_file(partial).exists() else ""
    # Some servers answer 403 to a client that does not say who it is.
    headers = {"Accept-Encoding": "identity", "User-Agent": "Mozilla/5.0 (synthlib)"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        if response.status_code == 416:  # nothing left to send, or another file by now
            partial.unlink()
            raise requests.HTTPError("the file on the server has changed")
        if 400 <= response.status_code < 500 and response.status_code not in (408, 429):
            raise DownloadError(f"{url} answered {response.status_code} {response.reason}")
        response.raise_for_status()
        resumed = response.status_code == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        _validator_file(partial).write_text(response.headers.get("ETag") or response.headers.get("Last-Modified") or "")
        _check_space(partial, (total or 0) - have)
        bar.reset(total)
        bar.update(have)
        with open(partial, "ab" if resumed else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and partial.stat().st_size != total:
        raise requests.ConnectionError(f"{partial.stat().st_size:,} of {total:,} bytes came")


def _validator_file(partial):
    """Holds what the server said to identify the file's version, so that two versions are never joined."""
    return partial.with_name(partial.name + ".version")


def _check_space(partial, needed):
    free = shutil.disk_usage(partial.parent).free
    if needed > free:
        raise DownloadError(
            f"{partial.parent} has {free / 1e9:.1f} GB free, the download needs {needed / 1e9:.1f} GB; free some"
        )


def _reason(error, timeout):
    if isinstance(error, requests.Timeout) or "timed out" in str(error).lower():
        return f"the server was silent for {timeout} s"
    if isinstance(error, requests.HTTPError):
        return f"the server answered: {error}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the transfer broke off before the end"
    return f"no connection or a broken one ({type(error).__name__})"


def _note_checksum(path):
    """Write a file's SHA-256 into the folder's manifest, unless one is there."""
    manifest = path.parent / MANIFESTS["d4rl"]
    listed = read_json(manifest) if manifest.is_file() else {"files": {}}
    if path.name not in listed["files"]:
        listed["files"][path.name] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        write_json(manifest, listed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets; default: all twelve")
    parser.add_argument("--data", default="d4rl", help="replica, d4rl or path:DIR")
    arguments = parser.parse_args()
    names = arguments.names or DATASETS
    try:
        prepare(names, arguments.data)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    print(f"{len(names)} data sets ready in {Path(parse_source(arguments.data).folder)}")


if __name__ == "__main__":
    main()
