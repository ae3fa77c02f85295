"""pyproject.toml, uv.lock, requirements.lock, environment.yml and the container say the same, and pip can read it."""

import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from synthlib.machine.requirements import SECTIONS, entries, pinned, read_lock
from tests.common import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
LOCK = read_lock()
ENTRIES = entries("".join(LOCK.values()))
UV = {package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
UV.pop("synthlib")


def declared(*extras):
    """The declared dependencies, and those of ``extras``."""
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in PROJECT["optional-dependencies"][extra])]
    return [Requirement(text) for text in texts if not text.startswith("synthlib[")]


def wanted_on(python):
    """The entries of the lock whose marker holds on Linux with this version of Python."""
    environment = {"python_version": python.rpartition(".")[0], "python_full_version": python}
    for name, entry in ENTRIES.items():
        marker = Requirement(entry.split("\\")[0]).marker
        if marker is None or marker.evaluate(environment):
            yield name


@pytest.mark.parametrize(("extras", "sections"), [((), SECTIONS[:2]), (("dev", "minari", "slurm"), SECTIONS)])
def test_every_declared_dependency_is_locked_at_a_version_that_it_allows(extras, sections):
    locked = entries("".join(LOCK[section] for section in sections))
    for requirement in declared(*extras):
        assert requirement.specifier.contains(pinned(locked[canonicalize_name(requirement.name)])), requirement


def test_readers_get_no_developers_tools():
    assert not {"pytest", "ruff", "mypy", "minari", "submitit"} & entries(LOCK["readers"]).keys()
    assert not any(name.startswith(("nvidia", "cuda", "triton", "torch")) for name in entries(LOCK["readers"]))


def test_a_queue_needs_one_package_besides():
    needs = {package["name"] for package in UV["submitit"]["dependencies"]}
    assert needs <= entries(LOCK["readers"]).keys()


def test_the_physics_is_pinned_exactly():
    specifiers = {requirement.name: str(requirement.specifier) for requirement in declared()}
    assert specifiers["gymnasium"] == "==1.4.0" and specifiers["mujoco"] == "==3.3.7"


def test_one_lock_serves_every_supported_python():
    first, *others = ({*wanted_on(f"3.{minor}.0")} for minor in (11, 12, 13))
    assert {"torch", "numpy", "mujoco", "jupyterlab", "pytest"} <= first.intersection(*others)
    # papermill asks for aiohttp on 3.12 alone; and jupyterlab for overrides before it.
    assert first ^ others[1] == {"overrides"} and {"aiohttp", "yarl"} <= others[0] - first


def test_the_lock_names_no_local_build_or_place_and_a_hash_for_everything():
    text = (ROOT / "requirements.lock").read_text()
    assert "+" not in text and "://" not in text and "@" not in text
    for entry in ENTRIES.values():
        first, *hashes = entry.rstrip("\n").split(" \\\n")
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][A-Za-z0-9_.]*( ; .*)?", first)
        assert hashes and all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in hashes), first


def test_uv_installs_the_same_files():
    assert UV.keys() == ENTRIES.keys()
    for name, package in UV.items():
        assert package["source"] == {"registry": "https://pypi.org/simple"}
        files = [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
        assert all(file["url"].startswith("https://files.pythonhosted.org/") for file in files)
        in_uv = {file["hash"] for file in files}
        in_lock = set(re.findall(r"sha256:[0-9a-f]+", ENTRIES[name]))
        assert package["version"] == pinned(ENTRIES[name]) and in_uv <= in_lock
        assert len(in_lock - in_uv) == (6 if name == "torch" else 0)  # three Pythons, two processors, without CUDA


def test_uv_has_seen_what_pyproject_declares():
    whole = tomllib.loads((ROOT / "uv.lock").read_text())
    (ours,) = (package for package in whole["package"] if package["name"] == "synthlib")
    seen = {(one["name"], SpecifierSet(one.get("specifier", ""))) for one in ours["metadata"]["requires-dist"]}
    seen = {pair for pair in seen if pair[0] != "synthlib"}
    assert seen == {(canonicalize_name(one.name), one.specifier) for one in declared("dev", "minari", "slurm")}
    assert SpecifierSet(whole["requires-python"]) == SpecifierSet(PROJECT["requires-python"])


def test_conda_and_pixi_bring_the_python_that_the_project_wants():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert conda == [f"python{PROJECT['requires-python']}", "pip"]
    assert PYPROJECT["tool"]["pixi"]["feature"]["make"]["dependencies"]["python"] == PROJECT["requires-python"]


@pytest.mark.slow
def test_pip_reads_what_conda_hands_to_it(tmp_path):
    """conda writes the lines into a file and calls ``pip install -r`` on it."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (lines,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    (tmp_path / "condaenv.requirements.txt").write_text("\n".join(lines))
    # Without PyPI's CUDA libraries everything is installed here, so pip needs no network to resolve the rest.
    (tmp_path / "requirements.lock").write_text(LOCK["readers"] + LOCK["torch"] + LOCK["developers"])
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "-r", "condaenv.requirements.txt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Requirement already satisfied: torch==2.13.0" in done.stdout


@pytest.mark.parametrize(
    "file", ["Dockerfile", ".devcontainer/devcontainer.json", ".github/workflows/ci.yml", ".ci/run", "CONTRIBUTING.md"]
)
def test_containers_and_ci_call_what_make_knows(file):
    known = re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    called = re.findall(r"(?:^\s*|RUN |run: |: \"|\$ )make ([a-z0-9 -]+)", (ROOT / file).read_text(), re.MULTILINE)
    targets = {target for words in called for target in words.split()}
    assert targets and targets <= set(known)


def test_the_ci_script_is_for_everyone():
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].keys() >= {"everything", "oldest"}
