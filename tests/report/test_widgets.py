"""Pictures with sliders in JupyterLab, and stills where nobody can move a slider."""

import re

import matplotlib.pyplot as plt
import pytest

from synthlib.report import widgets


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(params=["explore_chain", "explore_critic"])
def explore(request):
    return getattr(widgets, request.param)


def test_an_executed_page_has_stills_with_alt_texts_and_asks_for_no_script(explore, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    html = explore().data
    assert len(re.findall(r'<img [^>]*alt="[^"]{60}', html)) >= 3
    assert "<script" not in html and "make lab" in html


def test_in_jupyterlab_it_has_sliders(explore, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/02_section3_2_chains.ipynb")
    *sliders, _ = explore().children
    assert "temperature" in [slider.description for slider in sliders] and len(sliders) == 2


def test_the_chain_says_what_there_is_to_learn():
    _, words = widgets.chain_picture(1.0, 100)
    assert "a perfect model has a loss of 4.565 nat, a blind guess 4.605: 0.040 to learn" in words


def test_predictions_walk_to_the_centroids():
    words = [widgets.critic_picture(updates, 0.01)[1] for updates in (0, 100, 1_000)]
    away = [float(re.search(r"are ([\d.]+) away", one)[1]) for one in words]
    assert away[0] > away[1] > away[2] and away[2] < away[0] / 3
