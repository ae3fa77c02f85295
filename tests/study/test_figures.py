"""Every figure of the paper is found by its number, with its page and its arms."""

import nbformat
import pytest

from synthlib.__main__ import main
from synthlib.paths import NOTEBOOKS
from synthlib.study.figures import figure_names, find_artefact, name_in_figure, names_of_all
from synthlib.study.pages import load_page, page_names
from synthlib.study.params import ParameterError, artefact_names, load_artefact
from synthlib.study.plan import make_plan

DT = ["DT", "DT+Wiki", "DT+Synthetic"]
CQL = ["CQL", "tau=1", "CQL+IID"]
CQL_LONGER = ["CQL+100K more", "CQL+MDP", "CQL+IID"]
CHAINS = ["DT", "DT+Wiki", "S10", "S100", "S1000", "S10000", "2-MC", "5-MC", "tau=0.1", "tau=10", "IID uniform"]
MDPS = ["CQL", "S=10", "S=100", "S=1000", "S=10000", "tau=0.1", "tau=10", "IID", "10K", "40K", "500K"]
SHOWN = {  # the arms that the paper draws, under our names
    **dict.fromkeys(("figure1", "figure3", "figure4", "figure8", "figure9"), DT),
    **dict.fromkeys(("figure2", "figure5", "figure6"), CQL),
    **dict.fromkeys(("figure10", "figure11"), CHAINS),
    "figure12": ["DT", "DT+Wiki", "DT+Synthetic", "IID uniform", "DT+Identity", "DT+Mapping"],
    **dict.fromkeys(("figure13", "figure14"), CQL_LONGER),
    "figure15": ["CQL", "CQL+MDP", "CQL+Identity", "CQL+Mapping"],
    **dict.fromkeys(("figure16", "figure17"), MDPS),
}


@pytest.mark.parametrize("name", figure_names())
def test_every_figure_has_a_page_that_shows_it_and_the_papers_arms(name):
    if name in page_names():
        assert name not in SHOWN and (NOTEBOOKS / load_page(name).notebook).is_file()
        return
    artefact = find_artefact(name)
    cells = nbformat.read(NOTEBOOKS / artefact.notebook, as_version=4).cells
    assert any(f'show("{name}")' in cell.source for cell in cells)
    assert artefact.name == name and name in artefact.figures and not artefact.is_table and artefact.is_printed
    base = {artefact.ratios.get(arm, (arm, 1.0))[0]: settings for arm, settings in artefact.arms.items()}
    controls = {arm for arm, settings in base.items() if settings.get("pretraining_updates") == 0}
    assert [arm for arm in base if arm not in controls] == SHOWN[name] and controls
    plan = make_plan(name, "smoke", None)
    assert plan.arms == list(artefact.arms)


def test_a_figure_of_a_table_needs_the_tables_runs_and_no_others():
    figure, table = make_plan("figure5", "smoke", None), make_plan("table7", "smoke", None)
    keys = {job.key for job in figure.jobs()}
    assert keys < {job.key for job in table.jobs()} and figure.artefact.title != table.artefact.title
    assert find_artefact("figure9").equal_totals == load_artefact("figure8").equal_totals
    assert find_artefact("figure13").equal_totals == load_artefact("table28").equal_totals


@pytest.mark.parametrize("name", ["figure18", "figure0"])
def test_a_figure_that_the_paper_has_not_is_refused_in_one_sentence(name, capsys):
    assert main(["plan", name, "--preset", "smoke"]) == 1
    said = capsys.readouterr().err
    assert said == (
        f"error: the paper has no {name}: its figures are figure1 to figure17, of which figure7 needs no runs\n"
    )


def test_all_names_are_listed_once():
    names = names_of_all()
    assert len(names) == len(set(names)) and {*figure_names(), *artefact_names()} == set(names)
    with pytest.raises(ParameterError, match=r"no table or figure called 'fig5'; there are: table1, .*figure17, cql_"):
        find_artefact("fig5")


def test_a_table_of_a_readers_own_takes_figures_over_and_may_not_draw_one_a_second_time(own_params):
    own = own_params / "mine.yaml"
    own.write_text("like: table7\ntitle: mine\n")
    assert "figure5" in load_artefact("mine").figures and find_artefact("figure5").notebook.startswith("10_table7")
    own.write_text("like: table7\nfigures: {figure5: {kind: curves}}\n")
    said = "figure5 is drawn by params/mine.yaml and params/table7.yaml: give one of the two figures another name"
    with pytest.raises(ParameterError, match=said):
        find_artefact("figure5")


def test_a_plan_says_what_else_its_page_trains(capsys):
    assert main(["plan", "figure5", "--preset", "smoke"]) == 0
    printed = capsys.readouterr().out
    assert "figure5: Score of CQL on each data set" in printed and ": 4 arms x 1 data set x 2 seeds" in printed
    assert "make reproduce-figure5 trains 12 more: its page shows table7, table24 too" in printed


def test_a_figure_has_its_own_names_for_arms_and_a_table_the_tables():
    assert name_in_figure(find_artefact("figure5"), "tau=1") == "CQL+MDP"
    assert name_in_figure(find_artefact("figure5"), "CQL") == "CQL"
    assert name_in_figure(find_artefact("table7"), "tau=1") == "tau=1"
