"""``requirements.lock``: the version and the SHA-256 of every file that may be installed, for Python 3.11 to 3.13.

uv resolves ``pyproject.toml`` into ``uv.lock``, which ``uv sync`` reads. ``make lock`` exports it into the form that
plain pip reads. The export is one file in four sections:

* ``readers``: what everybody needs, without PyTorch;
* ``torch``: PyTorch, with the hashes of PyPI's builds and of PyTorch's own builds without CUDA;
* ``cuda``: what PyPI's build for Linux needs besides (2.2 GB), and the build without CUDA does not;
* ``developers``: the extras ``dev``, ``minari`` and ``slurm``.

pip may read the file whole. :mod:`synthlib.machine.installation` takes the sections that it needs. So the part that
reads must work without any installed package.
"""

import re
import subprocess
import sys

from synthlib.paths import ROOT

LOCK = ROOT / "requirements.lock"
SECTIONS = ("readers", "torch", "cuda", "developers")
_HEAD = """\
# Everything that may be installed, for Python 3.11 to 3.13, with the SHA-256 of every file. `make lock` writes this
# file from uv.lock: do not edit it. pip may read it whole; `make install` takes the sections that it needs.
"""
# SHA-256 of torch-2.13.0+cpu for Python 3.11, 3.12 and 3.13, of x86_64 and then of aarch64, as PyTorch's own index
# (download.pytorch.org/whl/cpu/torch/) states them. These files are not on PyPI, so uv cannot know them.
_WITHOUT_CUDA = {
    "2.13.0": (
        "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
        "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",
        "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",
        "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",
        "6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604",
        "0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d",
    )
}


def read_lock(text: str | None = None) -> dict[str, str]:
    """The text of each section of the lock. Default: of the lock in this checkout."""
    parts = re.split(r"^# --- (\w+).*\n", LOCK.read_text() if text is None else text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def entries(text: str) -> dict[str, str]:
    """The entry of each package: its name, and its lines of ``name==version``, perhaps a marker, and hashes."""
    found = re.findall(r"^([A-Za-z0-9][A-Za-z0-9_.-]*)(.*\n(?:[ \t].*\n?)*)", text, flags=re.MULTILINE)
    return {name: name + rest for name, rest in found}


def pinned(entry: str) -> str:
    """The version in an entry of the lock."""
    return re.split(r"==|[\s;]", entry)[1]


def write_lock(uv: str) -> None:
    """Write the lock from ``uv.lock`` with the program ``uv``.

    Raises ValueError when PyTorch has a version whose builds without CUDA are not listed above.
    """
    everything = entries(_export(uv, "--all-extras"))
    for_readers = entries(_export(uv))
    without_torch = entries(_export(uv, "--prune", "torch"))
    version = pinned(everything["torch"])
    if version not in _WITHOUT_CUDA:
        raise ValueError(f"bring the SHA-256 of torch {version}+cpu from PyTorch's index into {__file__}")
    everything["torch"] += "".join(f"    --hash=sha256:{digest}\n" for digest in _WITHOUT_CUDA[version])
    everything["torch"] = re.sub(r"([0-9a-f])\n(?=    --hash)", r"\1 \\\n", everything["torch"])
    texts = dict.fromkeys(SECTIONS, "")
    for name, entry in everything.items():
        if name == "torch":
            section = "torch"
        elif name not in for_readers:
            section = "developers"
        elif name not in without_torch and "sys_platform == 'linux'" in entry.splitlines()[0]:
            section = "cuda"
        else:
            section = "readers"
        texts[section] += entry
    LOCK.write_text(_HEAD + "".join(f"# --- {section}\n{texts[section]}" for section in SECTIONS))


def _export(uv: str, *options: str) -> str:
    command = [uv, "export", "--quiet", "--frozen", "--no-emit-project", "--no-annotate", "--no-header", *options]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    write_lock(sys.argv[1])
