import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from synthlib.report.curves import Curves
from synthlib.report.figures import save_figure, sorted_probabilities
from tests.report.test_paper_figures import evaluations


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_a_saved_figure_carries_its_alt_text_and_nothing_is_cut_off(tmp_path):
    figure, alt = Curves(evaluations(), ["A", "B"]).draw()
    figure.draw_without_rendering()
    size = figure.get_window_extent()
    for artist in (figure.legends[0], figure._supxlabel, *(axis.title for axis in figure.axes)):
        box = artist.get_window_extent()
        assert size.x0 <= box.x0 and box.x1 <= size.x1 and size.y0 <= box.y0 and box.y1 <= size.y1
    save_figure(figure, alt, tmp_path / "curves")
    assert Image.open(tmp_path / "curves.png").info["Description"] == alt
    assert "moving average" in (tmp_path / "curves.svg").read_text()
    assert (tmp_path / "curves.alt.txt").read_text() == alt + "\n"
    assert not plt.get_fignums()


def test_a_file_name_with_a_dot_stays_whole(tmp_path):
    figure, alt = sorted_probabilities({0.1: np.array([0.2, 0.8]), 10.0: np.array([0.5, 0.5])})
    assert "tau 0.1: 0.800" in alt
    save_figure(figure, alt, tmp_path / "figure7.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure7.alt.txt", "figure7.png", "figure7.svg"]
