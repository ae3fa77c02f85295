"""Every notebook: stripped in git, parameterised, and executed in the smoke preset through the commands users type."""

import subprocess
import sys

import nbformat
import pytest

from synthlib.paths import NOTEBOOKS, ROOT
from synthlib.runner import notebook_parameters
from synthlib.study import artefact_names, load_artefact

ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
TABLES = [name for name in artefact_names() if (NOTEBOOKS / load_artefact(name).notebook).exists()]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_source_is_stripped_and_parameterised(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
            assert len(cell.source.splitlines()) <= 25, "long code belongs into synthlib"
    assert notebook.metadata.kernelspec.name == "python3"
    assert "parameters" in notebook.cells[1].metadata.get("tags", [])
    assert notebook_parameters(path)


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_smoke_preset_makes_every_file_and_a_second_time_trains_nothing(table, outputs):
    command = [sys.executable, "-m", "synthlib", "reproduce", table, "--preset", "smoke", "--workers", "2"]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    folder = outputs / "smoke" / table
    name = load_artefact(table).notebook.removesuffix(".ipynb")
    for expected in (f"{name}.ipynb", f"{name}.html", *(f"{table}.{kind}" for kind in ("csv", "tex", "html", "json"))):
        assert (folder / expected).stat().st_size > 0
    for kind in ("png", "svg", "alt.txt"):
        assert (folder / f"{table}_curves.{kind}").stat().st_size > 0
    assert "replica data, not comparable" in first.stdout and "missing" not in (folder / f"{table}.txt").read_text()
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "missing" not in second.stdout and " elapsed" not in second.stderr
