"""Thousands of broken and odd data files: each loads right, or is refused in one sentence of our own.

    python -m tests.offline.fuzz_hdf5 --tries 5000

Each try makes a small file in D4RL's layout, changes it in one way (tests/offline/odd_files.py), and loads it in a
process of its own, as a training would. A line is printed for each file that gave a traceback or another program's
sentence, took too long, killed the process, was loaded though it should be refused, was refused though it should be
loaded, or was loaded with other numbers than its own. The exit status is 1 if there is any. The same seed makes the
same files.
"""

import argparse
import collections
import itertools
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

from synthlib.offline.datasets import OfflineDataset, cql_data, load, trajectories
from synthlib.offline.masses import choose_masses
from synthlib.tasks import DIMENSIONS, MAX_EPISODE_STEPS
from tests.offline.odd_files import CHANGES, Change, make_file

SECONDS, MEMORY = 30, 8 << 30  # of one load


def damage(kind: str) -> Change:
    """A change of the file's bytes."""

    def apply(path: Path, rng: np.random.Generator) -> None:
        content = bytearray(path.read_bytes())
        for _ in range(rng.integers(1, 8)):
            # Most structures of HDF5 stand at the beginning and at the end of such a small file.
            place = int(rng.integers(len(content)) if rng.random() < 0.5 else rng.integers(-800, 800)) % len(content)
            size = int(rng.integers(1, 40))
            if kind == "bit":
                content[place] ^= 1 << int(rng.integers(8))
            elif kind == "byte":
                content[place] = int(rng.integers(256))
            elif kind == "ones":
                content[place : place + 8] = b"\xff" * 8
            elif kind == "zeros":
                content[place : place + size] = bytes(size)
            elif kind == "inserted":
                content[place:place] = rng.bytes(size)
            elif kind == "removed":
                del content[place : place + size]
            else:
                other = int(rng.integers(len(content)))
                content[place : place + size] = content[other : other + size]
        if kind == "cut":
            del content[int(rng.integers(len(content))) :]
        path.write_bytes(bytes(content) if kind != "random" else rng.bytes(len(content)))

    return Change(f"bytes {kind}", apply, "refused" if kind in ("cut", "random") else "either")


BYTES = [damage(kind) for kind in ("bit", "byte", "ones", "zeros", "inserted", "removed", "copied", "cut", "random")]


def turns() -> list[Change]:
    """The order in which changes have their turn. Every third damages bytes, which has more ways than a change has."""
    damages = itertools.cycle(BYTES)
    return [one for place, regular in enumerate(CHANGES) for one in (regular, *([next(damages)] * (place % 2)))]


def load_and_check(name: str, folder: Path) -> str:
    """Plan and load as for a training; "loads", "refused: ..." for a sentence of our own, else what is wrong."""
    try:
        choose_masses(name, f"path:{folder}", folder / "cache")  # what a plan does, before arrays are checked
        data = load(name, f"path:{folder}", folder / "cache", next_observations=True)
        cql_data(data), trajectories(data)
    except (ValueError, FileNotFoundError) as error:
        message = str(error)
        clear = "medium" in message and "\n" not in message and message.isprintable() and len(message) < 700
        return f"refused: {message}" if clear else f"unclear: {type(error).__name__}: {message}"
    return wrong_numbers(data) or "loads"


def wrong_numbers(data: OfflineDataset) -> str:
    """What is wrong in loaded data, "" if nothing is: against the rules of the format, and against the file itself."""
    wanted = {"observations": (len(data), DIMENSIONS[data.environment][0]), "rewards": (len(data),)}
    wanted["actions"] = (len(data), DIMENSIONS[data.environment][1])
    with h5py.File(data.files[0], "r") as file:
        for name, shape in wanted.items():
            array = getattr(data, name)
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                return f"wrong: {name} is {array.dtype} of shape {array.shape}"
            stored = file[name][()].astype(np.float32).reshape(len(data), -1)
            stored = np.clip(stored, -1, 1) if name == "actions" and np.abs(stored).max() > 1.01 else stored
            if not np.array_equal(array.reshape(len(data), -1)[:, : stored.shape[1]], stored):
                return f"wrong: other {name} than in the file"
        if not np.array_equal(data.terminals, file["terminals"][()].ravel().astype(bool)):
            return "wrong: other terminals than in the file"
        if data.next_observations is not None and data.timeouts is not None:
            differs = ~np.isclose(data.next_observations[:-1], data.observations[1:], rtol=0.01, atol=0.01).all(axis=1)
            if (differs & ~(data.terminals | data.timeouts)[:-1]).any():
                return "wrong: rows are not followed by their successors"
    lengths = [len(episode.rewards) for episode in trajectories(data)]
    if not lengths or max(lengths) > MAX_EPISODE_STEPS:
        return f"wrong: episodes of {lengths} steps"
    json.loads(json.dumps(data.metadata, allow_nan=False))
    return ""


def outcome(name: str, folder: Path) -> str:
    """The result of :func:`load_and_check` in a process of its own, which may crash or never end."""
    report = folder / "report"
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        try:
            report.write_text(load_and_check(name, folder), encoding="utf-8", errors="replace")
        except BaseException as error:
            report.write_text(f"traceback: {type(error).__name__}: {error}", encoding="utf-8", errors="replace")
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"no end after {SECONDS} seconds" if number == signal.SIGALRM else f"killed by signal {number}"
    return report.read_text(encoding="utf-8")


def fuzz(tries: int, seed: int) -> tuple[collections.Counter[str], list[str]]:
    """(how often which outcome, a line for each finding) of ``tries`` files."""
    counts: collections.Counter[str] = collections.Counter()
    findings = []
    changes = turns()
    for number in range(tries):
        rng = np.random.default_rng([seed, number])
        chosen = changes[number % len(changes)]
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try:
            path = folder / "made.hdf5"
            name = make_file(path, rng)
            chosen.apply(path, rng)
            path.rename(folder / f"{name.replace('-', '_')}-v2.hdf5")
            found = outcome(name, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        kind = found.partition(":")[0]
        counts[f"{chosen.name.partition(' ')[0]}: {kind}"] += 1
        expected = ("loads", "refused") if chosen.follows == "either" else (chosen.follows,)
        if kind not in expected:
            findings.append(f"seed {seed}, try {number}, {name}, {chosen.name} ({chosen.follows}): {found}")
    return counts, findings


def main() -> None:
    """Command line of ``python -m tests.offline.fuzz_hdf5``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=5000, help="how many files (default: 5000)")
    parser.add_argument("--seed", type=int, default=0, help="which files (default: 0)")
    options = parser.parse_args()
    counts, findings = fuzz(options.tries, options.seed)
    for name, count in sorted(counts.items()):
        print(f"{count:6} {name}")
    print(*findings, f"{options.tries} files, {len(findings)} findings", sep="\n")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
