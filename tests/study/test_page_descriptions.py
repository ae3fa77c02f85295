import nbformat
import pytest

from synthlib.__main__ import main
from synthlib.paths import NOTEBOOKS
from synthlib.study import pages
from synthlib.study.pages import load_page, page_names, pages_of
from synthlib.study.params import ParameterError, artefact_names
from synthlib.study.presets import presets

DESCRIPTION = (
    "title: t\nnotebook: n.ipynb\nshows: finding\nsizes: {smoke: {time: now, size: 1}, quick: {time: now, size: 2}}\n"
)


@pytest.fixture
def described(tmp_path, monkeypatch):
    """A folder of descriptions: a page "own", and whatever a test adds."""
    monkeypatch.setattr(pages, "_FOLDER", tmp_path)
    (tmp_path / "own.yaml").write_text(DESCRIPTION)
    return tmp_path


@pytest.mark.parametrize("name", page_names())
def test_every_page_has_a_notebook_with_the_cell_that_it_shows(name):
    page = load_page(name)
    assert name not in artefact_names()
    cells = nbformat.read(NOTEBOOKS / page.notebook, as_version=4).cells
    assert sum(page.shows in cell.metadata.get("tags", []) for cell in cells) == 1
    assert f'load_page("{page.home}")' in "\n".join(cell.source for cell in cells)  # figures go to the page's folder
    assert set(page.sizes) <= set(presets()) and {"smoke", "quick", "paper"} <= set(page.sizes)


def test_a_figure_is_made_with_the_page_that_it_stands_on(described, outputs):
    (described / "figure.yaml").write_text("like: own\ntitle: a figure\nshows: figure\n")
    figure, own = load_page("figure"), load_page("own")
    assert (figure.notebook, figure.shows, figure.title) == (own.notebook, "figure", "a figure")
    assert figure.folder("smoke") == own.folder("smoke") == outputs / "smoke" / "own"
    assert [page.name for page in pages_of("smoke")] == ["own"] and pages_of("paper") == []
    assert figure.settings("quick")["size"] == 2
    assert figure.plan("quick") == "figure: a figure\n  preset quick: notebooks/n.ipynb, now; no fine-tuning run"


def test_pages_are_in_the_paper_s_order_and_say_whether_they_train():
    names = page_names()
    assert names.index("table9") < names.index("table10") < names.index("table15")
    assert load_page("section4_3").trains and not load_page("table9").trains


def test_what_cannot_be_made_is_said(described):
    with pytest.raises(ParameterError, match="no page called 'other'; there are: own"):
        load_page("other")
    with pytest.raises(ParameterError, match="own has no size for preset 'paper'; it has: smoke, quick"):
        load_page("own").settings("paper")
    (described / "own.yaml").write_text(DESCRIPTION.replace("quick: {time: now, size: 2}", "quick: {time: now}"))
    with pytest.raises(ParameterError, match="every preset must give the same keys"):
        load_page("own")
    (described / "own.yaml").write_text(DESCRIPTION + "colour: red\n")
    with pytest.raises(ParameterError, match=r"pages/own\.yaml must give title, notebook, shows, sizes; it gives"):
        load_page("own")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["publish", "section4_1"], "section4_1 has no fine-tuning runs"),
        (["reproduce", "section4_3", "--source", "authors"], "section4_3 is made without fine-tuning runs"),
        (
            ["show", "section4_3", "--preset", "smoke"],
            "section4_3 has not been made in preset smoke; make reproduce-section",
        ),
        (["plan", "section4_3", "--preset", "scouting"], "section4_3 has no size for preset 'scouting'"),
    ],
)
def test_commands_that_a_page_does_not_have(command, message, capsys, outputs):
    assert main(command) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("preset", presets())
def test_tables_12_and_14_have_a_plan_in_every_preset(preset, capsys):
    for name in ("table12", "table14"):
        assert main(["plan", name, "--preset", preset]) == 0
        assert f"preset {preset}: notebooks/14_tables12_14_cost.ipynb" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_page_has_a_plan_and_no_run_to_train(command, capsys):
    assert main([command, "figure7", "--preset", "smoke"]) == 0
    printed = capsys.readouterr().out
    assert "figure7: How the temperature shapes a row" in printed
    assert ("no run to train; make reproduce-figure7 makes it all" in printed) == (command == "run")
