import json
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from synthlib.notebooks import NotebookFailed, notebook_parameters, run_notebook


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
