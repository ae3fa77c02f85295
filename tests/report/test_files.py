import json

import pandas as pd

from synthlib.report.files import image, short
from synthlib.report.report import Report
from synthlib.tasks import DATASETS
from tests.report.test_report import made_up_runs


def test_every_file_carries_the_table(tmp_path):
    report = Report(made_up_runs(seeds=3, datasets=DATASETS[:2], folder=tmp_path / "out"))
    folder = report.save()
    stored, arms = json.loads((folder / "table6.json").read_text()), len(report.artefact.arms)
    assert len(stored["runs"]) == arms * 2 * 3
    assert "CQL-halfcheetah-medium-expert-0" in {run["run"] for run in stored["runs"]}
    assert len(stored["cells"]) == arms * 3 and stored["physics"]["hopper"] == "p"
    latex = (folder / "table6.tex").read_text()
    assert r"\toprule" in latex and r"$\pm$" in latex and "±" not in latex and "95 \\%" in latex
    page = (folder / "table6.html").read_text()
    assert "<caption>" in page and "scope='col'>S=1000" in page
    assert pd.read_csv(folder / "table6.csv").shape[0] == arms * 3
    assert "halfcheetah-medium-expert S=10" in (folder / "table6_curves.alt.txt").read_text()
    assert 'alt="Curves against fine-tuning updates' in report.show("curves").data


def test_an_alt_text_is_the_beginning_and_the_rest_is_folded():
    words = "Means over the data sets of all arms, in per cent. " + "DT: " + "; ".join(f"{n} points" for n in range(90))
    assert short("A bar for each arm.") == "A bar for each arm."
    assert short(words).startswith("Means over the data sets of all arms, in per cent. DT: 0 points; 1 points;")
    assert len(short(words)) <= 220 and short(words).endswith(" ...")
    shown = image(b"png", words).data
    assert 'alt="Means over the data sets of all arms, in per cent. DT: 0 points;' in shown
    assert "<summary>The figure in words</summary>" in shown and "89 points" in shown
    assert "<details>" not in image(b"png", "A bar for each arm.").data
