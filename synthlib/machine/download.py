"""Download one file over HTTP: a broken transfer is resumed, the file is checked, and it is complete or absent."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import requests
from tqdm import tqdm

CHUNK = 1 << 16  # bytes; at most so many are lost when a transfer breaks off


class DownloadError(OSError):
    """A file could not be downloaded; the message says why and what to do."""


def fetch(
    url: str,
    path: Path,
    check: Callable[[Path], object],
    advice: str,
    tries: int = 5,
    timeout: float = 30,
    first_wait: float = 1.0,
) -> None:
    """Download ``url`` to ``path``. A transfer that breaks off is resumed where it stopped.

    ``check(file)`` raises :class:`DownloadError` when the file is not the expected file. ``fetch`` gives up after
    ``tries`` attempts in a row without a new byte. It waits ``first_wait`` seconds before the second attempt and twice
    as long before each further attempt. An attempt fails when the server sends nothing for ``timeout`` seconds.

    An interrupted process leaves ``<path>.partial``; the next call resumes from it. An error leaves no file. Raises
    :class:`DownloadError`, whose message ends with ``advice``.
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


def _transfer(url: str, partial: Path, bar: tqdm, tries: int, timeout: float, first_wait: float) -> None:
    """Repeat :func:`_attempt` until the file is complete."""
    failures = 0
    while True:
        before = _size(partial)
        try:
            _attempt(url, partial, bar, timeout)
            return
        except requests.RequestException as error:
            failures = 1 if _size(partial) > before else failures + 1
            if failures >= tries:
                reason = _reason(error, timeout)
                raise DownloadError(f"{url}: {reason}, {tries} times in a row") from error
            time.sleep(first_wait * 2 ** (failures - 1))


def _attempt(url: str, partial: Path, bar: tqdm, timeout: float) -> None:
    """Make one request for the missing bytes of ``partial``.

    Raises RequestException when another attempt may succeed, :class:`DownloadError` when none can.
    """
    have = _size(partial)
    validator = _validator_file(partial).read_text() if _validator_file(partial).exists() else ""
    # Some servers answer 403 to a client that does not say who it is.
    headers = {"Accept-Encoding": "identity", "User-Agent": "Mozilla/5.0 (synthlib)"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        if response.status_code == 416:  # no byte is left to send, or the server has another file by now
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
    if total is not None and _size(partial) != total:
        raise requests.ConnectionError(f"{_size(partial):,} of {total:,} bytes came")


def _size(path: Path) -> int:
    """Size of a file in bytes, 0 when it does not exist."""
    return path.stat().st_size if path.exists() else 0


def _validator_file(partial: Path) -> Path:
    """The file that stores the server's version label (ETag) of ``partial``, so that two versions are never joined."""
    return partial.with_name(partial.name + ".version")


def _check_space(partial: Path, needed: int) -> None:
    """Raise :class:`DownloadError` when fewer than ``needed`` bytes are free on the disk."""
    free = shutil.disk_usage(partial.parent).free
    if needed > free:
        raise DownloadError(
            f"{partial.parent} has {free / 1e9:.1f} GB free, the download needs {needed / 1e9:.1f} GB; free some"
        )


def _reason(error: requests.RequestException, timeout: float) -> str:
    """The reason why an attempt failed, as a part of a sentence."""
    if isinstance(error, requests.Timeout) or "timed out" in str(error).lower():
        return f"the server was silent for {timeout} s"
    if isinstance(error, requests.HTTPError):
        return f"the server answered: {error}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the transfer broke off before the end"
    return f"no connection or a broken one ({type(error).__name__})"
