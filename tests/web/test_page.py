"""The single HTML page of an executed notebook: nothing of another host in it, and nothing of this machine."""

import os
import re

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from synthlib.paths import ROOT
from synthlib.web.page import shortened, single_page

WORDS = "# A page: $x < y$\n\nThen $$\\frac{a}{b}$$ and `a $ b $ c`.\n"


def page(tmp_path, *cells, **metadata):
    path = tmp_path / "99_file_name.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell(WORDS), *cells], metadata=metadata), path)
    return single_page(path)


def test_it_asks_no_other_host_and_sets_formulas_by_itself(tmp_path):
    listing = {"text/html": "<div class='highlight'><pre>def f(): ...</pre></div>", "text/plain": "code"}
    outputs = [
        new_output("display_data", {"image/png": "aGk=", "text/plain": "<Figure>"}),
        new_output("display_data", listing),
    ]
    text = page(tmp_path, new_code_cell("1 + 1", outputs=outputs))
    without_namespaces = re.sub(r'xmlns="[^"]*"', "", text)
    assert not re.search(r"https?://", without_namespaces), "nothing from a CDN"
    assert text.count("<math") == 2 and 'display="block"' in text and "<mfrac>" in text
    assert "<code>a $ b $ c</code>" in text
    assert 'alt="A figure without a description"' in text
    assert "<pre>def f(): ...</pre>" in text


def test_it_says_what_it_is_and_when_it_was_made(tmp_path):
    text = page(tmp_path, papermill={"parameters": {"preset": "smoke", "workers": 2}})
    assert "<title>A page: $x &lt; y$</title>" in text
    (made,) = re.findall(r"<header><p>(.*)</p></header>", text)
    assert re.fullmatch(
        r"Made on \d{4}-\d\d-\d\d with synthlib \S+(, commit [0-9a-f]+( with changes)?)?, preset smoke\.", made
    )


def test_it_names_no_folder_of_the_machine(tmp_path, outputs):
    said = f"in {outputs}/smoke/table6 and {ROOT}/params/table6.yaml, from {os.path.expanduser('~')}/data"
    cell = new_code_cell("print()", outputs=[new_output("stream", text=said)])
    given = new_code_cell(f'logs = "{ROOT}/logs.csv"')
    given.metadata["tags"] = ["injected-parameters"]
    text = page(tmp_path, given, cell)
    assert "in outputs/smoke/table6 and params/table6.yaml, from ~/data" in text
    assert str(ROOT) not in text and str(outputs) not in text


def test_a_folder_itself_has_a_name(outputs):
    assert shortened(f"{outputs}\n{ROOT}\n") == "outputs\n.\n"
