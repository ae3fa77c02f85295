"""Download one file over HTTP: a broken transfer is resumed, the file is checked, and it is complete or absent."""

import contextlib
import errno
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError, ReadTimeoutError

from synthlib.machine.files import no_space, sync

CHUNK = 1 << 16  # bytes; at most so many are lost when a transfer breaks off
LARGEST = 4 << 30  # bytes that are taken at most from a server where the size is not known
SLOWEST, SLOW_SECONDS = 1_000, 60.0  # bytes a second, over so many seconds: a transfer below is broken off


class DownloadError(OSError):
    """A file could not be downloaded; the message says why and what to do."""


class _NoPlace(DownloadError):
    """The folder cannot take the file: no other server can help."""


class _Slow(requests.Timeout):
    """Bytes come, but so few that the file would never be whole."""


class _Patience(NamedTuple):
    tries: int
    timeout: float
    first_wait: float
    most: int


def fetch(
    urls: Sequence[str],
    path: Path,
    check: Callable[[Path], object],
    advice: str,
    size: int | None = None,
    tries: int = 5,
    timeout: float = 30,
    first_wait: float = 1.0,
    most: int = LARGEST,
) -> None:
    """Download ``path`` from the first of ``urls`` that has the file. A transfer that breaks off is resumed.

    ``check(file)`` raises :class:`DownloadError` when the file is not the expected file. ``size`` is its size in bytes
    where it is known; a server that has more or fewer bytes has another file, which is not downloaded. Where it is not
    known, ``most`` bytes are taken.

    An attempt fails when the server sends nothing for ``timeout`` seconds, or less than :data:`SLOWEST` bytes a second
    for a minute. After ``tries`` attempts in a row that bring less than :data:`CHUNK` bytes, or are too slow,
    ``fetch`` says so and asks the next server. It waits ``first_wait`` seconds before the second attempt and twice as
    long before each further attempt.

    Processes that want the same file wait for the one that downloads it. An interrupted process leaves
    ``<path>.partial``; the next call resumes from it. An error leaves no file. Raises :class:`DownloadError`, whose
    message names the failure of every server and ends with ``advice``.
    """
    partial, patience, failures = (
        path.with_name(path.name + ".partial"),
        _Patience(tries, timeout, first_wait, most),
        [],
    )
    try:
        _make_place(path)
        with _alone(partial):
            for url in urls:
                if path.exists():  # another process has downloaded it
                    return
                try:
                    return _fetch_from(url, path, partial, check, size, patience)
                except _NoPlace:
                    raise
                except DownloadError as error:
                    failures.append(str(error))
                    if url != urls[-1]:
                        print(f"{error}; trying the next server", file=sys.stderr)
    except _NoPlace as error:
        raise DownloadError(f"{error}. {advice}") from error
    raise DownloadError(f"{'; '.join(failures)}. {advice}")


def _make_place(path: Path) -> None:
    """Make the folder of ``path``. Raises :class:`_NoPlace` when the file cannot be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _NoPlace(f"{path.parent}, where {path.name} is wanted, cannot be made: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise _NoPlace(f"{path.parent} lacks {path.name} and cannot be written to")


@contextlib.contextmanager
def _alone(partial: Path) -> Iterator[None]:
    """Hold a lock on ``partial``, which is created if need be; remove the file at the end if it is empty."""
    waited = False
    while True:
        with _opened(partial, "ab") as held:
            waited = _lock(held.fileno(), partial, waited)
            # The process that held the lock may have renamed or removed the file; then this lock keeps nobody away.
            if not partial.exists() or not os.path.samestat(os.fstat(held.fileno()), partial.stat()):
                continue
            try:
                yield
            finally:
                if _size(partial) == 0:
                    partial.unlink(missing_ok=True)
                if not partial.exists():
                    _validator_file(partial).unlink(missing_ok=True)
            return


def _lock(handle: int, partial: Path, waited: bool) -> bool:
    """Lock an open file, and say so before the first wait. Returns whether this process has ``waited`` by now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not waited:
            print(f"waiting for another process that downloads {partial.stem}", file=sys.stderr)
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    except OSError:  # this disk knows no locks
        pass
    return waited


def _fetch_from(
    url: str, path: Path, partial: Path, check: Callable[[Path], object], size: int | None, patience: _Patience
) -> None:
    """Download ``url`` to ``partial``, check it and rename it to ``path``. An error leaves ``partial`` empty."""
    try:
        with tqdm(desc=path.name, unit="B", unit_scale=True, disable=None) as bar:
            _transfer(url, partial, bar, size, patience)
        check(partial)
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)
    except Exception as error:
        os.truncate(partial, 0)
        if isinstance(error, DownloadError):
            raise type(error)(f"{url}: {error}") from error.__cause__
        raise


