"""``make doctor``: check the installation and the data, one line for each finding, and say last what to type next."""

import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from synthlib.kernels.products import ONEDNN
from synthlib.machine import devices
from synthlib.machine.processors import usable_processors
from synthlib.machine.requirements import entries, read_lock
from synthlib.offline.datasets import ADAPTED, cql_data, load, trajectories
from synthlib.offline.download import missing_files, to_be_fetched
from synthlib.offline.environments import make_environment
from synthlib.offline.replay_check import physics_findings
from synthlib.offline.sources import data_sets_there, unnamed_files
from synthlib.paths import NOTEBOOKS, ROOT, data_cache, outputs, store_root
from synthlib.runs.repair import verify
from synthlib.runs.store import Store
from synthlib.study.params import load_artefact
from synthlib.study.presets import load_preset
from synthlib.tasks import ENVIRONMENTS, in_data_order

_LEAST_FREE_GB = 1
_TABLE = "table6"
_REPLAYED = 300  # recorded steps of each robot


def examine(data: str = "replica", preset: str = "quick") -> int:
    """Print what was found; ``data`` is the data source. Returns 0 when Table 6 can be reproduced here, else 1."""
    problems = []

    def found(part: str, text: str, problem: bool = False) -> None:
        print(f"  {'PROBLEM' if problem else 'ok':8} {part}: {text}", flush=True)
        if problem and part not in problems:
            problems.append(part)

    for part, check in (
        ("python", _python),
        ("packages", _packages),
        ("checkout", _checkout),
        ("physics", _physics),
        ("notebooks", _notebooks),
        ("disk", _disk),
        ("threads", _threads),
        ("device", _device),
    ):
        try:
            found(part, check())
        except Exception as error:
            found(part, str(error), problem=True)
    for part, text, is_problem in _data(data, preset):
        found(part, text, is_problem)
    command = _command(data, preset)
    if problems:
        print(f"not ready: {', '.join(problems)} (see above); then: {command}")
        return 1
    print(f"ready: {command}")
    return 0


def examine_store() -> int:
    """Print what is wrong in the store and the caches, and what was done about it. Returns 1 when some is damaged."""
    store = Store(store_root())
    print(f"  verifying {store.root}, {store.records} and {data_cache()}", flush=True)
    found = verify(store, data_cache())
    for path, what, done, is_damage in found.findings:
        print(f"  {'DAMAGED' if is_damage else 'left':8} {path}: {what}; {done}")
    damaged = sum(finding.is_damage for finding in found.findings)
    lines = [f"{found.trainings} trainings verified"]
    lines += [f"{found.busy} left alone, because a process trains them"] * (found.busy > 0)
    older = f"{found.without_checksums} have no checksums of their rows, because earlier code made them"
    lines += [older] * (found.without_checksums > 0)
    print("; ".join([*lines, f"{damaged} damaged files, {len(found.findings) - damaged} leftovers"]))
    return int(damaged > 0)


def _python() -> str:
    """The version of Python; each check returns what to print and raises when its part is missing."""
    version = sys.version.split()[0]
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        raise RuntimeError(f"this is Python {version}, wanted is {wanted}; run: make clean install")
    return version


def _packages() -> str:
    """Whether every package has the version in requirements.lock."""
    wrong, lock = [], read_lock()
    for entry in entries(lock["readers"] + lock["torch"]).values():
        locked = Requirement(entry.split("\\")[0])
        if locked.marker and not locked.marker.evaluate():
            continue
        try:
            installed = importlib.metadata.version(locked.name)
        except importlib.metadata.PackageNotFoundError:
            installed = "nothing"
        if not locked.specifier.contains(installed, prereleases=True):
            wrong.append(f"{locked.name} {locked.specifier} is locked, {installed} is installed")
    if wrong:
        raise RuntimeError(f"{'; '.join(wrong[:3])}{' ...' if len(wrong) > 3 else ''}; run: make -B install")
    return "as in requirements.lock"


