"""An executed notebook as one HTML file that needs nothing else: no script or font of another host.

Formulas become MathML, pictures are embedded. The page has the notebook's title, says when and of which commit it was
made, and names no folder of the machine. Wide tables scroll on a screen and shrink on paper (wide.css, wide.js).
"""

import os
import subprocess
import time
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from traitlets.config import Config

from synthlib.paths import ROOT, outputs
from synthlib.web.links import working_links

FOLDER = Path(str(files(__package__)))
TEMPLATE = FOLDER / "template"
_SHOWN = ("source", "preset", "data")  # parameters that a reader must know, of those that a page has


class _Renderer(IPythonRenderer):
    """Markdown as nbconvert renders it, with formulas as MathML in place of text for a script to find."""

    def inline_math(self, body: str) -> str:
        return convert(body)

    def block_math(self, body: str) -> str:
        return convert(body, display="block")

    def latex_environment(self, name: str, body: str) -> str:
        return convert(rf"\begin{{{name}}}{body}\end{{{name}}}", display="block")


class _Exporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        return MarkdownWithMath(renderer=_Renderer(escape=False, exclude_anchor_links=True)).render(source)


def single_page(executed: Path) -> str:
    """The HTML of an executed notebook."""
    notebook = without_machine_paths(nbformat.read(executed, as_version=4))
    config = Config({"CSSHTMLHeaderPreprocessor": {"style": "default"}})
    exporter = _Exporter(config, template_name=TEMPLATE.name, extra_template_basedirs=[str(FOLDER)])
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    exporter.theme = ""
    page = {"title": title(notebook), "made": made_line(notebook)}
    text, _ = exporter.from_notebook_node(notebook, {"page": page})
    return working_links(text, executed.parent)


def title(notebook: NotebookNode) -> str:
    """The first heading of a notebook."""
    lines = (line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines())
    return next((line.lstrip("# ") for line in lines if line.startswith("# ")), "A page without a title")


def made_line(notebook: NotebookNode | None = None) -> str:
    """One sentence: when and of which commit something was made, and with which parameters a notebook was executed."""
    parameters = {} if notebook is None else notebook.metadata.get("papermill", {}).get("parameters", {})
    given = "".join(f", {name} {parameters[name]}" for name in _SHOWN if parameters.get(name))
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"Made on {day} with synthlib {version('synthlib')}{commit()}{given}."


def commit() -> str:
    """ ", commit 0123456" of the checkout, and whether files differ from it; empty outside of a checkout."""
    git = ["git", "-C", str(ROOT)]
    try:
        found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f", commit {found.stdout.strip()}{' with changes' if changed else ''}"


def without_machine_paths(notebook: NotebookNode) -> NotebookNode:
    """``notebook`` with paths as from the repository, in what its cells printed and in the parameters given to it.

    The notebook is changed in place.
    """
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.source = shortened(cell.source)
        for output in cell.get("outputs", []):
            for name, text in _texts(output).items():
                _put(output, name, shortened(text))
    return notebook


def shortened(text: str) -> str:
    """``text`` with the folders of this machine as one types them: of outputs, of the repository, and the home."""
    for folder, name in ((str(outputs()), "outputs"), (str(ROOT), "."), (os.path.expanduser("~"), "~")):
        text = text.replace(f"{folder}{os.sep}", "" if name == "." else f"{name}/") if folder != os.sep else text
        text = text.replace(f"{folder}\n", f"{name}\n")
    return text


def _texts(output: NotebookNode) -> dict[str, str]:
    """What of an output is text: {where: text}."""
    if output.output_type == "stream":
        return {"text": output.text}
    return {name: text for name, text in output.get("data", {}).items() if name.startswith("text/")}


def _put(output: NotebookNode, name: str, text: str) -> None:
    if output.output_type == "stream":
        output.text = text
    else:
        output.data[name] = text