def _transfer(url: str, partial: Path, bar: tqdm, size: int | None, patience: _Patience) -> None:
    """Repeat :func:`_attempt` until the file is complete."""
    failures = 0
    while True:
        before = _size(partial)
        try:
            _attempt(url, partial, bar, size, patience)
            return
        except requests.RequestException as error:
            came = _size(partial) - before
            failures = 1 if came >= CHUNK and not isinstance(error, _Slow) else failures + 1
            if failures >= patience.tries:
                reason = _reason(error, patience.timeout)
                raise DownloadError(f"{reason}, {patience.tries} times in a row") from error
            time.sleep(patience.first_wait * 2 ** (failures - 1))


def _attempt(url: str, partial: Path, bar: tqdm, size: int | None, patience: _Patience) -> None:
    """Make one request for the missing bytes of ``partial``.

    Raises RequestException when another attempt may succeed, :class:`DownloadError` when none can.
    """
    have = _size(partial)
    validator = _validator_file(partial).read_text() if _validator_file(partial).exists() else ""
    # Some servers answer 403 to a client that does not say who it is.
    headers = {"Accept-Encoding": "identity", "User-Agent": "Mozilla/5.0 (synthlib)"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with requests.get(url, headers=headers, stream=True, timeout=patience.timeout) as response:
        if response.status_code == 416:  # no byte is left to send, or the server has another file by now
            os.truncate(partial, 0)
            raise requests.HTTPError("the file on the server has changed")
        if 400 <= response.status_code < 500 and response.status_code not in (408, 429):
            raise DownloadError(f"the server answered {response.status_code} {response.reason}")
        response.raise_for_status()
        resumed = response.status_code == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        if total is not None and total != (size or total):
            raise DownloadError(f"the server has {total:,} bytes of it, not {size:,}: another file")
        limit = size or patience.most
        if total is not None and total > limit:
            raise DownloadError(f"the server has {total:,} bytes of it, more than the {limit:,} that it may have")
        version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        with _opened(_validator_file(partial), "wb") as file:
            file.write(version.encode())
        _check_space(partial.parent, (size or total or 0) - have)
        bar.reset(total)
        bar.update(have)
        try:
            with _opened(partial, "ab" if resumed else "wb") as file:
                for chunk in _chunks(response):
                    file.write(chunk)
                    bar.update(len(chunk))
                    have += len(chunk)
                    if have > limit:
                        raise DownloadError(f"the server sends more than the {limit:,} bytes of it: another file")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise _NoPlace(no_space(partial).strerror) from error
    if (expected := size or total) is not None and have != expected:
        raise requests.ConnectionError(f"{have:,} of {expected:,} bytes came")


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """The bytes of an answer as they come. Raises :class:`_Slow`, and the RequestException of a broken transfer.

    ``iter_content`` waits until a chunk is full, so that a server which sends a byte every now and then is never late.
    """
    began, came = time.monotonic(), 0
    while True:
        try:
            chunk = response.raw.read1(CHUNK)
        except ReadTimeoutError as error:
            raise requests.ReadTimeout(error) from error
        except (HTTPError, OSError) as error:
            raise requests.exceptions.ChunkedEncodingError(error) from error
        if not chunk:
            return
        came += len(chunk)
        yield chunk
        if (seconds := time.monotonic() - began) > SLOW_SECONDS:
            if came < SLOWEST * seconds:
                raise _Slow(f"{came:,} bytes came in {seconds:.0f} s")
            began, came = time.monotonic(), 0


def _opened(path: Path, mode: str) -> BinaryIO:
    """A file opened for writing; a link that somebody has put there is not followed. DownloadError for a link."""

    def without_links(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW, 0o666)

    try:
        return open(path, mode, opener=without_links)  # type: ignore[return-value]
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _NoPlace(f"{path} is a link, and nothing is written through links; remove it") from error


def _size(path: Path) -> int:
    """Size of a file in bytes, 0 when it does not exist."""
    return path.stat().st_size if path.exists() else 0


def _validator_file(partial: Path) -> Path:
    """The file that stores the server's version label (ETag) of ``partial``, so that two versions are never joined."""
    return partial.with_name(partial.name + ".version")


def _check_space(folder: Path, needed: int) -> None:
    """Raise :class:`_NoPlace` when fewer than ``needed`` bytes are free on the disk."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise _NoPlace(f"{folder} has {free / 1e9:.1f} GB free, the download needs {needed / 1e9:.1f} GB; free some")


def _reason(error: requests.RequestException, timeout: float) -> str:
    """The reason why an attempt failed, as a part of a sentence."""
    if isinstance(error, _Slow):
        return f"the server sent less than {SLOWEST:,} bytes a second ({error})"
    if isinstance(error, requests.Timeout) or "timed out" in str(error).lower():
        return f"the server was silent for {timeout} s"
    if isinstance(error, requests.HTTPError):
        return f"the server answered: {error}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the transfer broke off before the end"
    return f"no connection or a broken one ({type(error).__name__})"
