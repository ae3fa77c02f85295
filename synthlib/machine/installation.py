"""Make the virtual environment of this checkout (``make install``). Needs the standard library only.

What is installed, and the SHA-256 of each file, stands in ``requirements.lock``. pip downloads from the package
registry that it is set up for, usually PyPI, and refuses a file with another hash.

PyTorch is a step of its own because it has several builds:

* ``TORCH=cu130`` is PyPI's build. On Linux it drives GPUs and needs 2.2 GB of CUDA libraries.
* ``TORCH=cpu`` comes from PyTorch's own index and has no CUDA. The lock knows its hashes too.
* ``TORCH=cu126``, for older drivers and GPUs, comes from there too. The lock does not know it: pip checks the hashes
  that the index states.

Without ``TORCH=`` the driver decides. Where no driver answers, PyPI's build is taken only when PyTorch's index does not
answer either.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from synthlib.errors import Failed
from synthlib.machine.gpu import find_driver, suited_build
from synthlib.machine.requirements import entries, pinned, read_lock
from synthlib.paths import ROOT

BUILDS = ("cpu", "cu126", "cu130")
STAMP = "installed"  # make reads it: the checkout and the Python that the environment is for
_PATIENCE = 5  # seconds until PyTorch's index counts as out of reach


class Environment:
    """The virtual environment in ``folder``, made anew unless this Python made it in this place."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.python = folder, folder.absolute() / "bin" / "python"
        if self._is_ours():
            return
        if folder.exists() and not (folder / "pyvenv.cfg").exists():
            raise Failed(f"{folder} is there and is no virtual environment; name another folder: make VENV=...")
        print(f"making {folder} with {_this_python()}", flush=True)
        if subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)]).returncode:
            raise Failed(f"{_this_python()} could not make {folder}; its own words are above")

    def _is_ours(self) -> bool:
        """False also for a moved or copied environment: its scripts name the old place, and run what is there."""
        code = "import sys, pip; print(*sys.version_info[:2])"
        try:
            made_by = (self.folder / "pyvenv.cfg").read_text().splitlines()
            answer = subprocess.run([self.python, "-I", "-c", code], capture_output=True, text=True).stdout
        except OSError:
            return False
        here = any(line.startswith("command = ") and line.endswith(f" {self.folder.absolute()}") for line in made_by)
        return here and answer.split() == [str(part) for part in sys.version_info[:2]]

    def version(self, package: str) -> str:
        """The installed version, or an empty text."""
        code = f"import importlib.metadata as found; print(found.version({package!r}))"
        return subprocess.run([self.python, "-I", "-c", code], capture_output=True, text=True).stdout.strip()

    def pip(self, *arguments: str) -> None:
        """Run pip with these arguments. Raises Failed with pip's own words."""
        # -I: what PYTHONPATH names is not part of this environment, but pip would count it.
        command = [str(self.python), "-I", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise Failed(f"pip could not change {self.folder}:\n{done.stderr.strip()}")

    def install_locked(self, requirements: str, *options: str) -> None:
        """Install these entries of the lock, wheels only, each with one of its hashes. Raises Failed."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "requirements.txt"
            file.write_text(requirements)
            self.pip(
                "install", "--no-deps", "--require-hashes", "--only-binary=:all:", *options, "--requirement", str(file)
            )


def install_torch(environment: Environment, asked: str = "") -> None:
    """Install the build of PyTorch that was ``asked`` for, one of :data:`BUILDS`; empty: what suits this machine.

    Raises Failed when pip cannot install it. Unasked, another build of the same version stays.
    """
    locked = read_lock()["torch"]
    version = pinned(locked)
    there, _, label = environment.version("torch").partition("+")
    if there == version and label and asked in ("", label):
        return
    build = asked or (suited_build(find_driver()) if there != version else "cu130")
    if build != "cu130" and sys.platform == "linux":
        try:
            return _from_pytorch(environment, locked, f"{version}+{build}")
        except Failed as error:
            if asked:
                raise Failed(
                    f"{error}. TORCH_INDEX=https://... names another copy of PyTorch's index; TORCH=cu130 takes PyPI's "
                    "build, 2.7 GB with its CUDA libraries"
                ) from error
            print(f"{error}, so PyPI's build is taken: 2.7 GB with its CUDA libraries", flush=True)
    print(f"installing PyTorch {version} from the package registry", flush=True)
    # === leaves out a build with a label, which pip would prefer if it found one.
    environment.install_locked(locked.replace("==", "===", 1) + read_lock()["cuda"])


def _from_pytorch(environment: Environment, locked: str, version: str) -> None:
    """Install ``version``, with the build's label, from PyTorch's index, or from where pip is set up to look."""
    build = version.partition("+")[2]
    index = f"{os.environ.get('TORCH_INDEX') or 'https://download.pytorch.org/whl'}/{build}"
    there = _answers(f"{index}/torch/")
    options = ["--index-url", index] if there else []
    print(f"installing PyTorch {version}" + (f" from {index}" if there else ""), flush=True)
    try:
        if build == "cpu":
            environment.install_locked(locked.replace(pinned(locked), version, 1), *options)
        else:
            environment.pip("install", *options, f"torch=={version}")
    except Failed as error:
        why = str(error) if there else f"{index} does not answer, and pip does not find it elsewhere"
        raise Failed(f"PyTorch {version} could not be installed: {why}") from error


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_PATIENCE):
            return True
    except (OSError, ValueError):
        return False


def _this_python() -> str:
    return f"Python {platform.python_version()}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Install; returns the exit status: 0, 1 after an error that is told in words, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the virtual environment")
    parser.add_argument("--torch", default="", choices=("", *BUILDS), help="the build of PyTorch")
    parser.add_argument("--developers", action="store_true", help="add what tests and checks need")
    parser.add_argument("--queue", action="store_true", help="add what ENGINE=slurm needs")
    options = parser.parse_args(arguments)
    try:
        environment = Environment(options.folder)
        if options.developers:
            environment.install_locked(read_lock()["developers"])
            return 0
        if options.queue:
            environment.install_locked(entries(read_lock()["developers"])["submitit"])
            return 0
        print(f"installing {len(entries(read_lock()['readers']))} packages into {options.folder}", flush=True)
        environment.install_locked(read_lock()["readers"])
        install_torch(environment, options.torch)
        # The lock holds setuptools, which builds this package: without isolation pip fetches no other.
        environment.pip("install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from there", file=sys.stderr)
        return 130
    (options.folder / STAMP).write_text(f"{ROOT}\n{_this_python()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
