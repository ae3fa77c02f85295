"""Run a notebook headless through papermill, strictly.

Papermill itself only warns about a parameter that the notebook does not have, and starts the kernel that is called
``python3`` on the machine, of any environment. Here an unknown or wrongly typed parameter is an error, and the kernel
is the interpreter that is running now.
"""

import ast
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from synthlib.errors import Failed
from synthlib.machine.files import naming_a_full_disk, write_text
from synthlib.paths import ROOT, settled_variables
from synthlib.web.page import single_page

KERNEL = "python3"
_ASSIGNMENT = (ast.Assign, ast.AnnAssign)


class NotebookFailed(Failed):
    """A cell raised an error; the message names the cell, its last line and the kept notebook."""


def notebook_parameters(path: str | Path) -> dict[str, Any]:
    """Names and default values in the cell tagged ``parameters``, annotated or not.

    Raises ValueError when the notebook has no such cell, or when a line of it assigns anything but a plain value.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            return dict(_assigned(node, path) for node in ast.parse(cell.source).body if isinstance(node, _ASSIGNMENT))
    raise ValueError(f"{path} has no cell tagged 'parameters'")


def _assigned(node: ast.Assign | ast.AnnAssign, path: str | Path) -> tuple[str, Any]:
    """(name, value) of a line ``name = value`` or ``name: type = value``. ValueError for any other assignment."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if len(targets) == 1 and isinstance(targets[0], ast.Name) and node.value is not None:
        with contextlib.suppress(ValueError):
            return targets[0].id, ast.literal_eval(node.value)
    raise ValueError(
        f"{Path(path).name}, the cell tagged 'parameters': `{ast.unparse(node)}` is not a name with a plain default, "
        "like `size = 3` or `size: int = 3`"
    )


def check_parameters(path: str | Path, parameters: dict[str, Any]) -> None:
    """Raise ValueError, which lists the known parameters, for a parameter that is unknown or of another type."""
    known = notebook_parameters(path)
    listing = ", ".join(f"{name}={value!r}" for name, value in known.items())
    for name, value in parameters.items():
        if name not in known:
            raise ValueError(f"{Path(path).name} has no parameter {name!r}; it has: {listing}")
        if type(value) is not type(known[name]):
            wanted = type(known[name]).__name__
            raise ValueError(f"{Path(path).name}: {name} must be {wanted}, not {value!r}; defaults: {listing}")


def run_notebook(path: str | Path, folder: str | Path, parameters: dict[str, Any]) -> Path:
    """Execute ``path`` with ``parameters``; returns the executed copy in ``folder``, beside its HTML page.

    Raises ValueError for the parameters, and NotebookFailed when a cell fails: the notebook is kept with its output up
    to there.
    """
    path, folder = Path(path), Path(folder)
    check_parameters(path, parameters)
    folder.mkdir(parents=True, exist_ok=True)
    executed = folder / path.name
    with _kernel_of_this_interpreter(), naming_a_full_disk(executed):
        try:
            papermill.execute_notebook(
                str(path),
                str(executed),
                parameters=parameters,
                kernel_name=KERNEL,
                language="python",
                cwd=str(path.parent),
                progress_bar=False,
            )
        except PapermillExecutionError as error:
            last_line = str(error.source).strip().splitlines()[-1]
            raise NotebookFailed(
                f"{path.name} failed in cell {error.cell_index + 1}, at: {last_line}\n"
                f"  {error.ename}: {error.evalue}\n  kept with its output: {executed}"
            ) from error
    write_text(executed.with_suffix(".html"), single_page(executed))
    return executed


def cell_text(executed: str | Path, tag: str) -> str:
    """What the cell tagged ``tag`` printed in an executed notebook; if it printed nothing, its result as text.

    Raises ValueError when no cell has the tag.
    """
    for cell in nbformat.read(executed, as_version=4).cells:
        if tag in cell.metadata.get("tags", []):
            printed = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
            results = (output.data for output in cell.outputs if output.output_type == "execute_result")
            return printed or "".join(data.get("text/plain", "") for data in results)
    raise ValueError(f"{Path(executed).name} has no cell tagged {tag!r}")


@contextlib.contextmanager
def _kernel_of_this_interpreter() -> Iterator[None]:
    """While open, the kernel called python3 is ``sys.executable``, also when the user's Jupyter has another python3."""
    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "kernels" / KERNEL / "kernel.json"
        spec.parent.mkdir(parents=True)
        # Errors only: the kernel would warn at every start that its loopback connection is not encrypted.
        argv = [sys.executable, "-m", "ipykernel_launcher", "--log-level=ERROR", "-f", "{connection_file}"]
        # The kernel runs in another folder: its paths and its synthlib must be those of this process all the same.
        packages = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        env = {"PYTHONPATH": packages} | settled_variables()
        spec.write_text(json.dumps({"argv": argv, "env": env, "display_name": "Python 3", "language": "python"}))
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [folder, before]))
        try:
            yield
        finally:
            if before is None:
                del os.environ["JUPYTER_PATH"]
            else:
                os.environ["JUPYTER_PATH"] = before
