"""Every notebook: stripped in git, parameterised, and executed in the smoke preset through the commands users type."""

import os
import re
import subprocess
import sys

import nbformat
import pandas as pd
import pytest

from synthlib.notebooks import cell_text, notebook_parameters
from synthlib.paths import NOTEBOOKS, ROOT
from synthlib.report.data_page import find
from synthlib.study.figures import find_artefact
from synthlib.study.pages import load_page, page_names
from synthlib.study.params import artefact_names, load_artefact
from tests.common import AUTHORS_LOGS

ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
# One table for each page: its first, which brings its twins along.
PAGES = {load_artefact(name).notebook: name for name in reversed(artefact_names())}
# Without Figure 17, which wants 132 runs even in smoke.
OF_CQL = sorted(n for n in PAGES.values() if load_artefact(n).algorithm == "cql" and load_artefact(n).is_table)
# These are ours alone: the authors' logs have no run of them.
OURS = {"pretraining_recipes", "dt_pretraining_seeds", "dt_start", "dial_chain", "nested_brackets"}
OF_DT = sorted({n for n in PAGES.values() if load_artefact(n).algorithm == "dt"} - OURS)


# Worked solutions of exercises: Python in a folded part of a page.
SOLUTION = re.compile(r"<details><summary>Solution</summary>.*?```python\n(.*?)```", re.DOTALL)
SOLVED = {
    f"{path.stem}-{number}": solution
    for path in ALL
    for cell in nbformat.read(path, as_version=4).cells
    for number, solution in enumerate(SOLUTION.findall(cell.source), 1)
}


@pytest.fixture(scope="module")
def shared_outputs(tmp_path_factory):
    """One store for all pages and test workers: the pages share their runs, as they do for users."""
    return tmp_path_factory.getbasetemp().parent / "notebook-outputs"


def synthlib(*arguments, outputs):
    environment = os.environ | {"SYNTHLIB_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "synthlib", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_source_is_stripped_and_parameterised(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
            assert len(cell.source.splitlines()) <= 40, "long code belongs into synthlib"
    assert notebook.metadata.kernelspec.name == "python3"
    assert "parameters" in notebook.cells[1].metadata.get("tags", [])
    assert notebook_parameters(path)


def test_every_artefact_has_a_page_that_asks_for_it():
    for name in artefact_names():
        path = NOTEBOOKS / load_artefact(name).notebook
        source = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        # A page must show what `reproduce` prints.
        assert f'report("{name}")' in source, name


@pytest.mark.slow
@pytest.mark.parametrize("table", [*OF_CQL, "table2"])
def test_a_page_trains_what_is_missing_and_a_second_time_nothing(table, shared_outputs):
    first = synthlib("reproduce", table, "--preset", "smoke", "--workers", "2", outputs=shared_outputs)
    folder = shared_outputs / "smoke" / table
    name = load_artefact(table).notebook.removesuffix(".ipynb")
    for expected in (f"{name}.ipynb", f"{name}.html", *(f"{table}.{kind}" for kind in ("csv", "tex", "html", "json"))):
        assert (folder / expected).stat().st_size > 0
    for figure in (f"{table}_curves", f"{table}_profile", *load_artefact(table).figures):
        for kind in ("png", "svg", "alt.txt"):
            assert (folder / f"{figure}.{kind}").stat().st_size > 0
    is_printed = load_artefact(table).paper_table is not None
    assert ("replica data, not comparable" if is_printed else "replica data (D4RL's recipe") in first.stdout
    assert "missing" not in (folder / f"{table}.txt").read_text()
    again = synthlib("run", table, "--preset", "smoke", "--workers", "2", outputs=shared_outputs)
    assert "missing" not in again.stdout and " elapsed" not in again.stderr


@pytest.mark.slow
def test_the_page_of_similarities_draws_every_arm(shared_outputs):
    done = synthlib("reproduce", "figure12", "--preset", "smoke", "--workers", "2", outputs=shared_outputs)
    folder = shared_outputs / "smoke" / "figure12"
    assert (folder / "19_figure12_similarity.html").stat().st_size > 0
    drawn = (folder / "figure12.alt.txt").read_text()
    for arm in load_artefact("figure12").arms:
        assert f"weights RI vs FT {arm} " in drawn and f"features RI vs FT {arm} " in drawn
    assert "What the paper says of Figure 12" in done.stdout and "missing: " not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["figure15", "figure16"])
