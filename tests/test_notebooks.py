import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from synthlib.notebooks import NotebookFailed, cell_text, notebook_parameters, run_notebook
from tests.common import ROOT


@pytest.fixture
def notebook(tmp_path):
    parameters = new_code_cell('size = 3\nname = "a"')
    parameters.metadata["tags"] = ["parameters"]
    cells = [
        parameters,
        new_code_cell("import sys\nprint(sys.executable)\nprint(size * name)"),
        new_code_cell("total = 1\ntotal / (size - 7)"),
    ]
    path = tmp_path / "example.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def printed(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def test_it_runs_with_the_given_parameters_in_this_interpreter(notebook, tmp_path, monkeypatch):
    # Somebody else's kernel of the same name must not be taken.
    foreign = tmp_path / "home" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text(
        json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "home"))
    executed = run_notebook(notebook, tmp_path / "out", {"size": 4})
    assert printed(executed).split() == [sys.executable, "aaaa"]
    assert "aaaa" in executed.with_suffix(".html").read_text()
    assert notebook_parameters(notebook) == {"size": 3, "name": "a"}


def test_a_failing_cell_is_named_and_the_notebook_kept(notebook, tmp_path):
    with pytest.raises(NotebookFailed) as failed:
        run_notebook(notebook, tmp_path / "out", {"size": 7})
    message = str(failed.value)
    assert "example.ipynb failed in cell 4, at: total / (size - 7)" in message
    assert "ZeroDivisionError" in message and str(tmp_path / "out" / "example.ipynb") in message
    assert "aaaaaaa" in printed(tmp_path / "out" / "example.ipynb")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sise": 4}, r"no parameter 'sise'; it has: size=3, name='a'"),
        ({"size": "4"}, r"size must be int, not '4'; defaults: size=3, name='a'"),
        ({"size": True}, r"size must be int, not True"),
    ],
)
def test_unknown_and_wrongly_typed_parameters_are_refused(notebook, tmp_path, parameters, message):
    with pytest.raises(ValueError, match=message):
        run_notebook(notebook, tmp_path / "out", parameters)
    assert not (tmp_path / "out").exists()


def test_what_a_tagged_cell_printed_can_be_read(notebook, tmp_path):
    book = nbformat.read(notebook, as_version=4)
    book.cells[1].source += "\nprint('not this', file=sys.stderr)"
    book.cells[1].metadata["tags"] = ["finding"]
    nbformat.write(book, notebook)
    executed = run_notebook(notebook, tmp_path / "out", {"size": 4})
    assert cell_text(executed, "finding").split() == [sys.executable, "aaaa"]
    with pytest.raises(ValueError, match=r"example\.ipynb has no cell tagged 'other'"):
        cell_text(executed, "other")


def test_a_tagged_cell_that_printed_nothing_has_the_text_of_its_result(notebook, tmp_path):
    book = nbformat.read(notebook, as_version=4)
    book.cells[
        1
    ].source = "class Table:\n    __repr__ = lambda self: 'two\\nlines'\n    _repr_html_ = lambda self: '<b>'\nTable()"
    book.cells[1].metadata["tags"] = ["finding"]
    nbformat.write(book, notebook)
    assert cell_text(run_notebook(notebook, tmp_path / "out", {}), "finding") == "two\nlines"


def test_a_typed_parameter_is_a_parameter(notebook, tmp_path):
    cells = nbformat.read(notebook, as_version=4)
    cells.cells[0].source = 'size: int = 3  # how often\nname: "str" = "a"'
    nbformat.write(cells, notebook)
    assert notebook_parameters(notebook) == {"size": 3, "name": "a"}
    assert "bbbbb" in printed(run_notebook(notebook, tmp_path / "out", {"size": 5, "name": "b"}))
    with pytest.raises(ValueError, match=r"size must be int, not '4'; defaults: size=3, name='a'"):
        run_notebook(notebook, tmp_path / "out", {"size": "4"})


@pytest.mark.parametrize("line", ["size: int", "size = name = 3", "size, name = 3, 'a'", "size = 2 * 3"])
def test_a_parameter_without_a_plain_default_is_refused(notebook, tmp_path, line):
    cells = nbformat.read(notebook, as_version=4)
    cells.cells[0].source = line
    nbformat.write(cells, notebook)
    with pytest.raises(ValueError, match=r"example\.ipynb, the cell tagged 'parameters': `size.*is not a name with a"):
        notebook_parameters(notebook)


def test_a_notebook_without_parameters_cell_is_refused(tmp_path):
    nbformat.write(new_notebook(cells=[new_code_cell("size = 3")]), tmp_path / "bare.ipynb")
    with pytest.raises(ValueError, match=r"bare\.ipynb has no cell tagged 'parameters'"):
        run_notebook(tmp_path / "bare.ipynb", tmp_path, {})


@pytest.mark.slow
def test_a_copied_checkout_runs_its_notebooks_on_its_own_code(notebook, tmp_path):
    """With an environment that imports another checkout, as a copied .venv does; the doctor says so."""
    copy = tmp_path / "copy"
    left_out = shutil.ignore_patterns("data", "__pycache__")
    shutil.copytree(ROOT / "synthlib", copy / "synthlib", ignore=left_out)
    (copy / "notebooks").mkdir()
    page = nbformat.read(notebook, as_version=4)
    page.cells[-1].source = "import synthlib\nprint(synthlib.__path__[0])"
    nbformat.write(page, copy / "notebooks" / "example.ipynb")
    code = (
        "from synthlib import doctor, notebooks\n"
        "executed = notebooks.run_notebook('notebooks/example.ipynb', 'out', {'size': 1})\n"
        "try:\n    doctor._checkout()\n"
        "except RuntimeError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert printed(copy / "out" / "example.ipynb").split()[-1] == str(copy / "synthlib")
    assert done.stdout.startswith(f"this is {copy}, but a notebook imports {ROOT}") and "make -B install" in done.stdout
