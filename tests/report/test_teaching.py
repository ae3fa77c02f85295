"""The class pack: its numbers are those of the code, its pages and commands exist, and its meetings last an hour."""

import itertools
import re

import pytest

from synthlib.generators.information import information
from synthlib.generators.markov_chain import ChainConfig
from synthlib.paper import paper_table
from synthlib.paths import NOTEBOOKS
from synthlib.report.ladder import published_cells, rungs
from synthlib.report.objections import answers, objections, said_by_runs
from synthlib.study.pages import page_names
from synthlib.study.params import artefact_names

PACK = NOTEBOOKS / "teaching"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(PACK.glob("*.md"))}


def test_the_handouts_numbers_are_those_of_the_code():
    text = TEXTS["handout.md"]
    steps = rungs(published_cells())
    for name in ("gain", "kept"):
        value, low, high = steps.loc["DT+Synthetic", [name, f"{name}_low", f"{name}_high"]]
        assert f"{value:.1f} [{low:.1f}, {high:.1f}]" in text
    for mean in steps["mean"]:
        assert f"{mean:.1f}" in text
    for number, arm in ((6, "CQL"), (6, "S=1000"), (7, "CQL+IID"), (7, "tau=1")):
        assert f"{paper_table(number).query('is_average').set_index('arm').loc[arm, 'mean']:.1f}" in text
    for temperature in (0.01, 1.0):
        assert f"{4.60517 - information(ChainConfig(temperature=temperature)).entropy_rate:.3f}" in text


@pytest.mark.parametrize("name", TEXTS)
def test_every_page_and_command_that_the_pack_names_exists(name):
    for link in re.findall(r"\]\(([^)#]+)\)", TEXTS[name]):
        assert (PACK / link).exists(), link
    known = {*artefact_names(), *page_names()}
    for command in re.findall(r"(?:reproduce|show|plan)-(\w+)", TEXTS[name]):
        assert command in known, command


def test_each_meeting_lasts_sixty_minutes_without_a_gap():
    for meeting in TEXTS["meetings.md"].split("\n## ")[1:]:
        times = [(int(a), int(b)) for a, b in re.findall(r"^\| (\d+) to (\d+) \|", meeting, re.MULTILINE)]
        assert times[0][0] == 0 and times[-1][1] == 60
        assert all(end == start for (_, end), (start, _) in itertools.pairwise(times))


def test_objections_are_answered_from_the_published_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path))
    found = {one.question: one for one in objections()}
    assert all((NOTEBOOKS / one.page).exists() for one in found.values())
    switches = found["Is it the switches of fine-tuning?"].answer
    assert switches.startswith("46% of DT's gain is.") and "3.2 [2.0, 4.3]" in switches
    shared = found["Is it the one initialisation that all seeds of a pre-trained CQL share?"].answer
    assert "S=100 against CQL, matched: higher (+" in shared and "halfcheetah-medium" in shared
    assert "29.6 points on the 2 data sets" in found["Would a stronger CQL gain as well?"].answer
    share, left, gain = answers()
    words = " ".join(one.answer for one in found.values())
    assert f"{share:.0f}% of DT's gain is" in words and f", {left:.1f} without" in words
    assert f"{gain:.1f} on the other" in words


def test_without_runs_an_objection_says_what_would_answer_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(tmp_path))
    assert said_by_runs("cql_start", "smoke", []) == (
        "No run of ours says anything yet (make reproduce-cql_start PRESET=smoke)."
    )