def _checkout() -> str:
    """Whether a notebook that is opened by hand imports this checkout: a copied .venv still imports the other one."""
    code = "import synthlib; print(*synthlib.__path__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=NOTEBOOKS, capture_output=True, text=True).stdout.strip()
    if not found or not os.path.samefile(Path(found).parent, ROOT):
        there = f"imports {found}" if found else "cannot import synthlib"
        raise RuntimeError(f"this is {ROOT}, but a notebook {there}; run: make -B install")
    return str(ROOT)


def _physics() -> str:
    """Whether every environment makes a step."""
    for environment in ENVIRONMENTS:
        env = make_environment(environment)
        env.reset(seed=0)
        env.step(np.zeros(env.action_space.shape))
        env.close()
    return f"{', '.join(ENVIRONMENTS)} step in MuJoCo {importlib.metadata.version('mujoco')}"


def _data(data: str, preset: str) -> Iterator[tuple[str, str, bool]]:
    """(part, sentence, whether it is a problem) of all that is found in a data source.

    Every data set that is there is read as the trainings read it, every byte of it: what is remembered of a file would
    not show a damaged disk. A data set that is missing is a problem when the command needs it and cannot fetch it.
    """
    try:
        needed = load_preset(preset, load_artefact(_TABLE).algorithm)["datasets"]
        fetched = missing_files(needed, data)
        read = in_data_order({*data_sets_there(data), *needed} - set(fetched))
    except ValueError as error:  # no such folder, no such preset
        yield "data", str(error), True
        return
    sound = []
    if fetched:
        yield "data", to_be_fetched(fetched, data), False
    for name in read:
        try:
            dataset = load(name, data)
            cql_data(dataset), trajectories(dataset)
        except Exception as error:
            yield "data", str(error), True
            continue
        sound.append(name)
        for file, facts in dataset.metadata.items():
            yield from (("data", f"{file}: {change}", False) for change in facts.get(ADAPTED, ()))
    if sound:
        count, were = f"{len(sound)} data set{'s' * (len(sound) > 1)}", "were" if len(sound) > 1 else "was"
        yield "data", f"{count} of {data} {were} read and can be trained on", False
        yield "masses", _masses(sound, data), False
    if unread := unnamed_files(data):
        wanted = "hopper_medium.hdf5, or hopper_own.hdf5 for data of your own"
        yield "data", f"not read, for want of a name such as {wanted}: {', '.join(unread)}", False


def _masses(names: list[str], data: str) -> str:
    """Which body masses the data were made with: recorded steps of each robot are replayed."""
    return "\n           ".join(physics_findings(names, data, _REPLAYED))


def _command(data: str, preset: str) -> str:
    """The command that was asked about, to be typed."""
    folder = data.removeprefix("path:")
    if folder != data and Path(folder).is_relative_to(Path.cwd()):
        data = f"path:{Path(folder).relative_to(Path.cwd())}"
    options = [f"DATA={shlex.quote(data)}"] * (data != "replica") + [f"PRESET={preset}"] * (preset != "quick")
    return " ".join([f"make reproduce-{_TABLE}", *options])


def _notebooks() -> str:
    """How many notebooks there are, and whether their kernel is installed."""
    from jupyter_client.kernelspec import KernelSpecManager

    KernelSpecManager().get_kernel_spec("python3")
    return f"{len(list(NOTEBOOKS.glob('*.ipynb')))} in {NOTEBOOKS.name}/, kernel python3"


def _disk() -> str:
    """Free space for the outputs."""
    folder = outputs()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < _LEAST_FREE_GB:
        raise RuntimeError(f"{free:.1f} GB free for {outputs()}; {_LEAST_FREE_GB} GB are needed at least")
    return f"{free:.0f} GB free for {outputs()}"


def _device() -> str:
    """Where trainings would run, and which build of PyTorch is here."""
    products = f"matrix products on the processor by {'oneDNN' if ONEDNN else 'MKL'}"
    return f"{devices.describe(devices.chosen())}, {products}; {devices.describe_build()}"


def _threads() -> str:
    """Whether a process uses one thread for its matrix products."""
    wanted = os.environ.get("OMP_NUM_THREADS")
    if wanted != "1":
        raise RuntimeError(f"OMP_NUM_THREADS is {wanted}; workers use one thread each, set it to 1 (make does)")
    return f"one per process, {usable_processors()} of them at a time"
