import h5py
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from synthlib.report import data_page
from synthlib.report.data_page import Effort, cards_of, find, summary
from synthlib.study.params import ParameterError
from synthlib.study.presets import presets
from synthlib.tasks import DATASETS

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _own_cache(outputs):
    pass


def test_what_is_there_and_what_is_not(two_tiers, tmp_path):
    present, missing = find(two_tiers)
    assert present == ["hopper-medium", "hopper-medium-expert", "hopper-expert"]
    assert {*present[:2], *missing} == set(DATASETS) and len(missing) == 10
    text = data_page.availability(present, missing)
    first = "2 of 12 data sets are there. Others, which the paper has not: hopper-expert."
    assert text.startswith(f"{first}\nMissing: halfcheetah-medium, ")
    assert "no halfcheetah_medium-v2.hdf5" in text
    assert data_page.availability(present[:2], {}) == "2 of 2 data sets are there."
    assert set(find("replica")[0]) == set(DATASETS), "the experts are parts of others"
    with pytest.raises(FileNotFoundError, match=r"none of the data sets is there.*no HDF5 file"):
        find(f"path:{tmp_path}")


def test_the_table_counts_what_is_in_the_files(two_tiers):
    table = summary(cards_of(*_names(two_tiers)))
    assert list(table.index) == ["hopper-medium", "hopper-medium-expert", "hopper-expert"]
    counts = table["episodes"].astype(int)
    assert counts["hopper-medium-expert"] == counts["hopper-medium"] + 3
    assert set(table["ended by itself"]) == {"100%"}


def test_a_file_without_timeouts_is_cut_at_the_time_limit(tmp_path):
    """Of cheetahs, which never fall: without the time limit there would be no episode at all."""
    rng = np.random.default_rng(0)
    columns = {"observations": (2500, 17), "actions": (2500, 6), "rewards": (2500,)}
    with h5py.File(tmp_path / "halfcheetah_medium-v2.hdf5", "w") as file:
        for name, shape in columns.items():
            file[name] = rng.uniform(-1, 1, shape).astype(np.float32)
        file["terminals"] = np.zeros(2500, bool)
    card = cards_of(["halfcheetah-medium"], f"path:{tmp_path}")["halfcheetah-medium"]
    assert card["episodes"] == sum(card["histogram"]["counts"]) == 2
    assert card["mean_length"] == pytest.approx(1000, abs=1) and 0 <= card["unfinished_rows"] - 500 <= 2


def test_histograms_name_the_tier_that_is_missing(two_tiers):
    figure, alt = data_page.return_histograms(*_names(two_tiers))
    shares = [sum(patch.get_height() for patch in axis.patches) for axis in figure.axes]
    assert shares == pytest.approx([100, 0, 100, 100])
    assert figure.axes[3].get_title() == "hopper, expert"
    assert [text.get_text() for text in figure.axes[1].texts] == ["not there"]
    assert "hopper-medium-expert" in alt and "replay" not in alt
    plt.close(figure)


def test_every_preset_has_its_effort(two_tiers, outputs):
    for preset in presets():
        assert min(data_page.effort(preset)) > 0
    assert data_page.effort("quick") == Effort(rows=500, updates=5000, episodes=10)
    with pytest.raises(ParameterError, match="no preset called 'big'; there are: smoke"):
        data_page.effort("big")
    assert data_page.page_folder("01_datasets", "quick", "replica") == outputs / "quick" / "01_datasets"
    assert data_page.page_folder("01_datasets", "quick", two_tiers).name.startswith("01_datasets-path-")


def _names(source):
    return find(source)[0], source
