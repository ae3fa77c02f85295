import matplotlib.pyplot as plt
import pytest

from synthlib.report.ladder import finding, ladder, published_cells, rungs


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_the_published_ladder_has_the_rungs_that_the_paper_and_the_logs_give():
    frame = rungs(published_cells())
    assert frame["mean"].round(1).tolist() == [67.7, 70.4, 69.9, 71.3, 73.6]
    kept = frame.loc["DT+Synthetic", ["kept", "kept_low", "kept_high"]]
    assert kept.round(1).tolist() == [3.2, 2.0, 4.3]  # as page 30 has it from the runs themselves
    assert frame.loc["DT+Wiki", "kept_low"] < 0 < frame.loc["DT+Wiki", "kept_high"]


def test_the_drawing_says_every_rung_and_cuts_nothing_off():
    frame = rungs(published_cells())
    figure, alt = ladder(frame)
    assert all(f"{says} {mean:.1f}" in alt for says, mean in zip(frame["says"], frame["mean"], strict=True))
    figure.draw_without_rendering()
    size = figure.get_window_extent()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert size.x0 <= box.x0 and box.x1 <= size.x1


def test_the_finding_is_written_from_the_numbers():
    cells = published_cells()
    assert "54% of the gain" in finding(rungs(cells))
    cells.loc[cells["arm"] == "DT, matched", "mean"] = cells.loc[cells["arm"] == "DT", "mean"].to_numpy()
    assert "100% of the gain" in finding(rungs(cells))


def test_without_its_control_there_is_no_ladder():
    with pytest.raises(ValueError, match="no cell of 'DT, matched'"):
        rungs(published_cells().query("arm != 'DT, matched'"))
