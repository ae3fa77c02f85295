"""The arithmetic of the page on clusters: the page says what the code gives."""

from dataclasses import replace

import pytest

from synthlib.paths import NOTEBOOKS
from synthlib.study import at_scale
from synthlib.study.at_scale import grid, on_cores, on_gpus, page_tables


@pytest.mark.slow  # a plan of the paper with all of its seeds
def test_the_page_has_the_tables_of_the_code():
    page = (NOTEBOOKS / "notes" / "cluster.md").read_text()
    between = page.partition("<!-- at scale -->\n")[2].partition("\n<!-- end -->")[0]
    assert between == page_tables(), "put there what `python -m synthlib.study.at_scale` prints"


def test_hours_and_files_are_those_of_the_trainings():
    small = grid("smoke")
    assert small.counts["cql"] > 0 and small.files > 6 * sum(small.counts.values())
    rows = [on_cores(small, cores) for cores in (1, 2)]
    whole, half = (float(row["hours"].replace(",", "")) for row in rows)
    assert half == pytest.approx(whole / 2, abs=1)
    assert on_cores(small, 10**6)["hours"] == f"{small.longest_hours:,.0f}", "more machines than trainings help nobody"
    per_worker = at_scale.LOOKS_PER_SAVE / 60 + at_scale.LOOKS_PER_BEAT / 10
    assert float(on_cores(small, 100)["looks a second"]) == pytest.approx(100 * per_worker, abs=1)
    assert on_gpus(replace(small, gpu_hours=6.0), 2)["hours"] == "3"