def test_a_figure_is_made_by_its_number(name, shared_outputs):
    """One that a table's page shows, and one with a page of its own."""
    done = synthlib("reproduce", name, "--preset", "smoke", "--workers", "2", outputs=shared_outputs)
    folder, artefact = shared_outputs / "smoke" / name, find_artefact(name)
    page = (folder / artefact.notebook).with_suffix(".html")
    assert f"{name}: {folder / name}.png\n" in done.stdout and f"its page: {page}\n" in done.stdout
    assert all((folder / f"{name}{end}").stat().st_size > 0 for end in (".png", ".svg", ".alt.txt", "_drawn.csv"))
    assert (folder / f"{name}.txt").read_text() in done.stdout and "missing: " not in done.stdout
    assert page.stat().st_size > 0
    for numbers in (f"{artefact.title}. Preset smoke", " (2)", "Not in the paper: CQL, matched"):
        assert numbers in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["figure7", "section4_1", "section4_3"])
def test_a_page_without_fine_tuning_runs_is_made_by_its_name(name, shared_outputs):
    page = load_page(name)
    done = synthlib("reproduce", name, "--preset", "smoke", "--workers", "2", outputs=shared_outputs)
    folder = shared_outputs / "smoke" / page.home
    html = (folder / page.notebook).with_suffix(".html").read_text()
    cells = nbformat.read(folder / page.notebook, as_version=4).cells
    for shown in (page, load_page(page.home)):  # Figure 7 brings section 3.2 along
        (cell,) = (cell for cell in cells if shown.shows in cell.metadata.get("tags", []))
        assert len(cell.outputs[0].text) > 100
    assert f"{name}: {page.title}" in done.stdout and "the page: " in done.stdout
    drawn = sorted(folder.glob("*.png"))
    assert len(drawn) >= 4
    for path in drawn:
        assert path.with_suffix(".svg").stat().st_size > 0
        assert path.with_suffix(".alt.txt").read_text().strip()
    images = re.findall(r"<img [^>]*>", html)
    assert len(images) >= len(drawn), "stills of pictures with sliders have no file"
    assert all(re.search('alt="[^"]{40}', image) for image in images)


@pytest.mark.slow
def test_the_page_of_the_settings_prints_each_of_its_tables(shared_outputs):
    done = synthlib("show", "table16", "--preset", "smoke", outputs=shared_outputs)
    assert "table16: Settings of CQL's fine-tuning" in done.stdout and "Table 16: " in done.stdout
    assert "Table 15: " not in done.stdout and "  Min Q weight  " in done.stdout
    home = load_page("table9")
    folder = shared_outputs / "smoke" / "table9"
    executed = folder / home.notebook
    for number in (9, 10, 15, 16, 17):
        page = load_page(f"table{number}")
        assert page.home == home.name and cell_text(executed, page.shows).startswith(f"Table {number}: {page.title}.")
    html = executed.with_suffix(".html").read_text()
    assert html.count("<table><caption") == 2 * 5 + 1 and "34 contradictions</caption>" in html
    assert (folder / "settings.csv").stat().st_size > 0 and (folder / "contradictions.csv").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table12", "table14"])
def test_the_page_of_costs_is_made_and_shown_by_either_table(name, shared_outputs):
    command = "reproduce" if name == "table12" else "show"
    done = synthlib(command, name, "--preset", "smoke", outputs=shared_outputs)
    folder = shared_outputs / "smoke" / "table12"
    assert f"Table {name[5:]}: 1" in done.stdout and "as claimed" in done.stdout
    assert (folder / "stages.svg").stat().st_size > 0 and "Wikipedia" in (folder / "stages.alt.txt").read_text()
    shares = pd.read_csv(folder / "shares.csv")
    assert {"printed", "authors' logs", "timed here", "operations, at least"} <= set(shares["source"])


