"""pyproject.toml, requirements.lock and environment.yml say the same."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement

from synthlib.paths import ROOT


def locked():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", pin) for pin in pins), "only name==version lines"
    return {canonical(name): version for name, version in (pin.split("==") for pin in pins)}


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(text) for text in (*project["dependencies"], *project["optional-dependencies"]["dev"])]


def test_every_declared_dependency_is_locked_at_a_version_that_it_allows():
    pins = locked()
    for requirement in declared():
        assert requirement.specifier.contains(pins[canonical(requirement.name)]), requirement


def test_the_physics_is_pinned_exactly():
    specifiers = {requirement.name: str(requirement.specifier) for requirement in declared()}
    assert specifiers["gymnasium"] == "==1.4.0" and specifiers["mujoco"] == "==3.3.7"


def test_the_lock_names_no_local_build_or_place():
    text = (ROOT / "requirements.lock").read_text()
    assert "+" not in text and "://" not in text and "@" not in text


def test_conda_installs_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert conda == ["python=3.11", "pip"]
    assert pip == ["--requirement requirements.lock", "--no-deps --editable ."]
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert requires == ">=3.11,<3.12"