def test_pages_of_tables_take_a_prediction_before_they_tell_and_have_exercises_with_solutions():
    """The cell of the guesses comes before every cell that shows runs or says what the paper found."""
    for table in [*OF_CQL, *OF_DT]:
        path = NOTEBOOKS / load_artefact(table).notebook
        sources = [cell.source for cell in nbformat.read(path, as_version=4).cells]
        (guessed,) = (place for place, source in enumerate(sources) if source.startswith("guesses = "))
        told = [
            place for place, source in enumerate(sources) if source.startswith(("## What the paper found", "runs."))
        ]
        assert guessed < min(told), path.name
        assert any("compared" in source and "guesses" in source for source in sources[guessed + 1 :]), path.name
        assert "[glossary](98_glossary.ipynb)" in sources[0] and "**Afterwards you will know**" in sources[0]
        assert any("in_one_sentence(" in source or "finding(" in source or "claims" in source for source in sources)


@pytest.mark.parametrize(
    "notebook",
    sorted({load_artefact(name).notebook for name in artefact_names() if load_artefact(name).algorithm == "cql"}),
)
def test_pages_of_cql_carry_no_parameter_of_the_authors_runs(notebook):
    assert set(notebook_parameters(NOTEBOOKS / notebook)) == {"preset", "data", "workers"}


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_links_between_pages_lead_to_pages(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    for link in re.findall(r"\]\(([\w/]+\.(?:ipynb|md))\)", text):
        assert (NOTEBOOKS / link).exists(), link


def test_pages_of_sections_have_two_exercises_with_solutions():
    notebooks = {load_page(name).notebook.removesuffix(".ipynb") for name in page_names()}
    assert {f"{notebook}-{number}" for notebook in notebooks for number in (1, 2)} <= set(SOLVED)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVED)
def test_a_solution_runs(name):
    """Each solution ends with an assertion of what it found."""
    assert "assert " in SOLVED[name]
    exec(SOLVED[name], {})


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_DT)
def test_a_page_shows_the_authors_runs(name, shared_outputs):
    done = synthlib("reproduce", name, "--source", "authors", "--logs", str(AUTHORS_LOGS), outputs=shared_outputs)
    folder = shared_outputs / "authors" / name
    assert (folder / load_artefact(name).notebook).exists()
    assert (folder / f"{name}.json").exists()
    if load_artefact(name).paper_table is not None:
        assert "Against the paper: equal to the digit" in done.stdout and "digits differ" not in done.stdout


@pytest.mark.slow
def test_the_scoreboard_shows_what_there_is(shared_outputs):
    logs = ["--logs", str(AUTHORS_LOGS)] if AUTHORS_LOGS.exists() else []
    done = synthlib("scoreboard", "--preset", "smoke", *logs, outputs=shared_outputs)
    line = next(line for line in done.stdout.splitlines() if line.startswith("wiki-over-dt"))
    assert line.split()[1] == "holds"  # as printed
    if logs:
        assert line.split()[2:4] == ["holds", "fails"]  # in the authors' logs, and against the matched control


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["replica", "path"])
def test_the_data_page_shows_what_there_is(kind, random_hopper_data, shared_outputs):
    """Of other people's data, which here are two sets of twelve, it shows no behaviour policy."""
    data = "replica" if kind == "replica" else random_hopper_data
    present, missing = find(data)
    assert kind == "replica" or present == ["hopper-medium", "hopper-medium-expert"]
    synthlib("notebook", "01_datasets", "--preset", "smoke", "--data", data, outputs=shared_outputs)
    pattern = "01_datasets" if kind == "replica" else "01_datasets-path-*"  # the first digits of the files' checksum
    (folder,) = (shared_outputs / "smoke").glob(pattern)
    page = (folder / "01_datasets.html").read_text()
    assert f"{len(present)} of 12 data sets are there" in page
    assert all(name in page for name in missing)
    for figure in ("returns", "cloning"):
        assert (folder / f"{figure}.png").stat().st_size > 0
    strips = {path.stem for path in folder.glob("frames_*.svg")}
    shown = {f"frames_{name.replace('-medium-', '_')}" for name in present if name.endswith("expert")}
    assert strips >= shown if kind == "replica" else not strips
